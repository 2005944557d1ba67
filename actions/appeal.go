package actions

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// AppealRequest is a user's word against what was done to them.
type AppealRequest struct {
	UserID, Reason string
	// EntityType is "call", EntityID then its cid, or "user", EntityID then
	// the user's own id.
	EntityType, EntityID string
	Attachments          []string
}

// OpenAppealError says that the user has an open appeal on that already.
type OpenAppealError struct{ ID string }

// Error implements error.
func (e *OpenAppealError) Error() string { return "there is an open appeal already: " + e.ID }

// NothingDoneError says that there is nothing to appeal against.
type NothingDoneError struct{ EntityType, EntityID string }

// Error implements error.
func (e *NothingDoneError) Error() string {
	return fmt.Sprintf("nothing was done to the user in the %s %q", e.EntityType, e.EntityID)
}

// Appeal opens an appeal and tells the backends. A user has one open appeal
// per entity: the same again gives the one that is open, another one a
// *OpenAppealError.
func (d *Desk) Appeal(ctx context.Context, r AppealRequest) (out event.Appeal, err error) {
	if r.UserID == "" {
		return out, &RequestError{"user_id", "the user"}
	}
	err = d.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		now := d.cfg.Now().UTC()
		itemID, err := d.appealed(ctx, tx, r)
		if err != nil {
			return err
		}
		row := db.AppealRow{
			ID: event.NewID(), UserID: r.UserID, EntityType: r.EntityType, EntityID: r.EntityID, ItemID: itemID, Reason: r.Reason,
			Status: event.AppealSubmitted, CreatedAt: db.At(now), UpdatedAt: db.At(now),
		}
		if row.Attachments.V = r.Attachments; r.Attachments == nil {
			row.Attachments.V = []string{}
		}
		res, err := tx.NewInsert().Model(&row).On("CONFLICT DO NOTHING").Returning("NULL").Exec(ctx)
		if err != nil {
			return fmt.Errorf("record the appeal: %w", err)
		}
		n, err := res.RowsAffected()
		if err != nil {
			return err
		}
		if n == 0 {
			out, err = d.openAppeal(ctx, tx, r)
			return err
		}
		if out, err = d.appeal(ctx, tx, row.ID); err != nil {
			return err
		}
		if err := tellAppeal(ctx, tx, event.AppealCreated, out); err != nil {
			return err
		}
		return audit(ctx, tx, now, r.UserID, "appeal.create", "appeal:"+row.ID, map[string]any{
			"entity_type": r.EntityType, "entity_id": r.EntityID, "item_id": itemID,
		})
	})
	return out, err
}

// appealed finds the newest review item of what the appeal is about; "" if
// what was done was done without one.
func (d *Desk) appealed(ctx context.Context, tx bun.Tx, r AppealRequest) (itemID string, err error) {
	var ids []string
	items := tx.NewSelect().Model((*db.ReviewItemRow)(nil)).Column("id").Where("entity_creator_id = ?", r.UserID)
	done := tx.NewSelect().Model((*db.ActionRow)(nil)).Where("user_id = ?", r.UserID)
	bans := tx.NewSelect().Model((*db.BanRow)(nil)).Where("user_id = ?", r.UserID)
	if r.EntityType == event.EntityCall {
		items = items.Where("entity_type = ?", event.EntityCall).Where("entity_id = ?", r.EntityID)
		done, bans = done.Where("cid = ?", r.EntityID), bans.Where("cid IN ('', ?)", r.EntityID)
	}
	if err := items.Order("created_at DESC").Limit(1).Scan(ctx, &ids); err != nil {
		return "", fmt.Errorf("find the review item: %w", err)
	}
	if len(ids) > 0 {
		return ids[0], nil
	}
	for _, q := range []*bun.SelectQuery{done, bans} {
		if found, err := q.Exists(ctx); err != nil || found {
			return "", err
		}
	}
	return "", &NothingDoneError{r.EntityType, r.EntityID}
}

func (d *Desk) openAppeal(ctx context.Context, tx bun.Tx, r AppealRequest) (event.Appeal, error) {
	var row db.AppealRow
	err := tx.NewSelect().Model(&row).Where("user_id = ?", r.UserID).Where("entity_type = ?", r.EntityType).
		Where("entity_id = ?", r.EntityID).Where("status = ?", event.AppealSubmitted).Scan(ctx)
	if err != nil {
		return event.Appeal{}, fmt.Errorf("read the open appeal: %w", err)
	}
	if row.Reason != r.Reason {
		return event.Appeal{}, &OpenAppealError{row.ID}
	}
	return d.appeal(ctx, tx, row.ID)
}

// appeal reads an appeal in the public shape.
func (d *Desk) appeal(ctx context.Context, tx bun.Tx, id string) (event.Appeal, error) {
	var row db.AppealRow
	if err := tx.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx); err != nil {
		return event.Appeal{}, fmt.Errorf("read appeal %s: %w", id, err)
	}
	user, err := d.cfg.DB.User(ctx, row.UserID)
	return db.PublicAppeal(row, user), err
}

// tellAppeal enqueues what became of an appeal. Each happens once.
func tellAppeal(ctx context.Context, tx bun.Tx, typ string, a event.Appeal) error {
	ev := event.New(typ, "appeal/"+a.ID, a.UpdatedAt, event.AppealChange{Type: typ, CreatedAt: a.UpdatedAt, Appeal: a})
	ev.ID = event.DeriveID("public", typ, a.ID)
	return db.Enqueue(ctx, tx, event.TopicPublic, ev)
}

// closeAppeal writes down what the decision makes of the appeal.
func (c *decide) closeAppeal(ctx context.Context) error {
	if c.appeal == nil {
		return nil
	}
	status, typ := event.AppealAccepted, event.AppealWasAccepted
	if c.r.Type == DecideRejectAppeal {
		status, typ = event.AppealRejected, event.AppealWasRejected
	}
	_, err := c.tx.NewUpdate().Model((*db.AppealRow)(nil)).Set("status = ?", status).Set("decision_reason = ?", c.r.Reason).
		Set("reviewed_by = ?", c.r.ByUserID).Set("updated_at = ?", db.At(c.now)).Where("id = ?", c.appeal.ID).Exec(ctx)
	if err != nil {
		return fmt.Errorf("close appeal %s: %w", c.appeal.ID, err)
	}
	a, err := c.Desk.appeal(ctx, c.tx, c.appeal.ID)
	if err != nil {
		return err
	}
	return tellAppeal(ctx, c.tx, typ, a)
}
