package mjr

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"stillwatch/internal/event"
	"stillwatch/recording/raw"
)

// RoleMixer is raw.RoleMixer.
const RoleMixer = raw.RoleMixer

// mixerID is their user id.
const mixerID = "mixer"

// skew is the most by which an event's times are believed to differ from those
// of the packets.
const skew = time.Hour

// source is a file that becomes a track.
type source struct {
	path  string
	track *track // nil for a WAV file
	user  string
	role  string
	room  string
	kind  event.TrackType
	// begin is when its first packet came; join and leave bound it.
	begin, join, leave time.Time
	length             time.Duration
}

// expand lists the files of folders among paths, not of folders in them.
func expand(paths []string) ([]string, error) {
	var out []string
	for _, p := range paths {
		st, err := os.Stat(p)
		if err != nil {
			return nil, &Error{File: p, Err: err}
		}
		if st.Mode().IsRegular() {
			out = append(out, p)
			continue
		}
		if !st.IsDir() {
			return nil, &Error{File: p, Err: fmt.Errorf("neither file nor folder: %w", ErrUnsupported)}
		}
		entries, err := os.ReadDir(p)
		if err != nil {
			return nil, &Error{File: p, Err: err}
		}
		for _, e := range entries {
			if ext := lower(filepath.Ext(e.Name())); e.Type().IsRegular() && (ext == ".mjr" || ext == ".wav") {
				out = append(out, filepath.Join(p, e.Name()))
			}
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	if len(out) == 0 {
		return nil, fmt.Errorf("there are no .mjr files: %w", ErrFormat)
	}
	if len(out) > maxSegments {
		return nil, fmt.Errorf("%d files; at most %d: %w", len(out), maxSegments, ErrUnsupported)
	}
	return out, nil
}

// gather looks through the files. What cannot be imported goes to problem; an
// error is the context's.
func gather(ctx context.Context, paths []string, e *ConferenceEvent, problem func(error)) ([]*source, error) {
	var known map[string]named
	if e != nil {
		known = e.byFile()
	}
	found := make(map[string]bool)
	var out []*source
	for _, p := range paths {
		seg, listed := known[filepath.Base(p)]
		if e != nil && !listed {
			problem(&Error{File: p, Err: fmt.Errorf("the event does not name it: %w", ErrUnsupported)})
			continue
		}
		found[filepath.Base(p)] = true
		s, err := open(ctx, p)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			problem(err)
			continue
		}
		if s.track != nil && s.track.broken != nil {
			problem(s.track.broken) // what is before it is imported
		}
		if s.describe(ParseName(p)); listed {
			s.correct(seg)
		}
		out = append(out, s)
	}
	if e != nil {
		for _, name := range e.missing(found) {
			problem(&Error{File: name, Err: os.ErrNotExist})
		}
	}
	return out, place(out)
}

// open looks through one file.
func open(ctx context.Context, path string) (*source, error) {
	s := &source{path: path}
	if lower(filepath.Ext(path)) != ".wav" {
		t, err := scan(ctx, path)
		if err != nil {
			return nil, err
		}
		s.track, s.length = t, t.last
		return s, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, &Error{File: path, Err: err}
	}
	defer func() { _ = f.Close() }() // only read
	st, err := f.Stat()
	if err == nil {
		s.length, err = wavLength(f, st.Size())
	}
	if err != nil {
		return nil, &Error{File: path, Err: err}
	}
	// Can it be coded at all? Then it will not fail when half is written.
	heard := 0
	err = eachOpus(ctx, path, time.Second, func([]byte, time.Duration) error { heard++; return nil })
	if err == nil && heard == 0 {
		err = &Error{File: path, Err: fmt.Errorf("no sound: %w", ErrFormat)}
	}
	return s, err
}

// describe takes from the file's name and head what they tell.
func (s *source) describe(n Name) {
	s.user, s.room, s.begin = n.User, n.Room, n.At
	if s.track == nil || n.Mix {
		s.user, s.role = mixerID, RoleMixer
	}
	if s.track != nil {
		info := s.track.info
		s.begin = firstOf(info.First, n.At, info.Created)
		n.Screen = n.Screen || strings.Contains(lower(info.Description), "screen")
	}
	s.setKind(n.Screen)
}

func (s *source) setKind(screen bool) {
	switch video := s.track != nil && s.track.video(); {
	case video && screen:
		s.kind = event.TrackScreenShare
	case video:
		s.kind = event.TrackVideo
	case screen:
		s.kind = event.TrackScreenShareAudio
	default:
		s.kind = event.TrackAudio
	}
}

// correct takes what the event tells, which goes before the name.
func (s *source) correct(n named) {
	if s.track != nil && !strings.EqualFold(n.user, "asterisk") {
		s.user, s.role = n.user, ""
	} else {
		s.user, s.role = mixerID, RoleMixer
	}
	if strings.Contains(lower(n.source), "screen") {
		s.setKind(true)
	}
	if s.track == nil || s.track.info.First.IsZero() {
		s.begin = firstOf(n.at, s.begin)
	}
	s.join, s.leave = n.StartTime.Time, n.StopTime.Time
}

func firstOf(times ...time.Time) time.Time {
	for _, t := range times {
		if !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}

// place gives all sources their times: those that tell none begin with the
// first that does, or else end when they were last written.
func place(all []*source) error {
	var first, last time.Time
	for _, s := range all {
		if !s.begin.IsZero() && (first.IsZero() || s.begin.Before(first)) {
			first = s.begin
		}
	}
	for _, s := range all {
		if s.begin.IsZero() && (s.track == nil || first.IsZero()) {
			s.begin = first
		}
		if s.begin.IsZero() {
			st, err := os.Stat(s.path)
			if err != nil {
				return &Error{File: s.path, Err: err}
			}
			s.begin = st.ModTime().UTC().Add(-s.length)
		}
		s.begin = s.begin.Truncate(time.Millisecond)
		end := s.begin.Add(s.length + opusFrame)
		if s.join.IsZero() || s.join.After(s.begin) || s.begin.Sub(s.join) > skew {
			s.join = s.begin
		}
		if s.leave.Before(end) || s.leave.Sub(end) > skew {
			s.leave = end
		}
		if first.IsZero() || s.join.Before(first) {
			first = s.join
		}
		if s.leave.After(last) {
			last = s.leave
		}
	}
	if last.Sub(first) > maxArrival {
		return fmt.Errorf("the files are of %v to %v, which is no one call: %w", first, last, ErrUnsupported)
	}
	slices.SortStableFunc(all, func(a, b *source) int {
		return cmp.Or(a.begin.Compare(b.begin), cmp.Compare(a.path, b.path))
	})
	return nil
}

// roomOf is the room that all files tell, or "" if none does.
func roomOf(all []*source) (string, error) {
	var rooms []string
	for _, s := range all {
		if s.room != "" && !slices.Contains(rooms, s.room) {
			rooms = append(rooms, s.room)
		}
	}
	if len(rooms) > 1 {
		return "", fmt.Errorf("the files are of several rooms (%s): %w", strings.Join(rooms, ", "), errRooms)
	}
	return strings.Join(rooms, ""), nil
}

var errRooms = errors.New("import each by itself")
