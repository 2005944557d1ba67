package actions

import (
	"context"
	"fmt"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// ban records the ban, tells the backends, and orders the disconnection.
func (w write) ban(ctx context.Context) error {
	row := db.BanRow{
		ID: event.DeriveID("ban", w.req.ActionID), UserID: w.req.UserID, CID: w.req.BanCID,
		ByUserID: w.req.ByUserID, Reason: w.req.Reason, Shadow: db.Bool(w.req.Shadow),
		ActionID: w.req.ActionID, CreatedAt: db.At(w.now), ExpiresAt: db.At(w.req.ExpiresAt),
	}
	if err := w.replaceBans(ctx); err != nil {
		return err
	}
	if _, err := w.tx.NewInsert().Model(&row).Exec(ctx); err != nil {
		return fmt.Errorf("record the ban: %w", err)
	}
	if err := w.tellBanned(ctx, row); err != nil {
		return err
	}
	if err := w.audit(ctx, "ban", map[string]any{"reason": w.req.Reason, "ban_cid": w.req.BanCID, "shadow": w.req.Shadow, "expires_at": w.req.ExpiresAt}); err != nil {
		return err
	}
	if w.req.Shadow {
		return nil // keeps nobody out, so there is nobody to disconnect
	}
	return w.order(ctx)
}

func (w write) tellBanned(ctx context.Context, row db.BanRow) error {
	user, by, err := w.people(ctx)
	if err != nil {
		return err
	}
	total, err := w.tx.NewSelect().Model((*db.BanRow)(nil)).Where("user_id = ?", w.req.UserID).Count(ctx)
	if err != nil {
		return fmt.Errorf("count bans: %w", err)
	}
	itemID, err := w.itemOf(ctx)
	if err != nil {
		return err
	}
	body := event.UserBan{
		Type: event.UserBanned, CreatedAt: w.now, User: user, CreatedBy: by, Reason: w.req.Reason,
		Shadow: w.req.Shadow, TotalBans: int(total), ReviewQueueItemID: itemID, CID: w.req.BanCID, Custom: w.custom(),
	}
	if !row.ExpiresAt.IsZero() {
		body.Expiration = &row.ExpiresAt.Time
	}
	return w.public(ctx, event.UserBanned, body)
}

// custom says in public events where an action came from.
func (w write) custom() map[string]any {
	out := map[string]any{"action_id": w.req.ActionID}
	put := func(k, v string) {
		if v != "" {
			out[k] = v
		}
	}
	put("call_cid", w.req.CID)
	put("session_id", w.req.SessionID)
	put("frame_id", w.req.FrameID)
	put("decision_id", w.req.DecisionID)
	if len(w.req.Labels) > 0 {
		out["labels"], out["score"] = w.req.Labels, w.req.Score
	}
	if !w.req.CapturedAt.IsZero() {
		out["captured_at"] = w.req.CapturedAt.UTC().Format(time.RFC3339Nano)
	}
	return out
}

// kick tells the backends and orders the disconnection from the one call.
func (w write) kick(ctx context.Context) error {
	user, by, err := w.people(ctx)
	if err != nil {
		return err
	}
	err = w.public(ctx, event.CallKickedUser, event.KickedUser{
		Type: event.CallKickedUser, CreatedAt: w.now, CallCID: w.req.CID, User: user, KickedByUser: by,
	})
	if err != nil {
		return err
	}
	if err := w.audit(ctx, "kick", map[string]any{"reason": w.req.Reason}); err != nil {
		return err
	}
	return w.order(ctx)
}
