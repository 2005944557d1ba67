package actions

import (
	"context"
	"encoding/json"
	"fmt"
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

// callEnded is the body of call.ended.
type callEnded struct {
	Type      string          `json:"type"`
	CreatedAt time.Time       `json:"created_at"`
	CallCID   string          `json:"call_cid"`
	Call      json.RawMessage `json:"call"`
	User      event.User      `json:"user"`
	Reason    string          `json:"reason"`
}

// endCall writes down that the call has ended, unless somebody did, and
// orders every connection of it to be closed.
func (w write) endCall(ctx context.Context) error {
	res, err := w.tx.NewUpdate().Model((*db.CallRow)(nil)).Set("ended_at = ?", db.At(w.now)).Set("updated_at = ?", db.At(w.now)).
		Where("cid = ?", w.req.CID).Where("ended_at = 0").Exec(ctx)
	if err != nil {
		return fmt.Errorf("end call %s: %w", w.req.CID, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return err
	}
	if n > 0 {
		if err := w.tellEnded(ctx); err != nil {
			return err
		}
	}
	if err := audit(ctx, w.tx, w.now, w.req.ByUserID, "end_call", "call:"+w.req.CID, map[string]any{
		"action_id": w.req.ActionID, "reason": w.req.Reason,
	}); err != nil {
		return err
	}
	return w.order(ctx)
}

func (w write) tellEnded(ctx context.Context) error {
	body, err := w.cfg.DB.CallBody(ctx, w.req.CID)
	if err != nil {
		return err
	}
	_, by, err := w.people(ctx)
	if err != nil {
		return err
	}
	const typ = "call.ended"
	return w.public(ctx, typ, callEnded{typ, w.now, w.req.CID, body, by, w.req.Reason})
}
