package moderation

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/moderation/policy"
)

// write puts a decision into the database with all that belongs to it, in one
// transaction: the verdicts it stands on, the action it asks for, the event
// for the executors, and the audit. The decision's id follows from who, which
// rule and which action, and since which unban: there is one of each, however
// many processes and restarts took part.
func (s *Service) write(ctx context.Context, d policy.Decision) error {
	var fresh bool
	err := s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		since, err := lastLift(ctx, tx, d.UserID, s.cfg.Now())
		if err != nil {
			return err
		}
		if d.Violation != nil {
			if err := s.countViolation(ctx, tx, d, since); err != nil || d.Action == "" {
				return err
			}
		}
		id := decisionID(d, since)
		if fresh, err = insertDecision(ctx, tx, id, d); err != nil || !fresh {
			return err
		}
		if err := insertVerdicts(ctx, tx, d.Verdicts); err != nil {
			return err
		}
		return s.requestAction(ctx, tx, id, d)
	})
	if err != nil {
		return err
	}
	if fresh {
		s.count.decisions.Add(1)
		s.log.Warn("decided", "action", d.Action, "rule", d.Rule, "user", d.UserID, "cid", d.CID, "score", d.Score,
			"frame", d.Frame.FrameID, "braked", d.Evidence.Braked, "captured_to_decided", s.cfg.Now().Sub(d.Frame.CapturedAt).String())
	}
	return nil
}

func decisionID(d policy.Decision, since int64) string {
	lift := strconv.FormatInt(since, 10)
	if v := d.Violation; v != nil {
		return event.DeriveID("decision", violationID(d, since), string(d.Action), string(d.Evidence.Wanted))
	}
	return event.DeriveID("decision", d.SessionID, d.UserID, d.Rule, string(d.Action), lift)
}

func insertDecision(ctx context.Context, tx bun.Tx, id string, d policy.Decision) (fresh bool, err error) {
	evidence, err := json.Marshal(d.Evidence)
	if err != nil {
		return false, fmt.Errorf("marshal evidence: %w", err)
	}
	row := db.DecisionRow{
		ID: id, CID: d.CID, SessionID: d.SessionID, UserID: d.UserID, Rule: d.Rule, PolicyVersion: d.Evidence.PolicyVersion,
		Action: string(d.Action), Labels: db.JSON[[]string]{V: d.Labels}, Score: d.Score,
		Evidence: db.JSON[json.RawMessage]{V: evidence}, At: db.At(d.At),
	}
	res, err := tx.NewInsert().Model(&row).On("CONFLICT DO NOTHING").Returning("NULL").Exec(ctx)
	if err != nil {
		return false, fmt.Errorf("insert decision: %w", err)
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

func insertVerdicts(ctx context.Context, tx bun.Tx, verdicts []event.Verdict) error {
	rows := make([]db.VerdictRow, 0, len(verdicts))
	for _, v := range verdicts {
		row, err := verdictRow(v)
		if err != nil {
			return fmt.Errorf("marshal verdict: %w", err)
		}
		rows = append(rows, row)
	}
	if _, err := tx.NewInsert().Model(&rows).On("CONFLICT DO NOTHING").Returning("NULL").Exec(ctx); err != nil {
		return fmt.Errorf("insert evidence: %w", err)
	}
	return nil
}

// requestAction records the action and enqueues it for the executors.
func (s *Service) requestAction(ctx context.Context, tx bun.Tx, decisionID string, d policy.Decision) error {
	req := event.ActionRequested{
		ActionID: event.DeriveID("action", decisionID), DecisionID: decisionID, Kind: d.Action,
		CID: d.CID, SessionID: d.SessionID, UserID: d.UserID, ByUserID: System, Reason: d.Reason,
		Labels: d.Labels, Score: d.Score, FrameID: d.Frame.FrameID, ObjectKey: d.Frame.ObjectKey, CapturedAt: d.Frame.CapturedAt,
		ExpiresAt: d.ExpiresAt, Message: d.Message, Tracks: d.Tracks,
	}
	if d.Evidence.Braked {
		req.Recommend = cmp.Or(d.Evidence.Wanted, event.ActionBan)
	}
	payload, err := json.Marshal(req)
	if err != nil {
		return fmt.Errorf("marshal action: %w", err)
	}
	now := s.cfg.Now().UTC()
	row := db.ActionRow{
		ID: req.ActionID, DecisionID: decisionID, Kind: string(req.Kind), CID: req.CID, SessionID: req.SessionID, UserID: req.UserID,
		ByUserID: req.ByUserID, Reason: req.Reason, Payload: db.JSON[json.RawMessage]{V: payload},
		State: db.ActionStateRequested, RequestedAt: db.At(now),
	}
	if _, err := tx.NewInsert().Model(&row).Exec(ctx); err != nil {
		return fmt.Errorf("insert action: %w", err)
	}
	ev := event.New(event.TypeActionRequested, d.CID+"/"+d.UserID, now, req)
	ev.ID = event.DeriveID("requested", req.ActionID)
	if err := db.Enqueue(ctx, tx, event.TopicActions, ev); err != nil {
		return err
	}
	return audit(ctx, tx, db.At(now), "decide."+string(d.Action), "user:"+d.UserID, map[string]any{
		"decision_id": decisionID, "action_id": req.ActionID, "rule": d.Rule, "policy_version": d.Evidence.PolicyVersion,
		"score": d.Score, "frame_id": d.Frame.FrameID, "cid": d.CID, "braked": d.Evidence.Braked,
	})
}

// lastLift is when a ban of the user was last lifted or ran out, in
// nanoseconds since 1970, or 0: what came before it counts no more, and who is
// back may be decided on anew.
func lastLift(ctx context.Context, q bun.IDB, userID string, now time.Time) (ns int64, err error) {
	err = q.NewSelect().Model((*db.BanRow)(nil)).
		ColumnExpr("COALESCE(MAX(CASE WHEN lifted_at > 0 THEN lifted_at WHEN expires_at <= ? THEN expires_at ELSE 0 END), 0)", db.At(now)).
		Where("user_id = ?", userID).Scan(ctx, &ns)
	if err != nil {
		return 0, fmt.Errorf("read lifted bans of %s: %w", userID, err)
	}
	return ns, nil
}
