//go:build cgo && linux

package picture

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"stillwatch/capture/still"
	"stillwatch/internal/event"
)

// refused is a clear answer about the keyframe itself.
func refused(err error) bool {
	return errors.Is(err, still.ErrUndecodable) || errors.Is(err, still.ErrUnsupported) || errors.Is(err, still.ErrTooLarge)
}

// sound fails the test if the pool has lost a worker, or no longer makes the
// same picture that it made before.
func sound(t *testing.T, p *Pool) {
	t.Helper()
	if s := p.Stats(); s.Crashes != 0 || s.Deadlines != 0 {
		t.Errorf("%+v: workers were lost", s)
	}
	for _, codec := range codecs {
		got := mustPicture(t, p, still.Request{Codec: codec, Keyframe: keyframe(t, media{codec: codec, width: 640, height: 360})})
		pix, w, h := rgb(t, got.JPEG)
		if db, _ := psnr(t, pix, reference(t, "neutral", w, h)); db < 30 {
			t.Errorf("%s: PSNR %.1f dB after bad input", codec, db)
		}
	}
}

func TestBombs(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{MaxPixels: 1920 * 1080})
	small := func(c event.Codec) []byte { return keyframe(t, media{codec: c, width: 64, height: 48}) }
	for name, r := range map[string]still.Request{
		"VP8":          {Codec: event.VP8, Keyframe: bombVP8(small(event.VP8), 16383, 16383)},
		"VP8 slightly": {Codec: event.VP8, Keyframe: bombVP8(small(event.VP8), 1920, 1200)},
		"VP9":          {Codec: event.VP9, Keyframe: bombVP9(small(event.VP9), 65536, 65536)},
		"VP9 slightly": {Codec: event.VP9, Keyframe: bombVP9(small(event.VP9), 1920, 1200)},
		"H264":         {Codec: event.H264, Keyframe: bombH264(1024, 1024)},
		"H264 wide":    {Codec: event.H264, Keyframe: bombH264(4000, 9)},
		"AV1":          {Codec: event.AV1, Keyframe: bombAV1(65536, 65536)},
		"AV1 slightly": {Codec: event.AV1, Keyframe: bombAV1(1920, 1200)},
		"real":         {Codec: event.VP8, Keyframe: keyframe(t, media{codec: event.VP8, width: 1928, height: 1080})},
	} {
		if _, err := p.Picture(t.Context(), r); !errors.Is(err, still.ErrTooLarge) {
			t.Errorf("%s: %v, want %v", name, err, still.ErrTooLarge)
		}
	}
	sound(t, p)
}

// TestLargestFrame: the memory limit leaves room for what is allowed.
func TestLargestFrame(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{})
	for _, codec := range codecs {
		for range 3 {
			got := mustPicture(t, p, still.Request{Codec: codec, Rotation: 90, Keyframe: keyframe(t, media{codec: codec, width: 4096, height: 2304, kbps: 4000})})
			if got.Width != 2304 || got.Height != 4096 {
				t.Errorf("%s: %dx%d", codec, got.Width, got.Height)
			}
		}
	}
	// Other sizes in between must not pile up.
	for _, codec := range codecs {
		for i := range 8 {
			mustPicture(t, p, still.Request{Codec: codec, Keyframe: keyframe(t, media{codec: codec, width: 320 + 32*i, height: 180 + 16*i})})
		}
	}
	sound(t, p)
}

func TestTruncated(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{})
	for _, codec := range codecs {
		whole := keyframe(t, media{codec: codec, width: 640, height: 360})
		for i := range 24 {
			cut := whole[:len(whole)*i/24]
			if i == 0 {
				cut = whole[:1]
			}
			_, err := p.Picture(t.Context(), still.Request{Codec: codec, Keyframe: cut})
			if err != nil && !refused(err) {
				t.Errorf("%s cut to %d of %d: %v", codec, len(cut), len(whole), err)
			}
			// VP8 and VP9 cannot tell: see trap 1 of ARCHITECTURE.md; their
			// completeness is proven from sequence numbers.
			if (codec == event.H264 || codec == event.AV1) && err == nil {
				t.Errorf("%s cut to %d of %d made a picture", codec, len(cut), len(whole))
			}
		}
	}
	sound(t, p)
}

func TestFlippedAndGarbage(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{})
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, codec := range codecs {
		whole := keyframe(t, media{codec: codec, width: 320, height: 180})
		bad := 0
		for i := range 150 {
			data := bytes.Clone(whole)
			for range 1 + i%8 {
				data[rnd.IntN(len(data))] ^= 1 << rnd.IntN(8)
			}
			if i%5 == 0 {
				data = data[:1+rnd.IntN(300)]
				for k := range data[min(len(data), i%16):] {
					data[k] = byte(rnd.Uint32())
				}
			}
			_, err := p.Picture(t.Context(), still.Request{Codec: codec, Keyframe: data, MaxHeight: 100, Rotation: 90 * (i % 4)})
			if err != nil && !refused(err) {
				t.Fatalf("%s %d: %v", codec, i, err)
			}
			if err != nil {
				bad++
			}
		}
		t.Logf("%s: %d of 150 refused", codec, bad)
		if bad == 0 {
			t.Errorf("%s: nothing was refused", codec)
		}
	}
	sound(t, p)
}

// TestOtherCodec: a codec's frame under another's name is refused.
func TestOtherCodec(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{})
	for _, codec := range codecs {
		for _, other := range codecs {
			if other == codec {
				continue
			}
			_, err := p.Picture(t.Context(), still.Request{Codec: other, Keyframe: keyframe(t, media{codec: codec, width: 640, height: 360})})
			if !refused(err) {
				t.Errorf("%s as %s: %v", codec, other, err)
			}
		}
	}
	sound(t, p)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{MaxBytes: 1 << 20})
	h264 := keyframe(t, media{codec: event.H264, width: 640, height: 360})
	slice := bytes.Index(h264, []byte{0, 0, 1, 0x65})
	mustPicture(t, p, still.Request{Codec: event.H264, Keyframe: h264})
	for name, tc := range map[string]struct {
		req  still.Request
		want error
	}{
		"4:4:4":      {still.Request{Codec: event.H264, Keyframe: keyframe(t, media{codec: event.H264, pixel: "yuv444p"})}, still.ErrUnsupported},
		"4:2:2":      {still.Request{Codec: event.H264, Keyframe: keyframe(t, media{codec: event.H264, pixel: "yuv422p"})}, still.ErrUnsupported},
		"10 bits":    {still.Request{Codec: event.VP9, Keyframe: keyframe(t, media{codec: event.VP9, pixel: "yuv420p10le"})}, still.ErrUnsupported},
		"10 bit AV1": {still.Request{Codec: event.AV1, Keyframe: keyframe(t, media{codec: event.AV1, pixel: "yuv420p10le"})}, still.ErrUnsupported},
		// Another stream's parameter sets are still in the decoder.
		"no SPS":         {still.Request{Codec: event.H264, Keyframe: h264[slice-1:]}, still.ErrUndecodable},
		"too many bytes": {still.Request{Codec: event.VP8, Keyframe: make([]byte, 1<<20+1)}, still.ErrTooLarge},
		"full of zeros":  {still.Request{Codec: event.VP8, Keyframe: make([]byte, 1<<20)}, still.ErrUndecodable},
		"empty":          {still.Request{Codec: event.VP8}, still.ErrInvalid},
		"codec":          {still.Request{Codec: "H265", Keyframe: h264}, still.ErrInvalid},
	} {
		if _, err := p.Picture(t.Context(), tc.req); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	sound(t, p)
}

// TestDeltaFrames: what is no keyframe never becomes a picture.
func TestDeltaFrames(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{})
	for _, codec := range codecs {
		key := keyframe(t, media{codec: codec, width: 320, height: 180})
		mustPicture(t, p, still.Request{Codec: codec, Keyframe: key})
		delta := deltaFrame(t, codec)
		if _, err := p.Picture(t.Context(), still.Request{Codec: codec, Keyframe: delta}); !refused(err) {
			t.Errorf("%s: %v", codec, err)
		}
	}
	sound(t, p)
}

func TestNames(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{})
	_, err := p.Picture(t.Context(), still.Request{Codec: event.VP8, Keyframe: []byte("no frame at all")})
	if want := fmt.Sprintf("%v: ", still.ErrUndecodable); err == nil || len(err.Error()) <= len(want) {
		t.Errorf("%v gives no reason", err)
	}
}
