package delivery

import "time"

// The pauses of a lane whose receiver has too much to do.
const (
	firstRest = time.Second
	maxRest   = time.Minute
)

// throttle slows a lane down. The zero value does not.
type throttle struct {
	n     int // rests in a row
	until time.Time
}

// note takes in an attempt that began at the time. Attempts from before a
// rest say nothing new.
func (t *throttle) note(res Result, began, now time.Time) {
	switch {
	case res.OK():
		*t = throttle{}
	case !res.Throttled || began.Before(t.until):
	default:
		rest := min(firstRest<<min(t.n, 10), maxRest)
		t.n++
		t.until = now.Add(max(rest, min(res.RetryAfter, MaxRetryAfter)))
	}
}

// room is how many may be sent at once.
func (t *throttle) room(now time.Time, full int) int {
	switch {
	case now.Before(t.until):
		return 0
	case t.n > 0:
		return 1
	}
	return full
}
