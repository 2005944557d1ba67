package blob

import (
	"strings"
	"testing"
	"time"
)

func TestOpensWhatItSigned(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
	s, err := Open(t.Context(), Config{URL: "mem://", Key: []byte("0123456789abcdef"), PublicURL: "https://still.example", Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	url := s.SignGet("frames/a b.jpg", now.Add(time.Minute))
	if key, ok := s.Opens(url); !ok || key != "frames/a b.jpg" {
		t.Errorf("%q opens %q, %v", url, key, ok)
	}
	for name, other := range map[string]string{
		"expired": s.SignGet("frames/a.jpg", now), "another's": strings.Replace(url, "still.example", "evil.example", 1),
		"changed": strings.Replace(url, "frames", "cases", 1), "a path": "frames/a b.jpg", "nothing": "",
	} {
		if key, ok := s.Opens(other); ok {
			t.Errorf("%s opens %q", name, key)
		}
	}
}
