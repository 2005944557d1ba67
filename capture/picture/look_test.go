//go:build cgo && linux

package picture

import (
	"math"
	"testing"

	"stillwatch/capture/still"
	"stillwatch/internal/event"
	"stillwatch/internal/synthetic"
)

func look(t *testing.T, p *Pool, m media, maxHeight int) still.Picture {
	t.Helper()
	return mustPicture(t, p, still.Request{Codec: m.codec, MaxHeight: maxHeight, Keyframe: keyframe(t, m)})
}

// TestHashTellsPicturesApart: the same picture in another codec, size or bit
// rate keeps its hash to a few bits, another picture does not.
func TestHashTellsPicturesApart(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{TensorSizes: []int{}})
	hashes := map[string]uint64{}
	for i, picture := range synthetic.Pictures() {
		first := look(t, p, media{codec: event.VP8, picture: picture}, 720)
		hashes[picture] = first.PHash
		if i > 1 {
			continue // two are told from all; coding all of them again is slow
		}
		for _, again := range []media{
			{codec: event.VP8, picture: picture, kbps: 500},
			{codec: event.H264, picture: picture, matrix: "bt709", tagged: true},
			{codec: event.AV1, picture: picture, width: 639, height: 359},
			{codec: event.VP9, picture: picture, width: 1920, height: 1080},
		} {
			got := look(t, p, again, 480)
			if d := still.Distance(first.PHash, got.PHash); d > 6 {
				t.Errorf("%+v: %d bits away from itself", again, d)
			}
		}
	}
	for a, x := range hashes {
		for b, y := range hashes {
			if d := still.Distance(x, y); a < b && d < 16 {
				t.Errorf("%s and %s: %d bits apart", a, b, d)
			}
		}
	}
}

// TestLuma holds mean and deviation against the source's own.
func TestLuma(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{TensorSizes: []int{}})
	for _, picture := range synthetic.Pictures() {
		var sum, squares float64
		pix := reference(t, picture, 1280, 720)
		for i := 0; i < len(pix); i += 3 {
			y := 0.299*float64(pix[i]) + 0.587*float64(pix[i+1]) + 0.114*float64(pix[i+2])
			sum += y
			squares += y * y
		}
		n := float64(len(pix) / 3)
		mean := sum / n
		std := math.Sqrt(squares/n - mean*mean)
		got := look(t, p, media{codec: event.VP8, picture: picture}, 0)
		if math.Abs(got.LumaMean-mean) > 1 || math.Abs(got.LumaStd-std) > 1 {
			t.Errorf("%s: %.1f ± %.1f, want %.1f ± %.1f", picture, got.LumaMean, got.LumaStd, mean, std)
		}
	}
}

// TestBlack: a covered camera is told by its numbers.
func TestBlack(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{})
	for _, m := range []media{{codec: event.VP8, filter: "lutrgb=r=0:g=0:b=0"}, {codec: event.H264, filter: "lutrgb=r=2:g=2:b=2"}} {
		got := look(t, p, m, 720)
		if got.LumaMean > 4 || got.LumaStd > 1 || got.PHash != 0 {
			t.Errorf("%.2f ± %.2f, hash %016x", got.LumaMean, got.LumaStd, got.PHash)
		}
	}
}
