package models

import (
	"image"
	"math"

	"github.com/disintegration/imaging"
)

// Preprocess is the reference for a model's input: the whole picture squeezed
// into size×size pixels, as R, G, B bytes row by row. It is slow and exact;
// the capture worker's quicker one is held against it (see Compare).
func (m Manifest) Preprocess(img image.Image) []byte { return Squeeze(img, m.Input.Size) }

// Squeeze scales the whole picture to size×size R, G, B bytes: bilinear with
// aligned corners, the colours first divided by 255 and in the end rounded
// to bytes. It does in the same order, with the same roundings, what
// TensorFlow.js's resizeBilinear(x/255, alignCorners) does, and gives the same
// bytes. Transparency is dropped.
func Squeeze(img image.Image, size int) []byte {
	src := imaging.Clone(img) // *image.NRGBA at 0,0
	w, h := src.Rect.Dx(), src.Rect.Dy()
	out := make([]byte, size*size*3)
	if w == 0 || h == 0 {
		return out
	}
	rows, cols := steps(h, size), steps(w, size)
	at := 0
	for _, r := range rows {
		top, bottom := src.Pix[r.low*src.Stride:], src.Pix[r.high*src.Stride:]
		for _, c := range cols {
			for ch := range 3 {
				a := between(top[4*c.low+ch], top[4*c.high+ch], c.part)
				b := between(bottom[4*c.low+ch], bottom[4*c.high+ch], c.part)
				v := float32(a + float64((b-a)*r.part))
				out[at] = byte(math.Floor(float64(v)*255 + 0.5))
				at++
			}
		}
	}
	return out
}

// step says between which two source lines an output line lies.
type step struct {
	low, high int
	part      float64 // 0 at low, 1 at high
}

// steps lays n output lines over the source's lines, first on first and last
// on last.
func steps(source, n int) []step {
	ratio := float64(source)
	if n > 1 {
		ratio = float64(source-1) / float64(n-1)
	}
	out := make([]step, n)
	for i := range out {
		pos := ratio * float64(i)
		low := math.Floor(pos)
		out[i] = step{low: int(low), high: min(source-1, int(math.Ceil(pos))), part: pos - low}
	}
	return out
}

// between mixes two bytes' float32 values. The conversions keep compilers
// from fusing a product with a sum.
func between(a, b byte, part float64) float64 {
	x, y := unit(a), unit(b)
	return x + float64((y-x)*part)
}

func unit(v byte) float64 { return float64(float32(float64(v) / 255)) }
