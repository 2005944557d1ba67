package webhook

import (
	"net/http"
	"testing"
	"time"
)

func TestSignVectors(t *testing.T) {
	t.Parallel()
	// RFC 4231, test case 2, and the empty body.
	for _, c := range []struct{ secret, body, want string }{
		{"Jefe", "what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
		{"", "", "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"},
	} {
		if got := Sign(c.secret, []byte(c.body)); got != c.want {
			t.Errorf("Sign(%q, %q) = %s", c.secret, c.body, got)
		}
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	body := []byte(`{"type":"user.banned"}`)
	sig := Sign("secret", body)
	if !Verify("secret", body, sig) {
		t.Error("refused its own signature")
	}
	if Verify("Secret", body, sig) || Verify("secret", append(body, ' '), sig) || Verify("secret", body, "") || Verify("secret", body, sig[:63]) {
		t.Error("took a wrong one")
	}
}

func TestPauseFollowsTheSchedule(t *testing.T) {
	t.Parallel()
	want := []time.Duration{
		5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
	}
	for i, w := range want {
		for _, factor := range []float64{0.8, 1, 1.2} {
			if d, ok := pause(i+1, factor, 0); !ok || d != time.Duration(float64(w)*factor) {
				t.Errorf("after %d with %v: %s, %v", i+1, factor, d, ok)
			}
		}
	}
	if _, ok := pause(10, 1, 0); ok {
		t.Error("an eleventh attempt")
	}
	if d, _ := pause(1, 1, time.Minute); d != time.Minute {
		t.Errorf("Retry-After ignored: %s", d)
	}
	if d, _ := pause(3, 1, time.Minute); d != 30*time.Minute {
		t.Errorf("Retry-After shortened the pause: %s", d)
	}
}

func TestJitterStaysWithinAFifth(t *testing.T) {
	t.Parallel()
	low, high := 1.0, 1.0
	for range 10_000 {
		j := jitter()
		low, high = min(low, j), max(high, j)
	}
	if low < 0.8 || high > 1.2 || low > 0.81 || high < 1.19 {
		t.Errorf("%v to %v", low, high)
	}
}

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
		if d := readRetryAfter(http.Header{"Retry-After": {text}}, time.Unix(1_767_600_000, 0)); d < 0 || d > maxRetryAfter {
			t.Fatalf("%q: %s", text, d)
		}
	})
}
