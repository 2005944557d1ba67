package policy

import "hash/maphash"

// maxRecall is how many frames of a participant are known again: at the
// shortest interval, 2 s, those of eight minutes.
const maxRecall = 256

var recallSeed = maphash.MakeSeed()

// recall remembers the newest frames by id, so that a frame that comes twice is
// told from one that a clock, set back since, has stamped.
type recall struct {
	ring [maxRecall]uint64
	set  map[uint64]struct{}
	n    int
}

// add remembers a frame and tells whether it is new.
func (s *recall) add(frameID string) bool {
	h := maphash.String(recallSeed, frameID)
	if _, again := s.set[h]; again {
		return false
	}
	if s.set == nil {
		s.set = map[uint64]struct{}{}
	}
	at := s.n % maxRecall
	if s.n >= maxRecall {
		delete(s.set, s.ring[at])
	}
	s.ring[at] = h
	s.set[h] = struct{}{}
	s.n++
	return true
}
