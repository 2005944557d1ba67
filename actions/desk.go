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

// DeskConfig sets a Desk; DB is needed.
type DeskConfig struct {
	DB *db.DB
	// Signer and Retention are as in Config.
	Signer    Signer
	Retention time.Duration
	Now       func() time.Time
}

// Desk takes in what people ask for: it records the action and enqueues it
// for the executors, in one transaction. It needs no executor in its process.
type Desk struct{ cfg DeskConfig }

// NewDesk makes a desk.
func NewDesk(cfg DeskConfig) *Desk {
	if cfg.Retention <= 0 {
		cfg.Retention = DefaultRetention
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Desk{cfg: cfg}
}

// RequestError tells which field of a request is wrong: the caller's fault.
type RequestError struct{ Field, Want string }

// Error implements error.
func (e *RequestError) Error() string { return fmt.Sprintf("%s: want %s", e.Field, e.Want) }

// KickRequest asks to disconnect a user from one call.
type KickRequest struct{ UserID, CID, ByUserID, Reason string }

// Kick requests a disconnection without a ban and returns the action's id.
func (d *Desk) Kick(ctx context.Context, r KickRequest) (actionID string, err error) {
	if r.CID == "" {
		return "", &RequestError{"cid", "the call"}
	}
	return d.request(ctx, event.ActionRequested{
		Kind: event.ActionKick, CID: r.CID, UserID: r.UserID, ByUserID: r.ByUserID, Reason: r.Reason,
	}, nil)
}

// MuteRequest asks to mute users in one call.
type MuteRequest struct {
	UserIDs               []string
	CID, ByUserID, Reason string
	// Tracks are the kinds of tracks; at least one.
	Tracks []event.TrackType
	// For mutes tracks to come as well, so long; 0 mutes what is published now
	// and lets the users publish anew.
	For time.Duration
}

// Mute requests that the users' tracks are neither forwarded nor looked at,
// tells the backends once, and returns the actions' ids, one a user.
func (d *Desk) Mute(ctx context.Context, r MuteRequest) (actionIDs []string, err error) {
	switch {
	case r.CID == "":
		return nil, &RequestError{"cid", "the call"}
	case len(r.UserIDs) == 0:
		return nil, &RequestError{"user_ids", "at least one user"}
	case len(r.Tracks) == 0:
		return nil, &RequestError{"tracks", "at least one kind of track"}
	case r.For < 0:
		return nil, &RequestError{"duration", "0 or more"}
	}
	now := d.cfg.Now().UTC()
	req := event.ActionRequested{Kind: event.ActionMute, CID: r.CID, ByUserID: r.ByUserID, Reason: r.Reason, Tracks: r.Tracks, Told: true}
	if r.For > 0 {
		req.ExpiresAt = now.Add(r.For)
	}
	err = d.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		actionIDs = nil
		for _, req.UserID = range r.UserIDs {
			id, err := d.request(ctx, req, nil)
			if err != nil {
				return err
			}
			actionIDs = append(actionIDs, id)
		}
		return tellMuted(ctx, tx, now, actionIDs[0], req, r.UserIDs)
	})
	return actionIDs, err
}

// EndCallRequest asks to end a call for everybody.
type EndCallRequest struct{ CID, ByUserID, Reason string }

// EndCall requests that every connection of the call is closed and returns the
// action's id. A moment later the call's ended_at is set and call.ended goes
// out, unless the caller has written that down itself; the action is confirmed
// when all media has stopped.
func (d *Desk) EndCall(ctx context.Context, r EndCallRequest) (actionID string, err error) {
	if r.CID == "" {
		return "", &RequestError{"cid", "the call"}
	}
	return d.request(ctx, event.ActionRequested{
		Kind: event.ActionEndCall, CID: r.CID, ByUserID: r.ByUserID, Reason: r.Reason,
	}, nil)
}

// request records an action. With at once it is carried out in the same
// transaction, else the executors are told.
func (d *Desk) request(ctx context.Context, req event.ActionRequested, atOnce func(context.Context, write) error) (string, error) {
	if req.UserID == "" && req.Kind != event.ActionEndCall && req.Kind != event.ActionFlag {
		return "", &RequestError{"user_id", "the user"}
	}
	if req.ByUserID == "" {
		return "", &RequestError{"by_user_id", "who asks"}
	}
	if req.ActionID == "" {
		req.ActionID = event.NewID()
	}
	err := d.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		w := write{Desk: d, tx: tx, now: d.cfg.Now().UTC(), req: req}
		row, err := Row(req, w.now)
		if err != nil {
			return err
		}
		if _, err := tx.NewInsert().Model(&row).Exec(ctx); err != nil {
			return err
		}
		if err := w.audit(ctx, "action.requested", map[string]any{"kind": req.Kind, "reason": req.Reason}); err != nil {
			return err
		}
		if atOnce != nil {
			return atOnce(ctx, w)
		}
		return db.Enqueue(ctx, tx, event.TopicActions, Envelope(req, w.now))
	})
	if err != nil {
		return "", fmt.Errorf("request %s of %s: %w", req.Kind, req.UserID, err)
	}
	return req.ActionID, nil
}

// Row is the row of a requested action.
func Row(req event.ActionRequested, at time.Time) (db.ActionRow, error) {
	payload, err := json.Marshal(req)
	if err != nil {
		return db.ActionRow{}, fmt.Errorf("marshal action: %w", err)
	}
	return db.ActionRow{
		ID: req.ActionID, DecisionID: req.DecisionID, Kind: string(req.Kind), CID: req.CID, SessionID: req.SessionID,
		UserID: req.UserID, ByUserID: req.ByUserID, Reason: req.Reason, Payload: db.JSON[json.RawMessage]{V: payload},
		State: db.ActionStateRequested, RequestedAt: db.At(at),
	}, nil
}

// Envelope is the event that asks the executors for an action.
func Envelope(req event.ActionRequested, at time.Time) event.Envelope {
	ev := event.New(event.TypeActionRequested, key(req.CID, req.UserID), at, req)
	ev.ID = event.DeriveID("requested", req.ActionID)
	return ev
}
