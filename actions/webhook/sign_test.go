package webhook

import (
	"net/http"
	"testing"
	"time"

	"stillwatch/actions/delivery"
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
