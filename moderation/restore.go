package moderation

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/moderation/policy"
)

// liftEvery is how often the bans of a participant whose rules have fired are
// looked up, to learn of an unban. Such participants are few: they are gone,
// or flagged.
const liftEvery = 2 * time.Second

// remember makes sure that the engine knows what the database knows about a
// participant: all of it at first sight, and lifted bans after that.
func (s *Service) remember(ctx context.Context, who policy.Person, v event.Verdict) error {
	s.mu.Lock()
	known, fired := s.engine.Knows(who), s.engine.Fired(who)
	due := s.cfg.Now().Sub(s.lifted[who.UserID]) >= liftEvery
	s.mu.Unlock()
	switch {
	case !known:
		return s.restore(ctx, who, v.Frame)
	case fired && due:
		return s.checkLift(ctx, who.UserID)
	}
	return nil
}

// checkLift resets the participant if a ban was lifted.
func (s *Service) checkLift(ctx context.Context, userID string) error {
	ns, err := lastLift(ctx, s.cfg.DB, userID, s.cfg.Now())
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lifted[userID] = s.cfg.Now()
	if ns > 0 {
		s.engine.Reset(userID, moment(ns)) // does nothing the second time
	}
	return nil
}

// restore gives the engine a participant's recent verdicts and decisions, as
// far as they got into the database: verdicts are lossy, and a window that
// starts a little short costs a frame or two, while what was decided is whole.
//
// The verdicts of the user's earlier sessions count as well, in any call: who
// leaves before the window is full must not begin anew each time. What a ban
// was for has counted and is void. The frame that is about to be observed is
// left out, for it may have been cut off before its decision was written.
func (s *Service) restore(ctx context.Context, who policy.Person, next event.FrameReady) error {
	lift, err := lastLift(ctx, s.cfg.DB, who.UserID, s.cfg.Now())
	if err != nil {
		return err
	}
	ban, err := s.lastBan(ctx, who.UserID)
	if err != nil {
		return err
	}
	verdicts, err := s.pastVerdicts(ctx, who.UserID, next.FrameID)
	if err != nil {
		return err
	}
	counted, err := s.pastViolations(ctx, who.UserID, next.CID, moment(lift))
	if err != nil {
		return err
	}
	decided, err := s.pastDecisions(ctx, who, moment(lift))
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.engine.Knows(who) {
		s.engine.Restore(who, moment(max(lift, ban)), verdicts, decided, counted...)
	}
	return nil
}

// moment is a time of the database; 0 is none.
func moment(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

// lastBan is when the policy last decided to ban the user, in nanoseconds
// since 1970, or 0.
func (s *Service) lastBan(ctx context.Context, userID string) (ns int64, err error) {
	err = s.cfg.DB.NewSelect().Model((*db.DecisionRow)(nil)).ColumnExpr("COALESCE(MAX(at), 0)").
		Where("user_id = ?", userID).Where("action = ?", event.ActionBan).Scan(ctx, &ns)
	if err != nil {
		return 0, fmt.Errorf("read bans decided on %s: %w", userID, err)
	}
	return ns, nil
}

// pastFrames is how many frames are read where rules of the API look further
// back than a window of the policy file does.
const pastFrames = 512

// pastVerdicts reads the verdicts of a user's newest frames but one, oldest
// first, and those that were pushed. A frame's row may be missing, for it is
// written apart; then its verdict is left out.
func (s *Service) pastVerdicts(ctx context.Context, userID, but string) ([]event.Verdict, error) {
	s.mu.Lock()
	room := 2 * s.engine.Size()
	if len(s.policy.Calls) > 0 {
		room = max(room, pastFrames)
	}
	s.mu.Unlock()
	var frames []db.FrameRow
	err := s.cfg.DB.NewSelect().Model(&frames).Where("user_id = ?", userID).Where("id <> ?", but).
		Order("captured_at DESC").Limit(int64(room)).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read frames of %s: %w", userID, err)
	}
	rows, err := s.verdictsOn(ctx, frames)
	if err != nil {
		return nil, err
	}
	var out []event.Verdict
	for _, f := range frames {
		if r, ok := rows[f.ID]; ok {
			v, err := pastVerdict(r, f)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
	}
	pushed, err := s.pastPushes(ctx, userID, but, room)
	if err != nil {
		return nil, err
	}
	out = append(out, pushed...)
	slices.SortStableFunc(out, func(a, b event.Verdict) int { return a.Frame.CapturedAt.Compare(b.Frame.CapturedAt) })
	return out, nil
}

// verdictsOn are the verdicts on frames, by the frame's id.
func (s *Service) verdictsOn(ctx context.Context, frames []db.FrameRow) (map[string]db.VerdictRow, error) {
	out := map[string]db.VerdictRow{}
	for some := range slices.Chunk(frames, 256) {
		ids := make([]string, len(some))
		for i, f := range some {
			ids[i] = f.ID
		}
		var rows []db.VerdictRow
		if err := s.cfg.DB.NewSelect().Model(&rows).Where("frame_id IN (?)", bun.List(ids)).Scan(ctx); err != nil {
			return nil, fmt.Errorf("read past verdicts: %w", err)
		}
		for _, r := range rows {
			out[r.FrameID] = r
		}
	}
	return out, nil
}

// pastPushes reads the newest verdicts on a user that the backend pushed.
func (s *Service) pastPushes(ctx context.Context, userID, but string, n int) ([]event.Verdict, error) {
	var rows []db.VerdictRow
	err := s.cfg.DB.NewSelect().Model(&rows).Where("user_id = ?", userID).Where("source <> ''").Where("frame_id <> ?", but).
		Order("at DESC").Limit(int64(n)).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read verdicts pushed on %s: %w", userID, err)
	}
	var out []event.Verdict
	for _, r := range rows {
		v, err := pastVerdict(r, db.FrameRow{
			ID: r.FrameID, CID: r.CID, SessionID: r.SessionID, UserID: r.UserID, TrackID: OutsideTrack, CapturedAt: r.At,
		})
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// pastViolations reads what rules of the API have counted on a user since the
// last unban, oldest first.
func (s *Service) pastViolations(ctx context.Context, userID, cid string, since time.Time) ([]policy.Counted, error) {
	var rows []db.ViolationRow
	err := s.cfg.DB.NewSelect().Model(&rows).Where("user_id = ?", userID).Where("captured_at > ?", db.At(since)).
		Order("captured_at DESC").Limit(pastFrames).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read violations of %s: %w", userID, err)
	}
	var out []policy.Counted
	for _, r := range slices.Backward(rows) {
		c := policy.Counted{RuleID: r.RuleID, At: r.CapturedAt.Time}
		if r.CID == cid {
			c.Number = r.Number
		}
		out = append(out, c)
	}
	return out, nil
}

func pastVerdict(r db.VerdictRow, f db.FrameRow) (event.Verdict, error) {
	callType, _, _ := strings.Cut(f.CID, ":")
	v := event.Verdict{
		VerdictID: r.ID, State: event.VerdictState(r.State), Reason: r.Reason, Reused: bool(r.Reused), Source: r.Source, At: r.At.Time,
		Frame: event.FrameReady{
			FrameID: f.ID, CID: f.CID, CallType: callType, SessionID: f.SessionID, EgressID: f.EgressID, UserID: f.UserID, TrackID: f.TrackID,
			TrackType: event.TrackType(f.TrackType), Codec: event.Codec(f.Codec), CapturedAt: f.CapturedAt.Time, ObjectKey: f.ObjectKey,
			SHA256: f.SHA256, PHash: f.PHash, Width: f.Width, Height: f.Height, Bytes: f.Bytes,
		},
	}
	if err := json.Unmarshal(r.Scores.V, &v.Scores); err != nil {
		return v, fmt.Errorf("read scores of verdict %s: %w", r.ID, err)
	}
	if err := json.Unmarshal(r.Models.V, &v.Models); err != nil {
		return v, fmt.Errorf("read models of verdict %s: %w", r.ID, err)
	}
	return v, nil
}

// pastDecisions reads what was decided about a participant since the last
// unban.
func (s *Service) pastDecisions(ctx context.Context, who policy.Person, since time.Time) ([]policy.Decided, error) {
	var rows []db.DecisionRow
	err := s.cfg.DB.NewSelect().Model(&rows).Where("user_id = ?", who.UserID).Where("session_id = ?", who.SessionID).
		Where("at > ?", db.At(since)).Order("at").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read decisions on %s: %w", who.UserID, err)
	}
	out := make([]policy.Decided, 0, len(rows))
	for _, r := range rows {
		var ev policy.Evidence
		if err := json.Unmarshal(r.Evidence.V, &ev); err != nil {
			return nil, fmt.Errorf("read evidence of %s: %w", r.ID, err)
		}
		d := policy.Decided{Rule: r.Rule, Action: event.ActionKind(r.Action), Braked: ev.Braked}
		if ev.Violation > 0 { // a rule of the API: it may fire again
			d.Rule, d.Braked = "", false
		}
		out = append(out, d)
	}
	return out, nil
}

// braked are the actions that the flood brake counts.
var braked = []event.ActionKind{event.ActionBan, event.ActionKick, event.ActionEndCall}

// restoreBrake tells the brake of who was put out in the last minutes.
func (s *Service) restoreBrake(ctx context.Context) error {
	var at []int64 // nanoseconds since 1970
	err := s.cfg.DB.NewSelect().Model((*db.DecisionRow)(nil)).Column("at").Where("action IN (?)", bun.List(braked)).
		Where("at > ?", db.At(s.cfg.Now().Add(-5*time.Minute))).Order("at").Scan(ctx, &at)
	if err != nil {
		return fmt.Errorf("read recent bans: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ns := range at {
		s.engine.RestoreBans(time.Unix(0, ns).UTC())
	}
	return nil
}
