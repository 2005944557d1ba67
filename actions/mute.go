package actions

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// mute tells the backends, unless that was done when it was asked for, and
// orders the tracks to be dropped.
func (w write) mute(ctx context.Context) error {
	if !w.req.Told {
		if err := tellMuted(ctx, w.tx, w.now, w.req.ActionID, w.req, []string{w.req.UserID}); err != nil {
			return err
		}
	}
	err := w.audit(ctx, "mute", map[string]any{"reason": w.req.Reason, "tracks": w.req.Tracks, "until": w.req.ExpiresAt})
	if err != nil {
		return err
	}
	return w.order(ctx)
}

func tellMuted(ctx context.Context, tx bun.Tx, now time.Time, actionID string, req event.ActionRequested, users []string) error {
	ev := event.New(event.CallUserMuted, req.CID, now, event.UserMuted{
		Type: event.CallUserMuted, CreatedAt: now, CallCID: req.CID,
		FromUserID: req.ByUserID, MutedUserIDs: users, Reason: req.Reason,
	})
	ev.ID = event.DeriveID("public", event.CallUserMuted, actionID)
	return db.Enqueue(ctx, tx, event.TopicPublic, ev)
}

// endCall writes down that the call has ended, unless somebody did, and
// orders every connection of it to be closed.
func (w write) endCall(ctx context.Context) error {
	if _, err := w.cfg.DB.EndCall(ctx, w.tx, w.req.CID, w.req.ByUserID, w.req.Reason, w.now); err != nil {
		return err
	}
	if err := audit(ctx, w.tx, w.now, w.req.ByUserID, "end_call", "call:"+w.req.CID, map[string]any{
		"action_id": w.req.ActionID, "reason": w.req.Reason,
	}); err != nil {
		return err
	}
	return w.order(ctx)
}
