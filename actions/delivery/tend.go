package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
)

const (
	// Retention is how long public events, their deliveries and attempts
	// are kept; what is pending is kept until it is through.
	Retention  = 30 * 24 * time.Hour
	sweepEvery = 5 // polls
	pruneEvery = 3600
)

// tend sweeps up what the bus did not bring, and deletes what is old.
func (s *Sender) tend(ctx context.Context) {
	tick := time.NewTicker(s.cfg.Poll)
	defer tick.Stop()
	for n := 0; ; n++ {
		if n%sweepEvery == 0 {
			if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
				s.log.Error("cannot sweep the journal", "err", err)
			}
		}
		if n%pruneEvery == 0 {
			if err := s.Prune(ctx); err != nil && ctx.Err() == nil {
				s.log.Error("cannot delete old deliveries", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Prune deletes what is older than Retention, deliveries to hooks that are no
// more, and secrets that have run out.
func (s *Sender) Prune(ctx context.Context) error {
	now := s.cfg.Now()
	old := db.At(now.Add(-Retention))
	return s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var errs []error
		run := func(what string, q *bun.DeleteQuery) {
			if _, err := q.Exec(ctx); err != nil {
				errs = append(errs, fmt.Errorf("delete old %s: %w", what, err))
			}
		}
		const orphan = "NOT EXISTS (SELECT 1 FROM hooks AS h WHERE h.id = hook_id)"
		run("deliveries", tx.NewDelete().Model((*db.DeliveryRow)(nil)).
			Where("(state <> ? AND created_at < ? AND done_at < ?) OR "+orphan, db.DeliveryPending, old, old))
		run("attempts", tx.NewDelete().Model((*db.AttemptRow)(nil)).
			Where("at < ?", old).Where("NOT EXISTS (SELECT 1 FROM deliveries AS d WHERE d.id = delivery_id)"))
		run("events", tx.NewDelete().Model((*db.PublicEventRow)(nil)).Where("created_at < ?", old).Where("fanned_at > 0").
			Where("NOT EXISTS (SELECT 1 FROM deliveries AS d WHERE d.event_id = pe.id)"))
		run("secrets", tx.NewDelete().Model((*db.HookSecretRow)(nil)).
			Where("(expires_at > 0 AND expires_at < ?) OR "+orphan, db.At(now)))
		run("health", tx.NewDelete().Model((*db.HookHealthRow)(nil)).Where(orphan))
		return errors.Join(errs...)
	})
}
