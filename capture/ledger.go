package capture

import (
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// saveEvery is how often a gap that stays open is written again.
const saveEvery = 10 * time.Second

// openGap is an entry of the coverage ledger that may still grow: due frames
// of one track in a row that were missed for the same reason.
type openGap struct {
	id    string
	gap   event.FrameGap
	saved time.Time
}

// gapLocked enters a due frame that was missed into the ledger.
func (s *Sampler) gapLocked(t *sampled, rec *recording, reason event.GapReason, detail string, due time.Time) {
	now := s.cfg.Now()
	t.counts.Gaps++
	s.counts.gap(reason)
	if g := t.gap; g != nil && g.gap.Reason == reason {
		g.gap.Due++
		g.gap.Detail = detail
		g.gap.From = earlier(g.gap.From, due)
		g.gap.To = later(g.gap.To, due)
		if now.Sub(g.saved) >= saveEvery {
			s.saveGapLocked(g, now)
		}
	} else {
		s.closeGapLocked(t)
		t.gap = &openGap{id: event.NewID(), gap: event.FrameGap{
			CID: t.info.CID, SessionID: t.info.SessionID, UserID: t.info.UserID, TrackID: t.info.ID,
			TrackType: t.info.Type, Reason: reason, Detail: detail, From: due.UTC(), To: due.UTC(), Due: 1,
		}}
		s.saveGapLocked(t.gap, now)
		s.notices.gap(t.gap, now)
	}
	s.failLocked(rec, reason, due, now)
}

// closeGapLocked ends the open entry, if there is one.
func (s *Sampler) closeGapLocked(t *sampled) {
	if t.gap == nil {
		return
	}
	now := s.cfg.Now()
	s.saveGapLocked(t.gap, now)
	if t.gap.gap.Due > 1 { // else it was told when it opened
		s.notices.gap(t.gap, now)
	}
	t.gap = nil
}

func (s *Sampler) saveGapLocked(g *openGap, now time.Time) {
	g.saved = now
	ok := s.cfg.Rows.PutGap(db.GapRow{
		ID: g.id, CID: g.gap.CID, SessionID: g.gap.SessionID, UserID: g.gap.UserID, TrackID: g.gap.TrackID,
		TrackType: string(g.gap.TrackType), Reason: string(g.gap.Reason), Detail: g.gap.Detail,
		FromAt: db.At(g.gap.From), ToAt: db.At(g.gap.To), Due: g.gap.Due,
	})
	if !ok {
		s.counts.rowsLost++
	}
}

// failLocked tells once when every frame of a call has failed for more than
// three intervals.
func (s *Sampler) failLocked(rec *recording, reason event.GapReason, due, now time.Time) {
	switch reason {
	case event.GapMuted, event.GapBlack, event.GapFrozen:
		return
	}
	if rec.failures++; rec.failures == 1 {
		rec.failing = due
	}
	if !rec.told && rec.failures > 3 && now.Sub(rec.failing) > 3*rec.settings.interval() {
		rec.told = true
		s.tellLocked(rec, RecordingFailed, reason)
	}
}

func (s *Sampler) tellLocked(rec *recording, kind RecordingKind, reason event.GapReason) {
	s.notices.recording(RecordingEvent{Kind: kind, CID: rec.cid, EgressID: rec.egressID, Reason: reason, At: s.cfg.Now().UTC()})
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b.UTC()
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b.UTC()
	}
	return a
}
