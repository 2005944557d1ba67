package moderation

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

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
		return s.restore(ctx, who, v.Frame.FrameID)
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
func (s *Service) restore(ctx context.Context, who policy.Person, next string) error {
	lift, err := lastLift(ctx, s.cfg.DB, who.UserID, s.cfg.Now())
	if err != nil {
		return err
	}
	ban, err := s.lastBan(ctx, who.UserID)
	if err != nil {
		return err
	}
	verdicts, err := s.pastVerdicts(ctx, who.UserID, next)
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
		s.engine.Restore(who, moment(max(lift, ban)), verdicts, decided)
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

// pastVerdicts reads the verdicts of a user's newest frames but one, oldest
// first. A frame's row may be missing, for it is written apart; then its
// verdict is left out.
func (s *Service) pastVerdicts(ctx context.Context, userID, but string) ([]event.Verdict, error) {
	var frames []db.FrameRow
	err := s.cfg.DB.NewSelect().Model(&frames).Where("user_id = ?", userID).Where("id <> ?", but).
		Order("captured_at DESC").Limit(int64(2 * s.engine.Size())).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read frames of %s: %w", userID, err)
	}
	var out []event.Verdict
	for _, f := range slices.Backward(frames) {
		var r db.VerdictRow
		err := s.cfg.DB.NewSelect().Model(&r).Where("frame_id = ?", f.ID).Limit(1).Scan(ctx)
		if db.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read verdict on frame %s: %w", f.ID, err)
		}
		v, err := pastVerdict(r, f)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func pastVerdict(r db.VerdictRow, f db.FrameRow) (event.Verdict, error) {
	v := event.Verdict{
		VerdictID: r.ID, State: event.VerdictState(r.State), Reason: r.Reason, Reused: bool(r.Reused), At: r.At.Time,
		Frame: event.FrameReady{
			FrameID: f.ID, CID: f.CID, SessionID: f.SessionID, EgressID: f.EgressID, UserID: f.UserID, TrackID: f.TrackID,
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
		out = append(out, policy.Decided{Rule: r.Rule, Action: event.ActionKind(r.Action), Braked: ev.Braked})
	}
	return out, nil
}

// restoreBrake tells the brake of the automatic bans of the last minutes.
func (s *Service) restoreBrake(ctx context.Context) error {
	var at []int64 // nanoseconds since 1970
	err := s.cfg.DB.NewSelect().Model((*db.DecisionRow)(nil)).Column("at").Where("action = ?", event.ActionBan).
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
