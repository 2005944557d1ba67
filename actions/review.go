package actions

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// Decision is what a person decided on a review item, an appeal, or both.
type Decision struct {
	// ItemID may be empty where AppealID names one.
	ItemID, AppealID string
	// Type is one of the Decide constants.
	Type             string
	ByUserID, Reason string
	// TargetUserID and CID are the item's creator and call where empty.
	TargetUserID, CID string
	// Custom is kept with the decision, and told with a custom action.
	Custom map[string]any
	// CustomID names a custom action.
	CustomID string
	// Escalation belongs to DecideEscalate.
	Escalation *event.Escalation
}

// Outcome is how things stand after a decision. Item is nil for an appeal
// that belongs to none, Appeal where none was decided.
type Outcome struct {
	Item   *event.ReviewItem
	Appeal *event.Appeal
	// Again is set when the decision is the one of a moment ago: nothing was
	// done.
	Again bool
}

// LockedError says that somebody else holds the item.
type LockedError struct {
	By    string
	Until time.Time
}

// Error implements error.
func (e *LockedError) Error() string {
	return fmt.Sprintf("the item is locked by %s until %s", e.By, e.Until.UTC().Format(time.RFC3339))
}

// DecidedError says that an appeal has been decided already.
type DecidedError struct{ Status string }

// Error implements error.
func (e *DecidedError) Error() string { return "the appeal is " + e.Status + " already" }

// Decide writes a decision down with what it does, in one transaction: check
// may refuse it in view of the item, and effect carries it out by the same
// doors as without an item; either may be nil. Target and call are filled in.
// The same decision of the same person within a minute does nothing.
func (d *Desk) Decide(ctx context.Context, r Decision, check func(event.ReviewItem) error, effect func(context.Context, bun.Tx, Decision) error) (out Outcome, err error) {
	err = d.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		c := decide{Desk: d, tx: tx, now: d.cfg.Now().UTC(), r: r}
		if err := c.load(ctx); err != nil {
			return err
		}
		again, err := c.repeated(ctx)
		if err != nil {
			return err
		}
		if out.Again = again; !again {
			if err := c.carryOut(ctx, check, effect); err != nil {
				return err
			}
		}
		out.Item, out.Appeal, err = c.after(ctx)
		return err
	})
	return out, err
}

// decide is one decision within a transaction.
type decide struct {
	*Desk
	tx     bun.Tx
	now    time.Time
	r      Decision
	item   *db.ReviewItemRow
	appeal *db.AppealRow
	action db.ReviewActionRow
}

// load reads and holds what is decided on: the appeal, bans that wait, the
// item, in this order, which is the executors' as well.
func (c *decide) load(ctx context.Context) error {
	if c.r.AppealID != "" {
		var row db.AppealRow
		if err := c.hold(ctx, (*db.AppealRow)(nil), c.r.AppealID, &row); err != nil {
			return fmt.Errorf("read appeal %s: %w", c.r.AppealID, err)
		}
		c.appeal = &row
		if c.r.ItemID == "" {
			c.r.ItemID = row.ItemID
		}
		c.fill(row.UserID, row.EntityType, row.EntityID)
	}
	if c.r.ItemID == "" {
		return nil
	}
	var row db.ReviewItemRow
	if err := c.tx.NewSelect().Model(&row).Column("entity_creator_id", "entity_type", "entity_id").Where("id = ?", c.r.ItemID).Scan(ctx); err != nil {
		return fmt.Errorf("read review item %s: %w", c.r.ItemID, err)
	}
	c.fill(row.EntityCreatorID, row.EntityType, row.EntityID)
	if c.r.Type == DecideUnban || c.r.Type == DecideRestore {
		_, err := c.tx.NewUpdate().Model((*db.ActionRow)(nil)).Set("attempts = attempts").Where("kind = ?", string(event.ActionBan)).
			Where("user_id = ?", c.r.TargetUserID).Where("state = ?", db.ActionStateRequested).Exec(ctx)
		if err != nil {
			return fmt.Errorf("hold bans of %s: %w", c.r.TargetUserID, err)
		}
	}
	var item db.ReviewItemRow
	if err := c.hold(ctx, (*db.ReviewItemRow)(nil), c.r.ItemID, &item); err != nil {
		return fmt.Errorf("read review item %s: %w", c.r.ItemID, err)
	}
	c.item = &item
	return nil
}

// hold locks a row by writing it, and reads it.
func (c *decide) hold(ctx context.Context, model any, id string, row any) error {
	if _, err := c.tx.NewUpdate().Model(model).Set("status = status").Where("id = ?", id).Exec(ctx); err != nil {
		return err
	}
	return c.tx.NewSelect().Model(row).Where("id = ?", id).Scan(ctx)
}

func (c *decide) fill(userID, entityType, entityID string) {
	if c.r.TargetUserID == "" {
		c.r.TargetUserID = userID
	}
	if c.r.CID == "" && entityType == event.EntityCall {
		c.r.CID = entityID
	}
}

// repeated tells whether the newest decision is this one.
func (c *decide) repeated(ctx context.Context) (bool, error) {
	c.action = db.ReviewActionRow{
		ID: event.NewID(), ItemID: c.r.ItemID, AppealID: c.r.AppealID, Type: c.r.Type, UserID: c.r.ByUserID,
		TargetUserID: c.r.TargetUserID, CID: c.r.CID, Reason: c.r.Reason, At: db.At(c.now),
	}
	if c.item != nil {
		c.action.SessionID = c.item.SessionID
	}
	c.action.Custom.V = c.custom()
	var rows []db.ReviewActionRow
	q := c.tx.NewSelect().Model(&rows).Order("at DESC", "id DESC").Limit(1)
	if c.r.ItemID != "" {
		q = q.Where("item_id = ?", c.r.ItemID)
	} else {
		q = q.Where("appeal_id = ?", c.r.AppealID)
	}
	if err := q.Scan(ctx); err != nil {
		return false, fmt.Errorf("read the latest decision: %w", err)
	}
	if len(rows) == 0 {
		return false, nil
	}
	last, this := rows[0], c.action
	if !last.At.Before(c.now) { // of one instant, or by a clock set back: the order stays
		c.action.At = db.At(last.At.Add(1))
	}
	if c.now.Sub(last.At.Time) > repeatWithin {
		return false, nil
	}
	same, err := sameJSON(last.Custom.V, this.Custom.V)
	last.ID, last.At, last.Custom = this.ID, this.At, this.Custom
	return same && reflect.DeepEqual(last, this), err
}

// custom is what is kept with the decision.
func (c *decide) custom() map[string]any {
	out := map[string]any{}
	switch {
	case c.r.Type == DecideCustom:
		out["id"], out["options"] = c.r.CustomID, c.r.Custom
	case c.r.Escalation != nil:
		out["notes"], out["priority"] = c.r.Escalation.Notes, c.r.Escalation.Priority
	default:
		return c.r.Custom
	}
	return out
}

func sameJSON(a, b map[string]any) (bool, error) {
	if len(a) == 0 && len(b) == 0 {
		return true, nil
	}
	left, err := json.Marshal(a)
	if err != nil {
		return false, err
	}
	right, err := json.Marshal(b)
	return string(left) == string(right), err
}

func (c *decide) carryOut(ctx context.Context, check func(event.ReviewItem) error, effect func(context.Context, bun.Tx, Decision) error) error {
	if c.appeal != nil && c.appeal.Status != event.AppealSubmitted {
		return &DecidedError{c.appeal.Status}
	}
	if c.item != nil {
		if i := c.item; i.AssignedTo != "" && i.AssignedTo != c.r.ByUserID && i.LockExpiresAt.After(c.now) {
			return &LockedError{i.AssignedTo, i.LockExpiresAt.Time}
		}
		if check != nil {
			item, err := c.cfg.DB.ReviewItem(ctx, c.item.ID, c.now)
			if err != nil {
				return err
			}
			if err := check(item); err != nil {
				return err
			}
		}
	}
	if c.action.Custom.V == nil {
		c.action.Custom.V = map[string]any{}
	}
	if _, err := c.tx.NewInsert().Model(&c.action).Exec(ctx); err != nil {
		return fmt.Errorf("record the decision: %w", err)
	}
	if effect != nil {
		if err := effect(ctx, c.tx, c.r); err != nil {
			return err
		}
	}
	if err := c.closeAppeal(ctx); err != nil {
		return err
	}
	if err := c.moveItem(ctx); err != nil {
		return err
	}
	object := "review_item:" + c.r.ItemID
	if c.r.ItemID == "" {
		object = "appeal:" + c.r.AppealID
	}
	return audit(ctx, c.tx, c.now, c.r.ByUserID, "review."+c.r.Type, object, map[string]any{
		"review_action_id": c.action.ID, "target_user_id": c.r.TargetUserID, "cid": c.r.CID, "reason": c.r.Reason, "appeal_id": c.r.AppealID,
	})
}

// open are the decisions that leave an item to be decided on.
var open = []string{DecideEscalate, DecideDeEscalate, DecideCustom, DecideRejectAppeal}

// moveItem writes down on the item what was decided, and tells of it.
func (c *decide) moveItem(ctx context.Context) error {
	if c.item == nil {
		return nil
	}
	completed := c.item.Status == event.ReviewPending && !slices.Contains(open, c.r.Type)
	q := c.tx.NewUpdate().Model((*db.ReviewItemRow)(nil)).Where("id = ?", c.item.ID).
		Set("updated_at = ?", db.At(c.now)).Set("reviewed_at = ?", db.At(c.now)).Set("reviewed_by = ?", c.r.ByUserID).
		Set("latest_action = ?", c.r.Type)
	if completed {
		q = q.Set("status = ?", event.ReviewReviewed).Set("completed_at = ?", db.At(c.now))
	}
	if completed || c.r.Type == DecideEscalate {
		q = q.Set("assigned_to = ''").Set("lock_expires_at = 0")
	}
	switch c.r.Type {
	case DecideEscalate:
		q = q.Set("escalated = 1").Set("escalated_by = ?", c.r.ByUserID).Set("escalated_at = ?", db.At(c.now)).
			Set("escalation = ?", db.JSON[*event.Escalation]{V: c.r.Escalation})
	case DecideDeEscalate:
		q = q.Set("escalated = 0").Set("escalated_by = ''").Set("escalated_at = 0").Set("escalation = '{}'")
	}
	if _, err := q.Exec(ctx); err != nil {
		return fmt.Errorf("move review item %s: %w", c.item.ID, err)
	}
	return c.tell(ctx, completed)
}

// after reads how things stand now.
func (c *decide) after(ctx context.Context) (item *event.ReviewItem, appeal *event.Appeal, err error) {
	if c.item != nil {
		i, err := c.cfg.DB.ReviewItem(ctx, c.item.ID, c.now)
		if err != nil {
			return nil, nil, err
		}
		item = &i
	}
	if c.appeal != nil {
		a, err := c.Desk.appeal(ctx, c.tx, c.appeal.ID)
		if err != nil {
			return nil, nil, err
		}
		appeal = &a
	}
	return item, appeal, nil
}
