package actions

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// write is one step of one action within a transaction.
type write struct {
	*Desk
	tx  bun.Tx
	now time.Time
	req event.ActionRequested
	// flagged is what a flag is about, if not the participant of the request.
	flagged *FlagRequest
}

// execute takes the action out of state requested and does what it says. It
// tells whether there was anything left to do.
func (w write) execute(ctx context.Context) (bool, error) {
	switch w.req.Kind {
	case event.ActionFlag:
		return w.step(ctx, db.ActionStateRequested, db.ActionStateConfirmed, func(ctx context.Context) error {
			_, err := w.flag(ctx)
			return err
		})
	case event.ActionWarn:
		return w.step(ctx, db.ActionStateRequested, db.ActionStateConfirmed, w.warn)
	case event.ActionBlur:
		return w.step(ctx, db.ActionStateRequested, db.ActionStateConfirmed, w.blur)
	case event.ActionBan:
		if overruled, err := w.overruled(ctx); err != nil || overruled {
			return overruled, err
		}
		if w.req.Shadow {
			return w.step(ctx, db.ActionStateRequested, db.ActionStateConfirmed, w.ban)
		}
		return w.step(ctx, db.ActionStateRequested, db.ActionStateSent, w.ban)
	case event.ActionKick:
		if overruled, err := w.overruled(ctx); err != nil || overruled {
			return overruled, err
		}
		return w.step(ctx, db.ActionStateRequested, db.ActionStateSent, w.kick)
	case event.ActionMute:
		if len(w.req.Tracks) == 0 {
			return w.refuse(ctx, "no kind of track is named")
		}
		if overruled, err := w.overruled(ctx); err != nil || overruled {
			return overruled, err
		}
		return w.step(ctx, db.ActionStateRequested, db.ActionStateSent, w.mute)
	case event.ActionEndCall:
		if overruled, err := w.overruled(ctx); err != nil || overruled {
			return overruled, err
		}
		return w.step(ctx, db.ActionStateRequested, db.ActionStateSent, w.endCall)
	default:
		return w.refuse(ctx, "no executor for "+string(w.req.Kind))
	}
}

// refuse ends an action that cannot be carried out.
func (w write) refuse(ctx context.Context, why string) (bool, error) {
	return w.step(ctx, db.ActionStateRequested, db.ActionStateFailed, func(ctx context.Context) error {
		return w.audit(ctx, "action.failed", map[string]any{"why": why})
	})
}

// step moves the action's state on and runs do if it was in the state from.
// The update comes first: it holds the row until the commit.
func (w write) step(ctx context.Context, from, to string, do func(context.Context) error) (bool, error) {
	q := w.tx.NewUpdate().Model((*db.ActionRow)(nil)).Set("state = ?", to).
		Where("id = ?", w.req.ActionID).Where("state = ?", from)
	switch to {
	case db.ActionStateSent:
		q = q.Set("sent_at = ?", db.At(w.now)).Set("attempts = 1")
	case db.ActionStateConfirmed:
		q = q.Set("confirmed_at = ?", db.At(w.now))
		if from == db.ActionStateRequested {
			q = q.Set("sent_at = ?", db.At(w.now)).Set("attempts = 1")
		}
	}
	res, err := q.Exec(ctx)
	if err != nil {
		return false, fmt.Errorf("move to %s: %w", to, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		if err == nil && from == db.ActionStateRequested {
			err = w.exists(ctx)
		}
		return false, err
	}
	if err := do(ctx); err != nil {
		return false, err
	}
	if to == db.ActionStateConfirmed {
		return true, w.tellConfirmed(ctx)
	}
	return true, nil
}

func (w write) exists(ctx context.Context) error {
	ok, err := w.tx.NewSelect().Model((*db.ActionRow)(nil)).Where("id = ?", w.req.ActionID).Exists(ctx)
	if err == nil && !ok {
		err = errUnknownAction
	}
	return err
}

// tellConfirmed enqueues the event that ends an action.
func (w write) tellConfirmed(ctx context.Context) error {
	ev := event.New(event.TypeActionConfirmed, w.key(), w.now, event.ActionConfirmed{ActionRequested: w.req, ConfirmedAt: w.now})
	ev.ID = event.DeriveID("confirmed", w.req.ActionID)
	return db.Enqueue(ctx, w.tx, event.TopicConfirmed, ev)
}

// order enqueues the order to the capture nodes that the action needs. Each
// sending is an event of its own under the same ControlID.
func (w write) order(ctx context.Context) error {
	c := event.Control{
		ControlID: event.DeriveID("control", w.req.ActionID), ActionID: w.req.ActionID,
		Kind: event.ControlDisconnect, CID: w.req.CID, UserID: w.req.UserID, Reason: w.req.Reason,
	}
	switch w.req.Kind {
	case event.ActionBan:
		c.CID = w.req.BanCID
	case event.ActionEndCall:
		c.Kind, c.UserID = event.ControlEndCall, ""
	case event.ActionMute:
		c.Kind, c.Tracks, c.Until = event.ControlMute, w.req.Tracks, w.req.ExpiresAt
	}
	return db.Enqueue(ctx, w.tx, event.TopicControl, event.New(event.TypeControl, w.key(), w.now, c))
}

// public enqueues a public event. Its id follows from the action and its
// type, so that it goes out once.
func (w write) public(ctx context.Context, typ string, body any) error {
	ev := event.New(typ, w.key(), w.now, body)
	ev.ID = event.DeriveID("public", typ, w.req.ActionID)
	return db.Enqueue(ctx, w.tx, event.TopicPublic, ev)
}

// people are the one acted upon and the one acting.
func (w write) people(ctx context.Context) (user, by event.User, err error) {
	users, err := w.cfg.DB.UsersIn(ctx, w.req.CID, w.req.UserID, w.req.ByUserID)
	return users[w.req.UserID], users[w.req.ByUserID], err
}

func (w write) key() string { return key(w.req.CID, w.req.UserID) }

func (w write) audit(ctx context.Context, verb string, detail map[string]any) error {
	detail["action_id"], detail["cid"] = w.req.ActionID, w.req.CID
	if w.req.DecisionID != "" {
		detail["decision_id"] = w.req.DecisionID
	}
	return audit(ctx, w.tx, w.now, w.req.ByUserID, verb, "user:"+w.req.UserID, detail)
}
