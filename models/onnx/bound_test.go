//go:build cgo

package onnx_test

import (
	"context"
	"image"
	"image/color"
	_ "image/jpeg" // for the photographs
	_ "image/png"  // for the fixtures
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/disintegration/imaging"

	"stillwatch/models"
	"stillwatch/models/onnx"
)

// TestAQuickScalerStaysInBound holds a scaler as a capture worker can afford
// it against the reference: it scales the planes of a 4:2:0 picture, each
// straight to the tensor's size, in 8-bit fractions, and makes colours last.
// It takes the reference's sample points (aligned corners, two taps a side),
// which is what keeps it in bound: libyuv's kFilterBilinear moves Drawing and
// Neutral by up to 0.07 on the photographs, its kFilterBox by up to 0.25.
func TestAQuickScalerStaysInBound(t *testing.T) {
	t.Parallel()
	pictures := map[string]*image.YCbCr{}
	for _, pattern := range []string{
		"../../internal/synthetic/fixtures/*.png", "../testdata/natural/*.jpg", "../testdata/golden/*.png",
	} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) < 3 {
			t.Fatalf("%d pictures in %s, %v", len(paths), pattern, err)
		}
		for _, path := range paths {
			img, name := openPicture(t, path), filepath.Base(path)
			pictures[name] = decoded(img)
			if !strings.HasPrefix(name, "abstract") { // those are 720p
				pictures[name+" as 720p"] = decoded(imaging.Resize(img, 1280, 720, imaging.Lanczos))
			}
		}
	}
	for _, name := range []string{"mobilenet_v2", "inception_v3"} {
		c := open(t, name, onnx.Options{})
		m := c.Manifest()
		worst, where := 0.0, ""
		for file, img := range pictures {
			d, err := models.Compare(context.Background(), c, m.Preprocess(img), quick(img, m.Input.Size))
			if err != nil {
				t.Fatal(err)
			}
			if d > models.TensorBound {
				t.Errorf("%s %s: |Δp| %.4f, want at most %v", name, file, d, models.TensorBound)
			}
			if d >= worst {
				worst, where = d, file
			}
		}
		t.Logf("%s: |Δp| at most %.4f over %d pictures (%s)", name, worst, len(pictures), where)
	}
}

// decoded gives a picture as a decoder does: 4:2:0 planes.
func decoded(img image.Image) *image.YCbCr {
	src := imaging.Clone(img)
	w, h := src.Rect.Dx(), src.Rect.Dy()
	out := image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio420)
	sums := make([][3]int, len(out.Cb))
	for y := range h {
		for x := range w {
			p := src.Pix[y*src.Stride+4*x:]
			luma, cb, cr := color.RGBToYCbCr(p[0], p[1], p[2])
			out.Y[out.YOffset(x, y)] = luma
			s := &sums[out.COffset(x, y)]
			*s = [3]int{s[0] + int(cb), s[1] + int(cr), s[2] + 1}
		}
	}
	for i, s := range sums {
		out.Cb[i], out.Cr[i] = byte((s[0]+s[2]/2)/s[2]), byte((s[1]+s[2]/2)/s[2])
	}
	return out
}

// quick scales each plane with two taps a side at the reference's points.
func quick(img *image.YCbCr, n int) []byte {
	xs, ys := points(img.Rect.Dx(), n), points(img.Rect.Dy(), n)
	luma := plane(img.Y, img.YStride, xs, ys, 0)
	cb, cr := plane(img.Cb, img.CStride, xs, ys, 1), plane(img.Cr, img.CStride, xs, ys, 1)
	out := make([]byte, 0, n*n*3)
	for i := range luma {
		r, g, b := color.YCbCrToRGB(luma[i], cb[i], cr[i])
		out = append(out, r, g, b)
	}
	return out
}

// points gives n sample points with aligned corners over a line of pixels, in
// 24.8 fixed point.
func points(pixels, n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = int(math.Round(float64(i) * float64(pixels-1) / float64(n-1) * 256))
	}
	return out
}

// plane samples one plane, which has one sample for 1<<half pixels a side.
func plane(pix []byte, stride int, xs, ys []int, half int) []byte {
	out := make([]byte, 0, len(xs)*len(ys))
	for _, y := range ys {
		top, bottom := pix[(y>>8>>half)*stride:], pix[((y+255)>>8>>half)*stride:]
		fy := y & 255
		for _, x := range xs {
			l, r, fx := x>>8>>half, (x+255)>>8>>half, x&255
			a := int(top[l])*(256-fx) + int(top[r])*fx
			b := int(bottom[l])*(256-fx) + int(bottom[r])*fx
			out = append(out, byte((a*(256-fy)+b*fy+1<<15)>>16))
		}
	}
	return out
}

func openPicture(t testing.TB, path string) image.Image {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, _, err := image.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	return img
}
