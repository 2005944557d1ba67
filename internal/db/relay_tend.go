package db

import (
	"context"
	"errors"
	"fmt"

	"github.com/uptrace/bun"

	"stillwatch/internal/event"
)

// Tend looks after what was sent: when the broker lost its memory, what is
// not done is published again; and what every group has acknowledged is
// marked done. It does nothing for a Publisher that is no Broker.
func (r *Relay) Tend(ctx context.Context) error {
	broker, ok := r.pub.(Broker)
	if !ok {
		return nil
	}
	remembers, err := broker.Remembers(ctx)
	if err != nil {
		return fmt.Errorf("ask the broker: %w", err)
	}
	if !remembers {
		if err := r.republish(ctx); err != nil {
			return err
		}
		// Only now: a crash before this line republishes once more.
		if err := broker.Remember(ctx); err != nil {
			return fmt.Errorf("mark the broker: %w", err)
		}
	}
	var errs []error
	for _, topic := range event.Topics() {
		if !topic.Lossy() {
			errs = append(errs, broker.Settle(ctx, topic, func(ids []string) error { return r.markDone(ctx, ids) }))
		}
	}
	return errors.Join(errs...)
}

// republish marks what is sent but not done as unsent, within RetainSent, and
// flushes: the order is kept, and new events queue behind.
func (r *Relay) republish(ctx context.Context) error {
	since := At(r.cfg.Now().Add(-r.cfg.RetainSent))
	var n int64
	err := r.db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		res, err := tx.NewUpdate().Model((*OutboxRow)(nil)).Set("sent_at = 0").
			Where("done_at = 0").Where("sent_at > ?", since).Exec(ctx)
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		return err
	})
	if err != nil {
		return fmt.Errorf("republish: %w", err)
	}
	if n > 0 {
		r.log.Warn("the broker lost its memory; publishing again what was not done", "events", n)
	}
	return r.Flush(ctx)
}

func (r *Relay) markDone(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	return r.db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewUpdate().Model((*OutboxRow)(nil)).Set("done_at = ?", At(r.cfg.Now())).
			Where("event_id IN (?)", bun.List(ids)).Where("done_at = 0").Exec(ctx)
		if err != nil {
			return fmt.Errorf("mark as done: %w", err)
		}
		return nil
	})
}

// Prune deletes outbox rows that were done, or sent and never done, long
// ago, and old notes of Once.
func (r *Relay) Prune(ctx context.Context) error {
	now := r.cfg.Now()
	sent, handled := At(now.Add(-r.cfg.RetainSent)), At(now.Add(-r.cfg.RetainHandled))
	return r.db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewDelete().Model((*OutboxRow)(nil)).
			Where("(done_at > 0 AND done_at < ?) OR (sent_at > 0 AND sent_at < ?)", sent, handled).Exec(ctx)
		if err != nil {
			return fmt.Errorf("prune the outbox: %w", err)
		}
		if _, err := tx.NewDelete().Model((*HandledRow)(nil)).Where("at < ?", handled).Exec(ctx); err != nil {
			return fmt.Errorf("prune handled: %w", err)
		}
		return nil
	})
}
