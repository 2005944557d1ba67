package still

import (
	"errors"
	"testing"

	"stillwatch/internal/event"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	good := Request{Codec: event.VP8, Keyframe: []byte{1}, MaxHeight: 720, Rotation: 90, Quality: 80}
	for name, tc := range map[string]struct {
		change func(*Request)
		valid  bool
	}{
		"good":           {func(*Request) {}, true},
		"no bound":       {func(r *Request) { r.MaxHeight = 0 }, true},
		"default":        {func(r *Request) { r.Quality = 0 }, true},
		"codec":          {func(r *Request) { r.Codec = "H265" }, false},
		"empty":          {func(r *Request) { r.Keyframe = nil }, false},
		"rotation":       {func(r *Request) { r.Rotation = 45 }, false},
		"height":         {func(r *Request) { r.MaxHeight = -1 }, false},
		"quality":        {func(r *Request) { r.Quality = 101 }, false},
		"lower quality":  {func(r *Request) { r.Quality = -1 }, false},
		"other rotation": {func(r *Request) { r.Rotation = -90 }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := good
			tc.change(&r)
			if err := r.Validate(); (err == nil) != tc.valid || (err != nil && !errors.Is(err, ErrInvalid)) {
				t.Fatalf("Validate() = %v, want valid %v", err, tc.valid)
			}
		})
	}
}

func TestDistance(t *testing.T) {
	t.Parallel()
	if d := Distance(0b1011, 0b0010); d != 2 {
		t.Fatalf("Distance = %d, want 2", d)
	}
	if d := Distance(0, ^uint64(0)); d != 64 {
		t.Fatalf("Distance = %d, want 64", d)
	}
}
