package capture

import (
	"maps"

	"stillwatch/internal/event"
)

// TrackCounts accounts for the due frames of a track: Due is Captured, Gaps
// and InFlight, and one more while a keyframe is awaited.
type TrackCounts struct {
	Due, Captured, Gaps, InFlight int
	// Waiting says that a keyframe is awaited.
	Waiting bool
	// Layer is the rid of the layer that the latest captured frame is of, empty
	// without simulcast, and SourceHeight its lines before it was scaled.
	Layer        string
	SourceHeight int
}

// Stats are the counts of a Sampler since it was made, and its state now.
type Stats struct {
	// Tracks are live now, Sampled of them in calls that are recorded; Calls
	// are recorded; Taps are open.
	Tracks, Sampled, Calls, Taps int
	// Due is Captured, the sum of Gaps, InFlight, and Waiting, which are the
	// frames whose keyframe is awaited.
	Due, Captured, InFlight uint64
	Waiting                 int
	Gaps                    map[event.GapReason]uint64
	// Requests for a keyframe; Keyframes taken, Natural of them unasked.
	Requests, Keyframes, Natural uint64
	// RowsLost are rows that the database did not take.
	RowsLost uint64
}

// Missed sums the gaps.
func (s Stats) Missed() (n uint64) {
	for _, g := range s.Gaps {
		n += g
	}
	return n
}

type counts struct {
	due, captured, inFlight      uint64
	requests, keyframes, natural uint64
	rowsLost                     uint64
	gaps                         map[event.GapReason]uint64
}

func (c *counts) gap(r event.GapReason) {
	if c.gaps == nil {
		c.gaps = map[event.GapReason]uint64{}
	}
	c.gaps[r]++
}

// Stats returns the counts.
func (s *Sampler) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts
	st := Stats{
		Tracks: len(s.tracks), Calls: len(s.calls), Sampled: len(s.order),
		Due: c.due, Captured: c.captured, InFlight: c.inFlight,
		Gaps:     maps.Clone(c.gaps),
		Requests: c.requests, Keyframes: c.keyframes, Natural: c.natural, RowsLost: c.rowsLost,
	}
	for _, t := range s.tracks {
		if t.lane != nil {
			st.Taps++
		}
		if t.waiting {
			st.Waiting++
		}
	}
	return st
}

// Track returns the counts of a live track.
func (s *Sampler) Track(id string) (TrackCounts, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tracks[id]
	if t == nil {
		return TrackCounts{}, false
	}
	c := t.counts
	c.Waiting = t.waiting
	return c, true
}
