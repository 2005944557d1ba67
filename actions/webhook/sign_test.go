package webhook

import (
	"net/http"
	"testing"
	"time"

	"stillwatch/actions/delivery"
)

func TestReadRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "30": 30 * time.Second, " 7 ": 7 * time.Second, "-1": 0, "soon": 0, "999999": 24 * time.Hour, "99999999999": 0,
		"Mon, 05 Jan 2026 10:01:00 GMT": time.Minute, "Mon, 05 Jan 2026 09:00:00 GMT": 0, "Tue, 05 Jan 2027 10:00:00 GMT": 24 * time.Hour,
	} {
		h := http.Header{}
		h.Set("Retry-After", text)
		if got := readRetryAfter(h, now); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func FuzzReadRetryAfter(f *testing.F) {
	f.Add("30")
	f.Add("Mon, 05 Jan 2026 10:01:00 GMT")
	f.Fuzz(func(t *testing.T, text string) {
		if d := readRetryAfter(http.Header{"Retry-After": {text}}, time.Unix(1_767_600_000, 0)); d < 0 || d > delivery.MaxRetryAfter {
			t.Fatalf("%q: %s", text, d)
		}
	})
}
