package call

import (
	"slices"
	"time"

	"stillwatch/internal/event"
)

// person is a user in a call, whether they are there or not.
type person struct{ cid, userID string }

// Mute drops a user's live tracks of the given types at once, for as long as
// they live: the user may come back with a new track. With until set, tracks
// to come are dropped as well, in this session or a later one, and all flow
// again from then on. It returns how many live tracks it concerned; of what
// arrives afterwards nothing is forwarded.
func (r *Registry) Mute(cid, userID string, types []event.TrackType, until time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.cfg.Now()
	if !until.IsZero() {
		if !until.After(now) {
			return 0 // the order was late: its time is over
		}
		r.holdLocked(person{cid, userID}, types, until)
	}
	n := 0
	for _, t := range r.tracksLocked(cid, userID) {
		if slices.Contains(types, t.info.Type) {
			t.silence(later(t.silentUntil, until, t.silenced.Load()))
			r.tellMutedLocked(t, now)
			n++
		}
	}
	return n
}

// later merges a mute with one that is in force already; zero is for good.
func later(old, until time.Time, silenced bool) time.Time {
	if !silenced || !old.IsZero() && (until.IsZero() || until.After(old)) {
		return until
	}
	return old
}

func (r *Registry) holdLocked(p person, types []event.TrackType, until time.Time) {
	held := r.holds[p]
	if held == nil {
		held = make(map[event.TrackType]time.Time)
		r.holds[p] = held
	}
	for _, t := range types {
		if until.After(held[t]) {
			held[t] = until
		}
	}
}

// admitLocked mutes a new track for whose kind a mute holds.
func (r *Registry) admitLocked(t *Track, now time.Time) {
	until := r.holds[person{t.info.CID, t.info.UserID}][t.info.Type]
	if until.After(now) {
		t.silence(until)
	}
}

// liftLocked ends the mutes whose time is over.
func (r *Registry) liftLocked(now time.Time) {
	for seat := range r.seats {
		for _, t := range seat.tracks {
			if t.silenced.Load() && !t.silentUntil.IsZero() && !t.silentUntil.After(now) {
				t.unsilence()
			}
		}
	}
	for p, held := range r.holds {
		for typ, until := range held {
			if !until.After(now) {
				delete(held, typ)
			}
		}
		if len(held) == 0 {
			delete(r.holds, p)
		}
	}
}

func (r *Registry) tellMutedLocked(t *Track, now time.Time) {
	if muted, changed := t.mutedAt(now, r.cfg.MuteAfter); changed {
		r.tellTrackLocked(t, func(o TrackObserver) { o.TrackMuted(t.info.ID, muted) })
	}
}

// silence drops the track's packets until the given moment; zero is for good.
// Registry.mu is held.
func (t *Track) silence(until time.Time) {
	t.silentUntil = until
	t.silenced.Store(true)
	t.updateLayers()
}

func (t *Track) unsilence() {
	t.silentUntil = time.Time{}
	t.silenced.Store(false)
	t.updateLayers()
}

// updateLayers opens or closes the sources.
func (t *Track) updateLayers() {
	t.mu.Lock()
	layers := slices.Clone(t.layers)
	t.mu.Unlock()
	for _, l := range layers {
		l.update()
	}
}
