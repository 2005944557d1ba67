package moderation

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/moderation/policy"
)

// violationID follows from the rule, who, where, the number and since which
// unban: there is one of each, however many processes and restarts took part.
func violationID(d policy.Decision, since int64) string {
	v := d.Violation
	return event.DeriveID("violation", v.Rule.ID, d.CID, d.UserID, strconv.Itoa(v.Number), strconv.FormatInt(since, 10))
}

// countViolation writes a violation down and tells the backends, unless that
// was done.
func (s *Service) countViolation(ctx context.Context, tx bun.Tx, d policy.Decision, since int64) error {
	v, now := d.Violation, s.cfg.Now().UTC()
	row := db.ViolationRow{
		ID: violationID(d, since), RuleID: v.Rule.ID, RuleName: v.Rule.Name, CID: d.CID, SessionID: d.SessionID, UserID: d.UserID,
		Number: v.Number, PolicyVersion: d.Evidence.PolicyVersion, FrameID: d.Frame.FrameID,
		Actions: db.JSON[[]string]{V: v.Actions}, CapturedAt: db.At(v.CapturedAt), At: db.At(now),
	}
	res, err := tx.NewInsert().Model(&row).On("CONFLICT DO NOTHING").Returning("NULL").Exec(ctx)
	if err != nil {
		return fmt.Errorf("count violation: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err
	}
	if err := insertVerdicts(ctx, tx, d.Verdicts); err != nil {
		return err
	}
	item, err := openItem(ctx, tx, d.CID, d.UserID)
	if err != nil {
		return err
	}
	ev := event.New(event.RuleTriggered, d.CID+"/"+d.UserID, now, event.RuleTrigger{
		Type: event.RuleTriggered, CreatedAt: now, ViolationNumber: v.Number,
		Rule:     event.TriggeredRule{ID: v.Rule.ID, Name: v.Rule.Name, Type: v.Rule.RuleType, Description: v.Rule.Description},
		EntityID: d.CID, EntityType: event.EntityCall, UserID: d.UserID, TriggeredActions: v.Actions, ReviewQueueItemID: item,
	})
	ev.ID = event.DeriveID("public", event.RuleTriggered, row.ID)
	if err := db.Enqueue(ctx, tx, event.TopicPublic, ev); err != nil {
		return err
	}
	return audit(ctx, tx, db.At(now), "rule.triggered", "user:"+d.UserID, map[string]any{
		"violation_id": row.ID, "rule_id": row.RuleID, "rule": row.RuleName, "number": row.Number, "cid": d.CID,
		"actions": v.Actions, "policy_version": row.PolicyVersion, "frame_id": row.FrameID,
	})
}

// openItem is the id of the participant's open review item, or "".
func openItem(ctx context.Context, tx bun.IDB, cid, userID string) (string, error) {
	var ids []string
	err := tx.NewSelect().Model((*db.ReviewItemRow)(nil)).Column("id").Where("entity_type = ?", event.EntityCall).
		Where("entity_id = ?", cid).Where("entity_creator_id = ?", userID).Where("status = ?", event.ReviewPending).
		Order("created_at").Limit(1).Scan(ctx, &ids)
	if err != nil {
		return "", fmt.Errorf("find the review item: %w", err)
	}
	if len(ids) == 0 {
		return "", nil
	}
	return ids[0], nil
}

// audit writes one line of the audit, with the program as the actor.
func audit(ctx context.Context, tx bun.IDB, at db.Time, verb, object string, detail map[string]any) error {
	text, err := json.Marshal(detail)
	if err != nil {
		return fmt.Errorf("audit %s: %w", verb, err)
	}
	row := db.AuditRow{ID: event.NewID(), At: at, Actor: System, Verb: verb, Object: object, Detail: db.JSON[json.RawMessage]{V: text}}
	if _, err := tx.NewInsert().Model(&row).Exec(ctx); err != nil {
		return fmt.Errorf("audit %s: %w", verb, err)
	}
	return nil
}
