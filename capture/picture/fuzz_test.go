//go:build cgo && linux

package picture

import (
	"bytes"
	"image/jpeg"
	"testing"

	"stillwatch/capture/still"
	"stillwatch/internal/event"
)

// The fuzz targets go through real, locked-in children, so that whatever they
// find would have cost one frame in production. They fail if a child dies, if
// it takes too long, or if the answer is no JPEG of the size it claims. The
// seeds in testdata are keyframes of 16 by 16 to 64 by 48 pixels.

func FuzzVP8(f *testing.F)  { fuzz(f, event.VP8) }
func FuzzVP9(f *testing.F)  { fuzz(f, event.VP9) }
func FuzzH264(f *testing.F) { fuzz(f, event.H264) }
func FuzzAV1(f *testing.F)  { fuzz(f, event.AV1) }

func fuzz(f *testing.F, codec event.Codec) {
	p := newPool(f, Config{MaxPixels: 1 << 20, TensorSizes: []int{32}, Park: f.TempDir()})
	f.Fuzz(func(t *testing.T, data []byte, maxHeight uint16, quarter uint8) {
		req := still.Request{Codec: codec, Keyframe: data, MaxHeight: int(maxHeight), Rotation: 90 * int(quarter%4)}
		if req.Validate() != nil {
			return
		}
		got, err := p.Picture(t.Context(), req)
		if err != nil {
			if !refused(err) {
				t.Fatal(err)
			}
			return
		}
		shape, err := jpeg.DecodeConfig(bytes.NewReader(got.JPEG))
		if err != nil || shape.Width != got.Width || shape.Height != got.Height {
			t.Fatalf("JPEG of %dx%d, want %dx%d: %v", shape.Width, shape.Height, got.Width, got.Height, err)
		}
		if len(got.Tensors[32]) != 32*32*3 || got.SourceWidth*got.SourceHeight > 1<<20 {
			t.Fatalf("%+v", got)
		}
	})
}
