package media

import (
	"sort"
	"time"
)

const (
	// bucket is over how much of the call the fastest packet counts.
	bucket = 10 * time.Second
	// maxDrift is how fast two clocks run apart at most, in parts per million;
	// what goes faster is the network's delay.
	maxDrift = 1000
	// era is a difference between buckets that no drift explains and hardly a
	// network: the sender's clock was set.
	era = int64(time.Second)
)

// lead is a point of an offset: at a moment of the call, the sender's clock
// was this much behind it, in nanoseconds.
type lead struct {
	at time.Duration
	d  int64
}

// offset is the difference between a sender's clock and the call's, by the
// fastest packets: what is smallest is nearest to the truth, since the network
// only delays. It is a piecewise linear function of the call's time.
type offset struct {
	points []lead
	// first are the indices where an era begins.
	eras []int
}

// add notes a packet's arrival minus its sender's time. Order does not matter.
func (o *offset) add(at time.Duration, d int64) { o.points = append(o.points, lead{at, d}) }

// settle reduces the points; of is for afterwards.
func (o *offset) settle() {
	sort.Slice(o.points, func(i, j int) bool {
		a, b := o.points[i], o.points[j]
		return a.at < b.at || a.at == b.at && a.d < b.d
	})
	best := o.points[:0]
	for _, p := range o.points {
		if n := len(best); n == 0 || best[n-1].at/bucket != p.at/bucket {
			best = append(best, p)
		} else if p.d < best[n-1].d {
			best[n-1] = p
		}
	}
	o.points = best
	o.eras = append(o.eras[:0], 0)
	for i := 1; i < len(best); i++ {
		if abs(best[i].d-best[i-1].d) > era {
			o.eras = append(o.eras, i)
		}
	}
	for i, from := range o.eras {
		to := len(best)
		if i+1 < len(o.eras) {
			to = o.eras[i+1]
		}
		limit(best[from:to])
	}
}

// limit lowers points that lie higher above another than drift explains.
func limit(ps []lead) {
	lower := func(p *lead, by lead) {
		p.d = min(p.d, by.d+abs(int64(p.at-by.at))/(1_000_000/maxDrift))
	}
	for i := 1; i < len(ps); i++ {
		lower(&ps[i], ps[i-1])
	}
	for i := len(ps) - 2; i >= 0; i-- {
		lower(&ps[i], ps[i+1])
	}
}

// of returns the offset at a moment of the call: interpolated, and constant
// beyond the ends of an era.
func (o *offset) of(at time.Duration) int64 {
	ps := o.points
	if len(ps) == 0 {
		return 0
	}
	k := sort.Search(len(ps), func(i int) bool { return ps[i].at > at }) - 1
	if k < 0 {
		return ps[0].d
	}
	if k+1 == len(ps) || o.begins(k+1) {
		return ps[k].d
	}
	a, b := ps[k], ps[k+1]
	return a.d + int64(float64(b.d-a.d)*float64(at-a.at)/float64(b.at-a.at))
}

func (o *offset) begins(i int) bool {
	k := sort.SearchInts(o.eras, i)
	return k < len(o.eras) && o.eras[k] == i
}

// share makes one offset for all streams of a connection that have reports:
// they share the sender's wall clock, so lips and voice agree whatever the
// network did to either.
func share(clocks []*clock) {
	all := &offset{}
	for _, c := range clocks {
		for i := range c.segs {
			s := &c.segs[i]
			for _, r := range s.reports {
				all.add(r.at, int64(r.at)-r.ntp)
			}
			if len(s.reports) == 0 {
				continue
			}
			for _, p := range s.points {
				all.add(p.at, int64(p.at)-c.wall(s.reports, p.ticks))
			}
		}
	}
	if len(all.points) == 0 {
		return
	}
	all.settle()
	for _, c := range clocks {
		for i := range c.segs {
			s := &c.segs[i]
			if len(s.by) == 0 && i > 0 {
				s.by = c.inherit(i, all)
			}
			if len(s.by) > 0 {
				s.shared = all
			}
		}
	}
}

// inherit returns the reports of the segment before, if they place the
// packets of segment i where they may have been sent: not after they arrived
// and little before.
func (c *clock) inherit(i int, all *offset) []report {
	before, s := &c.segs[i-1], &c.segs[i]
	if before.ssrc != s.ssrc || len(before.by) == 0 || len(s.points) == 0 {
		return nil
	}
	least := int64(1 << 62)
	for _, p := range s.points {
		least = min(least, int64(p.at)-c.wall(before.by, p.ticks)-all.of(p.at))
	}
	if least < -int64(50*time.Millisecond) || least > int64(400*time.Millisecond) {
		return nil
	}
	return before.by
}
