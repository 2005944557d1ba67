//go:build cgo && linux

package picture

import (
	"bytes"
	"fmt"
	"image/jpeg"
	"testing"

	"stillwatch/capture/still"
	"stillwatch/internal/event"
	"stillwatch/models"
)

// TestTensorIsTheReference holds the worker's tensors against the models'
// slow reference, made of the JPEG of the same frame, on a photograph full of
// fine detail, where every other way of scaling shows. What is left is the
// JPEG's own loss.
func TestTensorIsTheReference(t *testing.T) {
	t.Parallel()
	const branches = "../../models/testdata/natural/branches.jpg"
	p := newPool(t, Config{TensorSizes: []int{299, 224, 64, 1}})
	for _, m := range []media{
		{width: 1280, height: 720},
		{width: 641, height: 359},
		{width: 224, height: 224},
		{width: 100, height: 300}, // enlarged one way
	} {
		for _, rotation := range []int{0, 90} {
			m.codec, m.picture = event.VP8, branches
			got := mustPicture(t, p, still.Request{Codec: m.codec, Keyframe: keyframe(t, m), Rotation: rotation, Quality: 100})
			img, err := jpeg.Decode(bytes.NewReader(got.JPEG))
			if err != nil {
				t.Fatal(err)
			}
			for _, side := range []int{299, 224, 64, 1} {
				want := models.Squeeze(img, side)
				if side == 1 { // one pixel: within the JPEG's loss
					for i, v := range got.Tensors[1] {
						if d := int(v) - int(want[i]); d < -12 || d > 12 {
							t.Errorf("one pixel %v, want %v", got.Tensors[1], want)
							break
						}
					}
					continue
				}
				like(t, fmt.Sprintf("%dx%d turned %d to %d", m.width, m.height, rotation, side), got.Tensors[side], want, 36)
			}
		}
	}
}
