package moderation

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"stillwatch/internal/bus"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// verdict looks at a frame, or takes the verdict of the same picture before.
// It fails only when ctx ends; what cannot be judged is unknown.
func (s *Service) verdict(ctx context.Context, f event.FrameReady) (event.Verdict, error) {
	v, reused := s.recent.verdict(f)
	if !reused {
		var err error
		if v, err = s.cfg.Looker.Look(ctx, f); ctx.Err() != nil {
			return event.Verdict{}, fmt.Errorf("look at frame %s: %w", f.FrameID, context.Cause(ctx))
		} else if err != nil {
			v = event.Verdict{State: event.VerdictUnknown, Reason: err.Error(), Models: v.Models}
		}
		v = s.seeing(f, sane(v))
	} else {
		s.count.reused.Add(1)
	}
	// One frame, one verdict: a frame that comes again gives the same id.
	v.VerdictID = event.DeriveID("verdict", f.FrameID)
	v.Frame, v.Reused, v.At = f, reused, s.cfg.Now().UTC()
	s.recent.note(v)
	return v, nil
}

// seeing makes a verdict unknown that says nothing about what a rule of the
// policy asks for.
func (s *Service) seeing(f event.FrameReady, v event.Verdict) event.Verdict {
	if v.State != event.VerdictKnown {
		return v
	}
	if rule := s.current().Blind(f.CallType, v.Scores); rule != "" {
		v.State, v.Reason, v.Scores = event.VerdictUnknown, "no label of the rule "+rule+" is among the scores", []event.Score{}
	}
	return v
}

// sane makes a verdict unknown that is not whole: no scores, or a number that
// is no probability. Nothing of the kind may pass for clean.
func sane(v event.Verdict) event.Verdict {
	bad := func(list []event.Score) bool {
		return slices.ContainsFunc(list, func(s event.Score) bool { return math.IsNaN(s.Score) || s.Score < 0 || s.Score > 1 })
	}
	// JSON has no NaN: a model's scores that hold one are left out.
	v.Models = slices.DeleteFunc(slices.Clone(v.Models), func(m event.ModelScores) bool { return bad(m.Scores) || math.IsNaN(m.MS) || math.IsInf(m.MS, 0) })
	if v.Models == nil {
		v.Models = []event.ModelScores{}
	}
	switch {
	case v.State != event.VerdictKnown:
		if v.State = event.VerdictUnknown; v.Reason == "" {
			v.Reason = "no verdict"
		}
	case len(v.Scores) == 0:
		v.State, v.Reason = event.VerdictUnknown, "no scores"
	case bad(v.Scores):
		v.State, v.Reason = event.VerdictUnknown, "a score is not a probability"
	}
	if v.State == event.VerdictUnknown {
		v.Scores = []event.Score{}
	}
	return v
}

// unknown raises the alarm for a frame that was not judged, and notes the gap.
func (s *Service) unknown(ctx context.Context, key string, v event.Verdict) {
	if n := s.count.unknown.Add(1); n&(n-1) == 0 { // the 1st, 2nd, 4th, 8th …
		s.log.Error("frame not judged", "frame", v.Frame.FrameID, "cid", v.Frame.CID, "user", v.Frame.UserID, "reason", v.Reason, "unknown_so_far", n)
	}
	gap := s.gap(v.Frame, event.GapClassifier, v.Reason)
	ev := event.New(event.TypeFrameGap, key, v.At, gap)
	ev.ID = gapID(v.Frame, event.GapClassifier)
	if err := s.cfg.Bus.Publish(ctx, event.TopicFrames, ev); err != nil {
		s.log.Debug("gap not published", "frame", v.Frame.FrameID, "err", err)
	}
}

// skipped notes a frame that nobody looked at because there was no time.
func (s *Service) skipped(ev event.Envelope, why bus.SkipReason) {
	var f event.FrameReady
	if ev.Type != event.TypeFrameReady || ev.Decode(&f) != nil {
		return
	}
	s.count.skipped.Add(1)
	s.gap(f, event.GapOverload, string(why))
}

// gap puts a frame that was not judged into the coverage ledger.
func (s *Service) gap(f event.FrameReady, why event.GapReason, detail string) event.FrameGap {
	g := event.FrameGap{
		CID: f.CID, SessionID: f.SessionID, UserID: f.UserID, TrackID: f.TrackID, TrackType: f.TrackType,
		Reason: why, Detail: detail, From: f.CapturedAt, To: f.CapturedAt, Due: 1,
	}
	s.gaps.Put(db.GapRow{
		ID: gapID(f, why), CID: g.CID, SessionID: g.SessionID, UserID: g.UserID, TrackID: g.TrackID, TrackType: string(g.TrackType),
		Reason: string(why), Detail: detail, FromAt: db.At(g.From), ToAt: db.At(g.To), Due: 1,
	})
	return g
}

func gapID(f event.FrameReady, why event.GapReason) string {
	return event.DeriveID("gap", string(why), f.FrameID)
}

func verdictRow(v event.Verdict) (db.VerdictRow, error) {
	scores, err := json.Marshal(v.Scores)
	if err != nil {
		return db.VerdictRow{}, err
	}
	models, err := json.Marshal(v.Models)
	if err != nil {
		return db.VerdictRow{}, err
	}
	return db.VerdictRow{
		ID: v.VerdictID, FrameID: v.Frame.FrameID, CID: v.Frame.CID, UserID: v.Frame.UserID, State: string(v.State), Reason: v.Reason,
		Scores: db.JSON[json.RawMessage]{V: scores}, Models: db.JSON[json.RawMessage]{V: models},
		Reused: db.Bool(v.Reused), At: db.At(v.At), Source: v.Source, SessionID: sessionOf(v),
	}, nil
}

// sessionOf is the session of a verdict that has no frame's row to tell it.
func sessionOf(v event.Verdict) string {
	if v.Source == "" {
		return ""
	}
	return v.Frame.SessionID
}
