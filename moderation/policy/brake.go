package policy

import (
	"slices"
	"time"
)

const brakeWindow = time.Minute

// brake lets max bans through in any minute. Its time does not run backwards:
// an event from the past counts as now. One from further back than a minute
// tells that the clock was set back, and the brake's with it; the bans of the
// minute before count from then on.
type brake struct {
	max  int
	now  time.Time
	bans []time.Time // rising
}

// free tells whether one more ban fits at the moment at.
func (b *brake) free(at time.Time) bool {
	if at.After(b.now) {
		b.now = at
	}
	if b.now.Sub(at) > brakeWindow {
		b.now = at
		for i := range b.bans {
			b.bans[i] = at
		}
	}
	since := b.now.Add(-brakeWindow)
	b.bans = slices.DeleteFunc(b.bans, func(t time.Time) bool { return !t.After(since) })
	return len(b.bans) < b.max
}

// take counts a ban at the latest moment that free has seen.
func (b *brake) take() { b.bans = append(b.bans, b.now) }
