package actions

import (
	"context"
	"fmt"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// BanRequest asks for a ban.
type BanRequest struct {
	UserID, ByUserID, Reason string
	// CID limits the ban to one call; empty means everywhere.
	CID string
	// Timeout ends the ban; 0 means never.
	Timeout time.Duration
	// Shadow makes a ban that keeps nobody out.
	Shadow bool
	// ItemID is the review item on which it was decided, if any.
	ItemID string
}

// Ban requests a ban and returns the action's id. The connection is closed,
// and user.banned goes out, a moment later. The same request within a minute
// gives the same id and no second ban; another one takes the place of the ban
// that holds.
func (d *Desk) Ban(ctx context.Context, r BanRequest) (actionID string, err error) {
	switch {
	case r.UserID == "":
		return "", &RequestError{"user_id", "the user"}
	case r.ByUserID == "":
		return "", &RequestError{"by_user_id", "who asks"}
	case r.Timeout < 0:
		return "", &RequestError{"timeout", "0 or more minutes"}
	}
	req := event.ActionRequested{
		Kind: event.ActionBan, CID: r.CID, BanCID: r.CID, UserID: r.UserID, ByUserID: r.ByUserID, Reason: r.Reason, Shadow: r.Shadow,
		ReviewQueueItemID: r.ItemID,
	}
	if r.Timeout > 0 {
		req.ExpiresAt = d.cfg.Now().UTC().Add(r.Timeout)
	}
	actionID, _, err = d.requestOnce(ctx, req, r, nil)
	return actionID, err
}

// replaceBans ends the bans that a person's ban takes the place of: those of
// the same user, place and kind that hold now. The policy's bans leave the
// others alone, for they must not lengthen what a person set.
func (w write) replaceBans(ctx context.Context) error {
	if w.req.DecisionID != "" {
		return nil
	}
	_, err := w.tx.NewUpdate().Model((*db.BanRow)(nil)).
		Set("lifted_at = ?", db.At(w.now)).Set("lifted_by = ?", w.req.ByUserID).
		Where("user_id = ?", w.req.UserID).Where("cid = ?", w.req.BanCID).Where("shadow = ?", db.Bool(w.req.Shadow)).
		Where("lifted_at = 0").Where("(expires_at = 0 OR expires_at > ?)", db.At(w.now)).Exec(ctx)
	if err != nil {
		return fmt.Errorf("replace the ban of %s: %w", w.req.UserID, err)
	}
	return nil
}

// itemOf is the review item that the action belongs to: the one it was
// decided on, or the participant's pending one; "" if there is none.
func (w write) itemOf(ctx context.Context) (string, error) {
	if w.req.ReviewQueueItemID != "" {
		return w.req.ReviewQueueItemID, nil
	}
	var ids []string
	err := w.tx.NewSelect().Model((*db.ReviewItemRow)(nil)).Column("id").Where("entity_creator_id = ?", w.req.UserID).
		Where("entity_id IN (?, ?)", w.req.CID, w.req.UserID).Where("status = ?", event.ReviewPending).
		Order("entity_type", "created_at").Limit(1).Scan(ctx, &ids)
	if err != nil {
		return "", fmt.Errorf("find the review item: %w", err)
	}
	if len(ids) == 0 {
		return "", nil
	}
	return ids[0], nil
}
