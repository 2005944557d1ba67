package web

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"stillwatch/internal/auth"
	"stillwatch/internal/testkit"
)

func TestRateLimit(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *Config) { c.RateLimit = 3 })
	const url = "/permissions"
	b.server(http.StatusOK, "PUT", url+"?user_id=bob", `{"recording":{"recordingType":"all","recordingProfile":"always"}}`)
	b.server(http.StatusOK, "PUT", url+"?user_id=eve", `{"recording":{"recordingType":"all","recordingProfile":"always"}}`)
	bob, eve := b.user("bob", ""), b.user("eve", "")
	for left := 2; left >= 0; left-- {
		a := b.want(http.StatusOK, b.do(bob, "GET", url, nil))
		if h := a.header; h.Get("x-ratelimit-limit") != "3" || h.Get("x-ratelimit-remaining") != strconv.Itoa(left) {
			t.Errorf("headers %v, want %d left", h, left)
		}
	}
	a := b.want(http.StatusTooManyRequests, b.do(bob, "GET", url, nil))
	// A third of a minute for one, a minute for all three.
	if a.body["code"] != float64(CodeRateLimit) || a.header.Get("Retry-After") != "20" {
		t.Errorf("code %v, Retry-After %s", a.body["code"], a.header.Get("Retry-After"))
	}
	if reset := a.header.Get("x-ratelimit-reset"); reset != strconv.FormatInt(b.now.Now().Add(time.Minute).Unix(), 10) {
		t.Errorf("reset %s", reset)
	}
	b.want(http.StatusOK, b.do(eve, "GET", url, nil))
	a = b.server(http.StatusOK, "GET", "/api/v2/rate_limits", nil)
	if got := fmt.Sprint(a.body["server_side"].(map[string]any)[limitedAs].(map[string]any)["remaining"]); got != "57" || a.header.Get("x-ratelimit-limit") != "60" {
		t.Errorf("the backend has %s of %s left, want 57 of 60", got, a.header.Get("x-ratelimit-limit"))
	}
	b.now.Advance(20 * time.Second)
	b.want(http.StatusOK, b.do(bob, "GET", url, nil))
	b.want(http.StatusTooManyRequests, b.do(bob, "GET", url, nil))
	b.want(http.StatusUnauthorized, b.do("x.y.z", "GET", url, nil)) // counts for nobody
}

func TestNoRateLimit(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a := b.server(http.StatusOK, "GET", "/api/v2/rate_limits", nil)
	if a.header.Get("x-ratelimit-limit") != "" || len(a.body["server_side"].(map[string]any)) != 0 {
		t.Errorf("a limit where there is none: %s", a.raw)
	}
}

func TestLimiterForgetsTheSuperfluous(t *testing.T) {
	t.Parallel()
	l := newLimiter(1, testkit.NewClock().Now)
	for i := range maxBuckets + 10 {
		if _, ok := l.take(auth.Identity{UserID: strconv.Itoa(i)}, 1); !ok {
			t.Fatalf("user %d is refused the first request", i)
		}
	}
	if len(l.buckets) != maxBuckets {
		t.Errorf("%d callers are remembered, want %d", len(l.buckets), maxBuckets)
	}
}
