package mjr

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ConferenceEvent is what a conference server tells when a recorded conference
// ended: who sent what when, in which files.
type ConferenceEvent struct {
	ConferenceID string        `json:"conferenceId"`
	Recording    RecordingInfo `json:"recordingInfo"`
}

// RecordingInfo is the part about the files.
type RecordingInfo struct {
	UUID      string `json:"uuid"`
	Completed bool   `json:"completed"`
	// Video is by user, then by source ("sfuvideo"), then by the millisecond in
	// which the segment began. A user who published twice has two segments.
	Video map[string]map[string]map[string]Segment `json:"video"`
	// Audio is the same: "asterisk", "sipcall" for the mix of all.
	Audio map[string]map[string]map[string]Segment `json:"audio"`
}

// Segment is one file.
type Segment struct {
	Filename  string    `json:"filename"`
	StartTime eventTime `json:"startTime"`
	StopTime  eventTime `json:"stopTime"`
}

// eventTime is a time as text (RFC 3339) or as milliseconds since 1970.
type eventTime struct{ time.Time }

// UnmarshalJSON takes text, a number, null and "".
func (t *eventTime) UnmarshalJSON(b []byte) error {
	if t.Time = (time.Time{}); bytes.Equal(b, []byte("null")) || bytes.Equal(b, []byte(`""`)) {
		return nil
	}
	if b[0] != '"' {
		var ms float64
		if err := json.Unmarshal(b, &ms); err != nil {
			return err
		}
		if ms > 0 && ms < 1e13 {
			t.Time = micro(int64(ms * 1000))
		}
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	if t.Time = epoch(s); !t.IsZero() {
		return nil
	}
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return fmt.Errorf("time %q: %w", s, err)
	}
	t.Time = micro(at.UnixMicro())
	return nil
}

// maxSegments bounds how many files an event may name.
const maxSegments = 10_000

// ParseEvent reads an event.
func ParseEvent(b []byte) (*ConferenceEvent, error) {
	var e ConferenceEvent
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, fmt.Errorf("read event: %w", err)
	}
	if n := len(e.segments()); n == 0 || n > maxSegments {
		return nil, fmt.Errorf("read event: it names %d files, not 1 to %d: %w", n, maxSegments, errEvent)
	}
	return &e, nil
}

var errEvent = errors.New("not an event of a recorded conference")

// named is a segment with what stands above it.
type named struct {
	Segment
	user, source string
	at           time.Time
	audio        bool
}

// segments are those of an event in the order of their beginning.
func (e *ConferenceEvent) segments() []named {
	var all []named
	walk := func(tree map[string]map[string]map[string]Segment, audio bool) {
		for user, sources := range tree {
			for source, times := range sources {
				for at, s := range times {
					n := named{Segment: s, user: user, source: source, at: epoch(at), audio: audio}
					if !s.StartTime.IsZero() {
						n.at = s.StartTime.Time
					}
					all = append(all, n)
				}
			}
		}
	}
	walk(e.Recording.Video, false)
	walk(e.Recording.Audio, true)
	slices.SortFunc(all, func(a, b named) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.user, b.user), cmp.Compare(a.Filename, b.Filename))
	})
	return all
}

// base is a segment's file without its folder, which was another machine's.
func (n named) base() string { return filepath.Base(strings.ReplaceAll(n.Filename, `\`, "/")) }

// byFile are the event's segments by their files' names.
func (e *ConferenceEvent) byFile() map[string]named {
	out := make(map[string]named)
	for _, n := range e.segments() {
		out[n.base()] = n
	}
	return out
}

// missing are the event's files that are not among names.
func (e *ConferenceEvent) missing(found map[string]bool) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(e.byFile())) {
		if !found[name] {
			out = append(out, name)
		}
	}
	return out
}
