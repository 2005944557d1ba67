package capture

import (
	"math/rand/v2"
	"time"
)

// maxFirst bounds the wait for a track's first frame.
const maxFirst = 2 * time.Second

// pacer gives a track's due moments: a grid of the interval with a random
// phase, so that publishers are not asked in step, and a random shift at each
// moment, so that nobody can time around them. Shifts do not add up: the mean
// distance is the interval exactly.
type pacer struct {
	base     time.Time
	interval time.Duration
	jitter   float64
	random   func() float64
	n        int64
}

func newPacer(now time.Time, interval time.Duration, jitter float64, random func() float64) *pacer {
	if random == nil {
		random = rand.Float64 // seeded by the system, not to be foreseen
	}
	phase := time.Duration(random() * float64(min(interval, maxFirst)))
	return &pacer{base: now.Add(phase), interval: interval, jitter: jitter, random: random}
}

// next returns the next due moment.
func (p *pacer) next() time.Time {
	shift := (2*p.random() - 1) * p.jitter * float64(p.interval)
	at := p.base.Add(time.Duration(p.n)*p.interval + time.Duration(shift))
	p.n++
	return at
}
