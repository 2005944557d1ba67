package media

import (
	"sort"
	"time"

	"github.com/pion/rtcp"
)

const (
	// jump is by how much timestamps and arrivals may run apart between two
	// packets before the timestamps are taken to begin anew. It is more than
	// what a packet can be late by (maxWait).
	jump = 2 * time.Second
	// maxSegments bounds how often that may happen in a stream; packets beyond
	// are dropped.
	maxSegments = 4096
	// maxReports bounds the reports kept of a segment: more than a day of one
	// each second.
	maxReports = 100_000
	// maxEarly bounds reports that wait for the packets they are about.
	maxEarly = 16
)

// mark is a moment of a stream before it is on the call's clock.
type mark struct {
	seg   int
	ticks int64
	at    time.Duration // arrival
}

// report is a sender report: ticks were sampled at ntp, which is in
// nanoseconds of the sender's wall clock (RFC 3550, section 6.4.1).
type report struct {
	ticks, ntp int64
	at         time.Duration
}

// segment is a run of one SSRC's timestamps without a jump.
type segment struct {
	ssrc    uint32
	reports []report
	// points are, for each second of arrivals, the packet that was fastest.
	points []mark
	// own places the segment by its arrivals alone; shared by the sender's wall
	// clock, nil without reports.
	own, shared *offset
	// by are the reports that apply: its own, or those before.
	by []report
}

// cursor is where in the timestamps a reading is.
type cursor struct {
	seg    int // -1 before the first packet
	ts     uint32
	ticks  int64
	newest time.Duration
	full   bool // too many segments
}

// clock puts a stream's timestamps on the call's clock.
type clock struct {
	rate  int64
	segs  []segment
	early []early
}

// early is a report about a segment that has not begun.
type early struct {
	ssrc, ts uint32
	ntp      int64
	at       time.Duration
}

// step unwraps a packet's timestamp and moves the cursor on, to the next
// segment where timestamps begin anew. It answers false beyond maxSegments.
func (c *clock) step(cur *cursor, p *packet, ssrcOf func(int) (uint32, bool)) (mark, bool) {
	ssrc, begun := ssrcOf(cur.seg)
	diff := int64(int32(p.ts - cur.ts))
	if begun {
		apart := p.at - cur.newest - c.duration(diff)
		begun = ssrc == p.ssrc && apart < jump && apart > -jump
	}
	switch {
	case begun:
		cur.ticks += diff
	case cur.seg+1 >= maxSegments:
		cur.full = true
		return mark{}, false
	default:
		if cur.seg < 0 {
			cur.ticks = int64(p.ts)
		} else {
			cur.ticks += diff
		}
		cur.seg++
		cur.newest = p.at
	}
	cur.ts = p.ts
	cur.newest = max(cur.newest, p.at)
	return mark{seg: cur.seg, ticks: cur.ticks, at: p.at}, true
}

func (c *clock) duration(ticks int64) time.Duration { return scale(ticks, int64(time.Second), c.rate) }

// scale is v·num/den without overflow for what occurs here, rounded down.
func scale[T ~int64 | ~int](v T, num, den int64) time.Duration {
	whole, rest := int64(v)/den, int64(v)%den
	return time.Duration(whole*num + rest*num/den)
}

// ssrc returns a segment's SSRC.
func (c *clock) ssrc(seg int) (uint32, bool) {
	if seg < 0 || seg >= len(c.segs) {
		return 0, false
	}
	return c.segs[seg].ssrc, true
}

// learn is step for the first reading, which makes the segments.
func (c *clock) learn(cur *cursor, p *packet) (mark, bool) {
	m, ok := c.step(cur, p, c.ssrc)
	if !ok {
		return m, false
	}
	if m.seg == len(c.segs) {
		c.segs = append(c.segs, segment{ssrc: p.ssrc})
		c.adopt(&c.segs[m.seg], p.ts, m.ticks)
	}
	s := &c.segs[m.seg]
	if n := len(s.points); n == 0 || s.points[n-1].at/time.Second != m.at/time.Second {
		s.points = append(s.points, m)
	} else if l := &s.points[n-1]; c.lag(m) < c.lag(*l) {
		*l = m
	}
	return m, true
}

// lag is how much later than its timestamp a packet arrived, in no
// particular origin.
func (c *clock) lag(m mark) time.Duration { return m.at - c.duration(m.ticks) }

// near is how far a report's timestamp may be from the packets' that it is
// taken to be about them.
const near = 10 * time.Second

// report notes the sender reports of a compound RTCP packet.
func (c *clock) report(cur *cursor, data []byte, at time.Duration) {
	packets, err := rtcp.Unmarshal(data)
	if err != nil {
		return
	}
	for _, p := range packets {
		sr, ok := p.(*rtcp.SenderReport)
		if !ok || sr.NTPTime == 0 {
			continue
		}
		e := early{ssrc: sr.SSRC, ts: sr.RTPTime, ntp: ntpNanos(sr.NTPTime), at: at}
		if ssrc, ok := c.ssrc(cur.seg); ok && ssrc == e.ssrc && c.note(&c.segs[cur.seg], e, cur.ts, cur.ticks) {
			continue
		}
		if len(c.early) == maxEarly {
			c.early = append(c.early[:0], c.early[1:]...)
		}
		c.early = append(c.early, e)
	}
}

func (c *clock) note(s *segment, e early, ts uint32, ticks int64) bool {
	diff := int64(int32(e.ts - ts))
	if d := c.duration(diff); d > near || d < -near || len(s.reports) >= maxReports {
		return false
	}
	s.reports = append(s.reports, report{ticks: ticks + diff, ntp: e.ntp, at: e.at})
	return true
}

// adopt gives a new segment the reports that came before it.
func (c *clock) adopt(s *segment, ts uint32, ticks int64) {
	rest := c.early[:0]
	for _, e := range c.early {
		if e.ssrc != s.ssrc || !c.note(s, e, ts, ticks) {
			rest = append(rest, e)
		}
	}
	c.early = rest
}

// ntpNanos turns an NTP timestamp to nanoseconds since 1900.
func ntpNanos(t uint64) int64 {
	return int64(t>>32)*int64(time.Second) + int64((t&0xffffffff)*uint64(time.Second)>>32)
}

// settle tidies the reports of a segment and gives those without any the ones
// of the segment before, if they fit.
func (c *clock) settle() {
	for i := range c.segs {
		s := &c.segs[i]
		sort.SliceStable(s.reports, func(a, b int) bool { return s.reports[a].ticks < s.reports[b].ticks })
		s.by = s.reports
		s.own = &offset{}
		for _, p := range s.points {
			s.own.add(p.at, int64(c.lag(p)))
		}
		s.own.settle()
	}
}

// wall returns a moment on the sender's wall clock: between two reports that
// agree with the clock rate by interpolation, else at the rate from the
// nearest before (or the first).
func (c *clock) wall(by []report, ticks int64) int64 {
	k := sort.Search(len(by), func(i int) bool { return by[i].ticks > ticks }) - 1
	if k < 0 {
		k = 0
	}
	r := by[k]
	since := int64(c.duration(ticks - r.ticks))
	if k+1 < len(by) && ticks > r.ticks {
		next := by[k+1]
		span := int64(c.duration(next.ticks - r.ticks))
		drift := next.ntp - r.ntp - span
		// 2 % is ten times what the worst clocks do, 20 ms what reports jitter
		if span > 0 && abs(drift) <= span/50+int64(20*time.Millisecond) {
			since += int64(float64(drift) * float64(since) / float64(span))
		}
	}
	return r.ntp + since
}

// maxApart is how far the sender's wall clock may put a packet from where
// arrivals put it before it is not believed.
const maxApart = 3 * time.Second

// place returns a mark's moment on the call's clock.
func (c *clock) place(m mark) time.Duration {
	if m.seg < 0 || m.seg >= len(c.segs) {
		return max(m.at, 0)
	}
	s := &c.segs[m.seg]
	at := c.duration(m.ticks) + time.Duration(s.own.of(m.at))
	if s.shared != nil {
		wall := time.Duration(c.wall(s.by, m.ticks) + s.shared.of(m.at))
		if d := wall - at; d < maxApart && d > -maxApart {
			at = wall
		}
	}
	return max(at, 0)
}

func abs(v int64) int64 {
	if v < 0 {
		return -v
	}
	return v
}
