package media

import "time"

// maxSlip is how far timestamps may run from the call's clock before they are
// put right by a jump: as little as nobody hears or sees.
const maxSlip = 20 * time.Millisecond

// timeline gives samples timestamps in a file: as far apart as the sender's,
// to the tick, as long as they agree with the call's clock.
type timeline struct {
	origin time.Duration // the file's beginning
	rate   int64         // of the samples, Hz
	out    int64         // of the file, Hz

	any  bool
	mark mark
	at   time.Duration
	seen int64
}

// follow goes on with the samples of another stream.
func (t *timeline) follow(rate int64) { t.rate, t.mark.seg = rate, -1 }

// pts returns a sample's timestamp in the file, higher than the last.
func (t *timeline) pts(m Sample) int64 {
	since := scale(m.mark.ticks-t.mark.ticks, int64(time.Second), t.rate)
	if !t.any || m.mark.seg != t.mark.seg || abs(int64(t.at+since-m.At)) > int64(maxSlip) {
		t.mark, t.at = m.mark, m.At
	}
	base := round(t.at-t.origin, t.out)
	v := base + int64(scale(m.mark.ticks-t.mark.ticks, t.out, t.rate))
	if t.any {
		v = max(v, t.seen+1)
	}
	t.any, t.seen = true, max(v, 0)
	return t.seen
}

// round returns how many of rate's units a duration has, to the nearest.
func round(d time.Duration, rate int64) int64 {
	if d < 0 {
		return -round(-d, rate)
	}
	return int64(scale(int64(d)*2+int64(time.Second)/rate, rate, 2*int64(time.Second)))
}
