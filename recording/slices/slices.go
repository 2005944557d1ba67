// Package slices decides how one continuing stream becomes files: where a long
// one is cut, and when a stream that was interrupted goes on in the same file.
//
// Slice wins over Period, Period over Resume:
//
//   - a file that reaches Slice ends, in the middle of the stream, and the next
//     begins where it ended;
//   - a file that reaches Period goes on while the stream does, but not after
//     an interruption;
//   - an interruption of at most Resume goes on in the same file.
//
// It is pure: times in, files out.
package slices

import (
	"cmp"
	"errors"
	"slices"
	"time"
)

// Settings of a stream's files.
type Settings struct {
	// Slice is the longest a file lasts, gaps in it included. 0 is no limit.
	Slice time.Duration
	// Period is from what length on a file takes no more after an
	// interruption. 0 is none.
	Period time.Duration
	// Resume is the longest interruption within a file, exactly it is still
	// within. 0 makes a new file after each.
	Resume time.Duration
}

// Span is a time in which the stream ran without interruption: From is in it,
// To is not.
type Span struct{ From, To time.Duration }

// File is one file: the spans it holds, in order. Its gaps stay gaps.
type File struct{ Spans []Span }

// From is where the file begins.
func (f File) From() time.Duration { return f.Spans[0].From }

// To is where it ends.
func (f File) To() time.Duration { return f.Spans[len(f.Spans)-1].To }

// Length is from its beginning to its end, gaps included.
func (f File) Length() time.Duration { return f.To() - f.From() }

// ErrOrder is a push that begins before the last one ended, or ends before it
// begins.
var ErrOrder = errors.New("pushes are not in order")

// Stream is the state of one stream: its files so far. The zero value has no
// limits. It is for one goroutine.
type Stream struct {
	Settings
	// Pictures are when there are pictures, in order and apart: keyframes matter
	// within them only, what lies between is cut exactly at the limit. nil is all
	// the time.
	Pictures []Span
	files    []File
}

// Push tells of the next time in which the stream ran. keys are the times of
// its keyframes in order: a cut is made at the first one at or after the
// limit, for video that is copied. nil cuts exactly at the limit: sound, and
// video that is encoded anew. A push without length changes nothing.
//
// A push that begins where the last one ended is one after an interruption
// that was too short to be seen.
func (s *Stream) Push(from, to time.Duration, keys []time.Duration) error {
	if n := len(s.files); to < from || n > 0 && from < s.files[n-1].To() {
		return ErrOrder
	}
	if from == to {
		return nil
	}
	if !s.resumes(from) {
		s.files = append(s.files, File{})
	}
	for {
		last := &s.files[len(s.files)-1]
		last.Spans = append(last.Spans, Span{From: from, To: to})
		at, ok := s.cut(last.From(), from, to, keys)
		if !ok {
			return nil
		}
		last.Spans[len(last.Spans)-1].To = at
		s.files = append(s.files, File{})
		from = at
	}
}

// resumes tells whether a push that begins at from goes on in the last file.
func (s *Stream) resumes(from time.Duration) bool {
	if len(s.files) == 0 {
		return false
	}
	last := s.files[len(s.files)-1]
	switch {
	case s.Slice > 0 && from-last.From() >= s.Slice:
		return false // it was full before the stream came back
	case s.Period > 0 && last.Length() >= s.Period:
		return false
	}
	return s.Resume > 0 && from-last.To() <= s.Resume
}

// cut is where in (from, to) a file that began at start is full.
func (s *Stream) cut(start, from, to time.Duration, keys []time.Duration) (time.Duration, bool) {
	if s.Slice <= 0 {
		return 0, false
	}
	at := max(start+s.Slice, from+1)
	if keys != nil {
		at = s.free(at, to, keys)
	}
	return at, at < to
}

// free is the first moment from at on, to if there is none before it, at which
// no picture builds on one before.
func (s *Stream) free(at, to time.Duration, keys []time.Duration) time.Duration {
	key := to
	if i, _ := slices.BinarySearch(keys, at); i < len(keys) {
		key = min(keys[i], to)
	}
	if s.Pictures == nil {
		return key
	}
	for _, p := range s.Pictures {
		if p.From < at && at < p.To {
			at = p.To
		}
	}
	return min(key, at)
}

// Files are those that the pushes so far make. The last one may still grow.
func (s *Stream) Files() []File { return s.files }

// Files are those that the pushes of a finished stream make: in any order,
// with those that overlap taken as one. pictures are as in Stream, keys as for
// Push.
func Files(pushes, pictures []Span, keys []time.Duration, s Settings) []File {
	sorted := slices.Clone(pushes)
	slices.SortFunc(sorted, func(a, b Span) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To)) })
	if !slices.IsSorted(keys) {
		keys = slices.Sorted(slices.Values(keys))
	}
	var apart []Span
	for _, p := range sorted {
		if n := len(apart); n > 0 && p.From < apart[n-1].To {
			apart[n-1].To = max(apart[n-1].To, p.To)
		} else if p.From < p.To {
			apart = append(apart, p)
		}
	}
	stream := Stream{Settings: s, Pictures: pictures}
	for _, p := range apart {
		// They are in order and apart, so there is no error.
		_ = stream.Push(p.From, p.To, keys)
	}
	return stream.Files()
}
