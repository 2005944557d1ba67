package media

import (
	"context"
	"sort"
	"time"
)

const (
	// maxGap splits spans.
	maxGap = time.Second
	// checkEvery is how far apart the places are from which a stream can be
	// read.
	checkEvery = 5 * time.Second
)

// stream is what the first reading found in a stream.
type stream struct {
	in    streamInfo
	clock *clock
	runs  []run
	keys  []keyframe
	// checks are snapshots, each with its mark.
	checks []check
	levels []levelMark
	bytes  int64
	stats  Stats
	// fault is why the reading ended before the stream did.
	fault error

	spans  []Span // runs on the call's clock
	last   mark
	period int64 // ticks to the picture before
}

// run is a stretch of decodable samples.
type run struct {
	from, to mark
	length   int64 // ticks of the last one
}

type keyframe struct {
	mark
	width, height int
	params        uint64
	at0           time.Duration // on the call's clock
}

type check struct {
	mark
	snapshot
}

type levelMark struct {
	mark
	level int16
}

// Stats counts what a stream had.
type Stats struct {
	// Samples that were whole, of which Broken ones cannot be decoded.
	Samples, Broken int
	// Incomplete pictures lacked packets, Malformed ones made no sense.
	Incomplete, Malformed int
}

func scan(ctx context.Context, src Source, in streamInfo) (*stream, error) {
	s := &stream{in: in, clock: &clock{rate: int64(in.ClockRate)}}
	r := newReading(in, s.clock, true, nil, s.note)
	err := r.run(ctx, src, nil)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	s.fault = err
	s.stats.Incomplete, s.stats.Malformed = r.framer.incomplete, r.framer.malformed
	s.clock.settle()
	return s, nil
}

func (s *stream) note(c *coded) bool {
	s.stats.Samples++
	if c.level > 0 {
		s.levels = append(s.levels, levelMark{c.mark, c.level - 1})
	}
	if c.broken {
		s.stats.Broken++
		return true
	}
	s.bytes += int64(len(c.data))
	s.noteRun(c)
	if !c.key {
		return true
	}
	if s.in.Video() {
		s.keys = append(s.keys, keyframe{mark: c.mark, width: c.width, height: c.height, params: c.params})
	}
	if n := len(s.checks); c.snap != nil && (n == 0 || c.at-s.checks[n-1].at >= checkEvery) {
		s.checks = append(s.checks, check{c.mark, *c.snap})
	}
	return true
}

func (s *stream) noteRun(c *coded) {
	length := c.length
	if s.in.Video() {
		if c.seg == s.last.seg && c.ticks > s.last.ticks && c.ticks-s.last.ticks < s.clock.rate {
			s.period = c.ticks - s.last.ticks
		}
		if length = s.period; length == 0 {
			length = s.clock.rate / 30
		}
	}
	s.last = c.mark
	if n := len(s.runs); n > 0 {
		r := &s.runs[n-1]
		if r.to.seg == c.seg && abs(c.ticks-r.to.ticks-r.length) <= s.clock.rate {
			r.to, r.length = c.mark, length
			return
		}
	}
	s.runs = append(s.runs, run{from: c.mark, to: c.mark, length: length})
}

// place puts what was found on the call's clock.
func (s *stream) place() {
	for _, r := range s.runs {
		to := s.clock.place(r.to) + s.clock.duration(r.length)
		from := s.clock.place(r.from)
		if n := len(s.spans); n > 0 && from-s.spans[n-1].To <= maxGap {
			s.spans[n-1].To = max(s.spans[n-1].To, to)
		} else if to > from {
			s.spans = append(s.spans, Span{from, to})
		}
	}
	last := time.Duration(0)
	for i := range s.keys {
		k := &s.keys[i]
		last = max(last, s.clock.place(k.mark))
		k.at0 = last
	}
}

// cut returns spans without the muted ones.
func cut(spans, muted []Span) []Span {
	for _, m := range muted {
		var rest []Span
		for _, s := range spans {
			if m.To <= s.From || m.From >= s.To {
				rest = append(rest, s)
				continue
			}
			if s.From < m.From {
				rest = append(rest, Span{s.From, m.From})
			}
			if m.To < s.To {
				rest = append(rest, Span{m.To, s.To})
			}
		}
		spans = rest
	}
	return spans
}

// largest returns the size of the largest keyframe.
func (s *stream) largest() (width, height int) {
	for _, k := range s.keys {
		if k.width*k.height > width*height {
			width, height = k.width, k.height
		}
	}
	return width, height
}

func (s *stream) bitrate() int {
	var total time.Duration
	for _, p := range s.spans {
		total += p.To - p.From
	}
	if total <= 0 {
		return 0
	}
	return int(float64(s.bytes) * 8 / total.Seconds())
}

// checkBefore returns the last place to read from at or before a keyframe or,
// for sound, a moment of arrival.
func (s *stream) checkBefore(m mark) *snapshot {
	i := sort.Search(len(s.checks), func(i int) bool {
		c := s.checks[i].mark
		return c.seg > m.seg || c.seg == m.seg && c.ticks > m.ticks
	}) - 1
	if i < 0 {
		return nil
	}
	return &s.checks[i].snapshot
}
