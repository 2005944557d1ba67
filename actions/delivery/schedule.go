package delivery

import (
	"math/rand/v2"
	"time"
)

// schedule is the pause before each attempt at a lossless event (Standard
// Webhooks 1.0.0, "Deliverability and reliability").
var schedule = [...]time.Duration{
	0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour,
	5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

const (
	// MaxRetryAfter is the longest pause that a receiver may ask for.
	MaxRetryAfter = 24 * time.Hour
	// heldPause is when a delivery is looked at again that a setting of
	// this program holds back.
	heldPause = 5 * time.Minute
	// jitterShare spreads each pause by this much both ways.
	jitterShare = 0.2
)

// jitter is a random factor from 0.8 to 1.2.
func jitter() float64 { return 1 + jitterShare*(2*rand.Float64()-1) }

// pause returns how long to wait after the n-th attempt (1 is the first) has
// failed, and false when it was the last.
func pause(n int, factor float64, retryAfter time.Duration) (time.Duration, bool) {
	if n < 1 || n >= len(schedule) {
		return 0, false
	}
	d := time.Duration(float64(schedule[n]) * factor)
	return max(d, min(retryAfter, MaxRetryAfter)), true
}
