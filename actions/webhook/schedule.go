package webhook

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// schedule is the pause before each attempt at a lossless event (Standard
// Webhooks 1.0.0, "Deliverability and reliability").
var schedule = [...]time.Duration{
	0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour,
	5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

const (
	// maxRetryAfter is the longest pause that a receiver may ask for.
	maxRetryAfter = 24 * time.Hour
	// jitterShare spreads each pause by this much both ways.
	jitterShare = 0.2
)

// jitter is a random factor from 0.8 to 1.2.
func jitter() float64 { return 1 + jitterShare*(2*rand.Float64()-1) }

// pause returns how long to wait after the n-th attempt (1 is the first) has
// failed, and false when it was the last.
func pause(n int, factor float64, retryAfter time.Duration) (time.Duration, bool) {
	if n >= len(schedule) {
		return 0, false
	}
	d := time.Duration(float64(schedule[n]) * factor)
	return max(d, retryAfter), true
}

// readRetryAfter reads the header Retry-After, seconds or a date (RFC 9110,
// section 10.2.3), as a pause of at most a day; 0 when it says nothing.
func readRetryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if text == "" {
		return 0
	}
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		return min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}
