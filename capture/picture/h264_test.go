//go:build cgo && linux

package picture

import (
	"testing"

	"stillwatch/capture/still"
	"stillwatch/internal/event"
)

// TestH264Forms: what WebRTC and RTMP senders make of a keyframe.
func TestH264Forms(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{})
	for name, options := range map[string]string{
		"baseline":           "profile=baseline:bframes=0:cabac=0",
		"four slices":        "slices=4:sliced-threads=0:bframes=0",
		"reordered B frames": "bframes=3:b-pyramid=normal:rc-lookahead=0:sliced-threads=0",
		"delimiters":         "aud=1:bframes=0",
		"interlaced":         "tff=1:bframes=0",
	} {
		m := media{codec: event.H264, picture: "sexy", x264: options}
		for range 2 {
			got := mustPicture(t, p, still.Request{Codec: event.H264, Keyframe: keyframe(t, m)})
			pix, w, h := rgb(t, got.JPEG)
			like(t, name, pix, reference(t, m.picture, w, h), 25)
		}
	}
}

// TestH264LostSlice: a picture with a hole in it is no picture.
func TestH264LostSlice(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{})
	data := keyframe(t, media{codec: event.H264, x264: "slices=4:sliced-threads=0:bframes=0"})
	var slices []int
	for i := 0; i+3 < len(data); i++ {
		if data[i] == 0 && data[i+1] == 0 && data[i+2] == 1 && data[i+3]&0x1f == 5 {
			slices = append(slices, i)
		}
	}
	if len(slices) != 4 {
		t.Fatalf("%d slices", len(slices))
	}
	for i, from := range slices {
		to := len(data)
		if i < 3 {
			to = slices[i+1]
		}
		holed := append(append([]byte(nil), data[:from]...), data[to:]...)
		if _, err := p.Picture(t.Context(), still.Request{Codec: event.H264, Keyframe: holed}); !refused(err) {
			t.Errorf("without slice %d: %v", i, err)
		}
	}
	mustPicture(t, p, still.Request{Codec: event.H264, Keyframe: data})
}
