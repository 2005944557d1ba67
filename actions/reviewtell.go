package actions

import (
	"context"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// tell enqueues the public events of a decision on an item.
func (c *decide) tell(ctx context.Context, completed bool) error {
	item, err := c.cfg.DB.ReviewItem(ctx, c.item.ID, c.now)
	if err != nil {
		return err
	}
	item = thin(item)
	action := db.PublicReviewAction(c.action)
	err = c.public(ctx, event.ReviewItemUpdated, event.ReviewItemChange{
		Type: event.ReviewItemUpdated, CreatedAt: c.now, ReviewQueueItem: item, Flags: []event.Flag{}, Action: &action, Custom: map[string]any{},
	})
	if err != nil {
		return err
	}
	switch c.r.Type {
	case DecideMarkReviewed:
		err = c.public(ctx, event.ModerationMarkReviewed, event.MarkedReviewed{Type: event.ModerationMarkReviewed, CreatedAt: c.now, Item: item})
	case DecideCustom:
		options := c.r.Custom
		if options == nil {
			options = map[string]any{}
		}
		err = c.public(ctx, event.ModerationCustomAction, event.CustomAction{
			Type: event.ModerationCustomAction, CreatedAt: c.now, ActionID: c.r.CustomID, ActionOptions: options, ReviewQueueItem: item,
		})
	}
	if err != nil || !completed || len(item.Flags) == 0 {
		return err
	}
	return c.tellFlag(ctx, item)
}

// tellFlag tells that the flags of an item were decided on.
func (c *decide) tellFlag(ctx context.Context, item event.ReviewItem) error {
	users, err := c.cfg.DB.UsersIn(ctx, c.r.CID, item.EntityCreatorID, c.r.ByUserID)
	if err != nil {
		return err
	}
	return c.public(ctx, event.FlagUpdated, event.FlagChange{
		Type: event.FlagUpdated, CreatedAt: c.now, User: users[item.EntityCreatorID], CreatedBy: users[c.r.ByUserID],
		Flag: item.Flags[len(item.Flags)-1], ReviewQueueItemID: item.ID, Custom: map[string]any{},
	})
}

// public enqueues a public event of the decision; its id follows from it.
func (c *decide) public(ctx context.Context, typ string, body any) error {
	ev := event.New(typ, key(c.r.CID, c.r.TargetUserID), c.now, body)
	ev.ID = event.DeriveID("public", typ, c.action.ID)
	return db.Enqueue(ctx, c.tx, event.TopicPublic, ev)
}
