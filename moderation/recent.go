package moderation

import (
	"strings"
	"sync"
	"time"

	"stillwatch/internal/event"
)

// recent remembers the last verdict of each track, so that an unchanged
// picture need not be looked at again.
type recent struct {
	limit int
	// suspect verdicts are never taken over.
	suspect func(event.Verdict) bool

	mu   sync.Mutex
	last map[string]lastVerdict
}

type lastVerdict struct {
	event.Verdict
	// reused is how many times in a row it was taken.
	reused int
}

func newRecent(limit int, suspect func(event.Verdict) bool) *recent {
	return &recent{limit: limit, suspect: suspect, last: map[string]lastVerdict{}}
}

func trackKey(f event.FrameReady) string { return f.SessionID + "\x00" + f.UserID + "\x00" + f.TrackID }

// verdict returns the verdict of the track's last picture if f shows the
// same and that verdict was harmless. A flat picture has a hash that says nothing and is always looked at,
// and so is every picture in the end: a hash can be made to collide.
func (r *recent) verdict(f event.FrameReady) (event.Verdict, bool) {
	if r.limit <= 0 || strings.Trim(f.PHash, "0") == "" || strings.Trim(f.PHash, "f") == "" {
		return event.Verdict{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	l, ok := r.last[trackKey(f)]
	if !ok || l.State != event.VerdictKnown || l.Frame.PHash != f.PHash || l.Frame.FrameID == f.FrameID || l.reused >= r.limit || r.suspect(l.Verdict) {
		return event.Verdict{}, false
	}
	return l.Verdict, true
}

// note keeps the verdict as its track's last one.
func (r *recent) note(v event.Verdict) {
	if r.limit <= 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	k, n := trackKey(v.Frame), 0
	if v.Reused {
		n = r.last[k].reused + 1
	}
	r.last[k] = lastVerdict{v, n}
}

// forget drops the tracks whose last frame is older than before.
func (r *recent) forget(before time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, l := range r.last {
		if l.At.Before(before) {
			delete(r.last, k)
		}
	}
}
