//go:build cgo && linux

package picture

import (
	"fmt"
	"testing"

	"stillwatch/capture/still"
	"stillwatch/internal/event"
)

func TestEveryCodec(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{})
	for _, codec := range codecs {
		for _, picture := range []string{"neutral", "porn"} {
			t.Run(fmt.Sprint(codec, picture), func(t *testing.T) {
				t.Parallel()
				got := mustPicture(t, p, still.Request{Codec: codec, MaxHeight: 720, Keyframe: keyframe(t, media{codec: codec, picture: picture})})
				pix, w, h := rgb(t, got.JPEG)
				if w != 1280 || h != 720 || got.Width != w || got.Height != h || got.SourceWidth != w || got.SourceHeight != h {
					t.Fatalf("%dx%d in the JPEG, %+v", w, h, got)
				}
				like(t, "JPEG", pix, reference(t, picture, w, h), 25)
				for _, side := range []int{224, 299} {
					like(t, fmt.Sprint("tensor ", side), got.Tensors[side], reference(t, picture, side, side), 25)
				}
				t.Logf("%+v, luma %.1f ± %.1f, hash %016x", got.Timing, got.LumaMean, got.LumaStd, got.PHash)
			})
		}
	}
}

func TestEveryQuality(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{})
	for _, height := range []int{360, 420, 480, 720, 1080, 1440} {
		got := mustPicture(t, p, still.Request{Codec: event.VP8, MaxHeight: height, Keyframe: keyframe(t, media{codec: event.VP8, width: 1920, height: 1080})})
		wantHeight := min(height, 1080) // never enlarged
		wantWidth := (1920*wantHeight + 540) / 1080
		pix, w, h := rgb(t, got.JPEG)
		if w != wantWidth || h != wantHeight {
			t.Errorf("%dp: %dx%d, want %dx%d", height, w, h, wantWidth, wantHeight)
			continue
		}
		like(t, fmt.Sprint(height, "p"), pix, reference(t, "neutral", w, h), 25)
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{TensorSizes: []int{224}})
	for _, degrees := range []int{0, 90, 180, 270} {
		got := mustPicture(t, p, still.Request{
			Codec: event.VP8, MaxHeight: 360, Rotation: degrees,
			Keyframe: keyframe(t, media{codec: event.VP8, width: 640, height: 480}),
		})
		w, h := 480, 360
		if degrees%180 != 0 { // it is the upright picture's height that is bounded
			w, h = 270, 360
		}
		if got.Width != w || got.Height != h {
			t.Fatalf("%d°: %dx%d, want %dx%d", degrees, got.Width, got.Height, w, h)
		}
		side := got.Tensors[224]
		back, _, _ := turn(side, 224, 224, 360-degrees)
		like(t, fmt.Sprint(degrees, "° tensor"), back, reference(t, "neutral", 224, 224), 25)
		pix, pw, ph := rgb(t, got.JPEG)
		pix, pw, ph = turn(pix, pw, ph, (360-degrees)%360)
		like(t, fmt.Sprint(degrees, "° JPEG"), pix, reference(t, "neutral", pw, ph), 25)
	}
}

func TestOddSizes(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{})
	for _, size := range [][2]int{{641, 361}, {639, 480}, {640, 359}, {17, 33}, {2, 2}, {1, 1}, {1279, 719}} {
		for _, codec := range []event.Codec{event.VP8, event.VP9, event.AV1} {
			if codec == event.AV1 && size[0] < 16 {
				continue // the encoder refuses
			}
			for _, degrees := range []int{0, 90} {
				w, h := size[0], size[1]
				got := mustPicture(t, p, still.Request{Codec: codec, Rotation: degrees, Keyframe: keyframe(t, media{codec: codec, width: w, height: h})})
				pix, pw, ph := rgb(t, got.JPEG)
				pix, pw, ph = turn(pix, pw, ph, (360-degrees)%360)
				if pw != w || ph != h {
					t.Fatalf("%s %dx%d: %dx%d", codec, w, h, pw, ph)
				}
				if w > 100 {
					like(t, fmt.Sprint(codec, size, degrees), pix, reference(t, "neutral", w, h), 25)
				}
			}
		}
	}
}

// TestColours holds every way in which a stream can describe its colours
// against the source picture.
func TestColours(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{})
	for _, m := range []media{
		{codec: event.H264, matrix: "bt601"},
		{codec: event.H264, matrix: "bt709", tagged: true},
		{codec: event.H264, matrix: "bt2020", tagged: true},
		{codec: event.H264, matrix: "bt601", tagged: true, fullRange: true},
		{codec: event.H264, matrix: "bt709", tagged: true, fullRange: true, width: 641, height: 361, pixel: "yuv444p"},
		{codec: event.VP9, matrix: "bt709", tagged: true},
		{codec: event.VP9, matrix: "bt601", tagged: true},
		{codec: event.VP9, matrix: "bt709", tagged: true, width: 641, height: 361},
		{codec: event.AV1, matrix: "bt709", tagged: true},
		{codec: event.AV1, matrix: "bt601", tagged: true, fullRange: true, width: 639, height: 479},
	} {
		m.picture = "sexy"
		req := still.Request{Codec: m.codec, Keyframe: keyframe(t, m), Quality: 90}
		if m.pixel == "yuv444p" {
			if _, err := p.Picture(t.Context(), req); err == nil {
				t.Error("4:4:4 was accepted")
			}
			continue
		}
		got := mustPicture(t, p, req)
		pix, w, h := rgb(t, got.JPEG)
		name := fmt.Sprintf("%s %s full=%v %dx%d", m.codec, m.matrix, m.fullRange, w, h)
		like(t, name, pix, reference(t, m.picture, w, h), 25)
		like(t, name+" tensor", got.Tensors[224], reference(t, m.picture, 224, 224), 25)
	}
}
