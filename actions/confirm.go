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

// confirmed takes in a node's answer: the order was carried out, and if it
// affected nobody, the participant was gone already.
func (e *Executor) confirmed(ctx context.Context, ev event.Envelope) error {
	if ev.Type != event.TypeControlDone {
		return nil
	}
	var done event.ControlDone
	if err := ev.Decode(&done); err != nil {
		return err
	}
	if done.ActionID == "" {
		return nil // an order that no action stands behind
	}
	return e.Confirm(ctx, done)
}

// Confirm ends a sent action. One that was given up on is confirmed as well:
// it has taken effect after all. An unknown or confirmed one is left alone.
func (e *Executor) Confirm(ctx context.Context, done event.ControlDone) error {
	var confirmed *event.ActionRequested
	var at time.Time
	err := e.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		confirmed = nil
		row, req, err := loadAction(ctx, tx, done.ActionID)
		if db.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		w := write{Desk: e.desk, tx: tx, now: e.moment(done, row), req: req}
		for _, from := range []string{db.ActionStateSent, db.ActionStateFailed} {
			if ok, err := w.step(ctx, from, db.ActionStateConfirmed, func(ctx context.Context) error {
				return w.audit(ctx, "action.confirmed", map[string]any{"kind": req.Kind, "node": done.Node, "affected": done.Affected})
			}); err != nil {
				return err
			} else if ok {
				confirmed, at = &req, w.now
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("confirm action %s: %w", done.ActionID, err)
	}
	if confirmed != nil {
		e.count.confirmed.Add(1)
		e.logConfirmed(*confirmed, done, at)
	}
	return nil
}

// moment is when the action took effect by the node's clock, if that lies
// between the sending and now.
func (e *Executor) moment(done event.ControlDone, row db.ActionRow) time.Time {
	now := e.cfg.Now().UTC()
	if done.At.Before(row.SentAt.Time) || done.At.After(now) {
		return now
	}
	return done.At.UTC()
}

func (e *Executor) logConfirmed(req event.ActionRequested, done event.ControlDone, at time.Time) {
	log := e.log.With("action", req.Kind, "action_id", req.ActionID, "user", req.UserID, "node", done.Node, "affected", done.Affected)
	if !req.CapturedAt.IsZero() {
		log = log.With("captured_to_confirmed", at.Sub(req.CapturedAt).Round(time.Millisecond).String())
	}
	log.Info("action confirmed")
}

func loadAction(ctx context.Context, tx bun.IDB, id string) (row db.ActionRow, req event.ActionRequested, err error) {
	if err = tx.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx); err != nil {
		return row, req, fmt.Errorf("read action %s: %w", id, err)
	}
	if err = json.Unmarshal(row.Payload.V, &req); err != nil {
		err = fmt.Errorf("read payload of action %s: %w", id, err)
	}
	return row, req, err
}

// tend looks after unfinished actions until ctx ends.
func (e *Executor) tend(ctx context.Context) {
	tick := time.NewTicker(e.cfg.Tend)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := e.Tend(ctx); err != nil && ctx.Err() == nil {
				e.log.Error("cannot tend actions", "err", err)
			}
		}
	}
}

// Tend sends orders again that nobody confirmed, gives up on those that were
// sent often enough, and carries out what the bus failed to bring.
func (e *Executor) Tend(ctx context.Context) error {
	now := e.cfg.Now().UTC()
	var rows []db.ActionRow
	err := e.cfg.DB.NewSelect().Model(&rows).
		WhereOr("state = ? AND sent_at <= ?", db.ActionStateSent, db.At(now.Add(-resend[0]))).
		WhereOr("state = ? AND requested_at <= ?", db.ActionStateRequested, db.At(now.Add(-overlooked))).
		Order("requested_at").Limit(500).Scan(ctx)
	if err != nil {
		return fmt.Errorf("read unfinished actions: %w", err)
	}
	for _, row := range rows {
		if err := e.tendOne(ctx, row, now); err != nil {
			// One action's trouble must not keep the others waiting.
			e.log.Error("cannot tend an action", "action_id", row.ID, "err", err)
		}
	}
	return nil
}

func (e *Executor) tendOne(ctx context.Context, row db.ActionRow, now time.Time) error {
	var req event.ActionRequested
	if err := json.Unmarshal(row.Payload.V, &req); err != nil {
		return fmt.Errorf("read payload: %w", err)
	}
	if row.State == db.ActionStateRequested {
		return e.Execute(ctx, req)
	}
	since, sent := now.Sub(row.SentAt.Time), row.Attempts
	switch {
	case since >= giveUp:
		return e.fail(ctx, req, now)
	case sent <= len(resend) && since >= resend[sent-1]:
		return e.again(ctx, req, now, sent)
	}
	return nil
}

// again sends the order of an action once more.
func (e *Executor) again(ctx context.Context, req event.ActionRequested, now time.Time, sent int) error {
	var did bool
	err := e.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		did = false
		res, err := tx.NewUpdate().Model((*db.ActionRow)(nil)).Set("attempts = attempts + 1").
			Where("id = ?", req.ActionID).Where("state = ?", db.ActionStateSent).Where("attempts = ?", sent).Exec(ctx)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return err
		}
		did = true
		return write{Desk: e.desk, tx: tx, now: now, req: req}.order(ctx)
	})
	if err != nil {
		return fmt.Errorf("send again: %w", err)
	}
	if did {
		e.count.resent.Add(1)
		e.log.Warn("action not confirmed; sent again", "action", req.Kind, "action_id", req.ActionID, "user", req.UserID, "sendings", sent+1)
	}
	return nil
}

// fail gives an action up. The participant may still be there: that is worth
// waking somebody for.
func (e *Executor) fail(ctx context.Context, req event.ActionRequested, now time.Time) error {
	var did bool
	err := e.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) (err error) {
		w := write{Desk: e.desk, tx: tx, now: now, req: req}
		did, err = w.step(ctx, db.ActionStateSent, db.ActionStateFailed, func(ctx context.Context) error {
			return w.audit(ctx, "action.failed", map[string]any{"kind": req.Kind, "why": "not confirmed in " + giveUp.String()})
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("give up: %w", err)
	}
	if did {
		e.count.failed.Add(1)
		e.log.Error("action failed: no capture node confirmed it", "action", req.Kind, "action_id", req.ActionID, "user", req.UserID, "cid", req.CID)
	}
	return nil
}
