package delivery

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
)

// outcome is what became of an attempt at a delivery.
type outcome struct {
	lane     *lane
	hook     Hook
	delivery db.DeliveryRow
	res      Result
	began    time.Time
	took     time.Duration
	done     chan error // holds one

	dead bool
}

// ledger writes outcomes that come at the same time in one transaction: a
// commit costs the same for one as for many.
type ledger struct {
	mu      sync.Mutex
	waiting []*outcome

	writing sync.Mutex
}

// write returns when the outcome is written.
func (g *ledger) write(ctx context.Context, s *Sender, o *outcome) error {
	g.mu.Lock()
	g.waiting = append(g.waiting, o)
	g.mu.Unlock()
	g.writing.Lock()
	defer g.writing.Unlock()
	select {
	case err := <-o.done: // whoever wrote before us took it along
		return err
	default:
	}
	g.mu.Lock()
	batch := g.waiting
	g.waiting = nil
	g.mu.Unlock()
	err := s.settle(ctx, batch)
	for _, one := range batch {
		one.done <- err
	}
	return <-o.done
}

// settle writes down what became of attempts.
func (s *Sender) settle(ctx context.Context, batch []*outcome) error {
	var after []func()
	err := s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		after = nil
		attempts := make([]db.AttemptRow, 0, len(batch))
		for _, o := range batch {
			d := o.delivery
			attempts = append(attempts, db.AttemptRow{
				DeliveryID: d.ID, Attempt: d.Attempts, At: db.At(o.began), Status: o.res.Status, Error: s.told(o.res),
				LatencyNS: int64(o.took), Response: printable(o.res.Response),
			})
			if err := s.conclude(ctx, tx, o); err != nil {
				return err
			}
			do, err := s.health(ctx, tx, o.hook, o.res)
			if err != nil {
				return err
			}
			after = append(after, do...)
		}
		_, err := tx.NewInsert().Model(&attempts).On("CONFLICT (delivery_id, attempt) DO UPDATE").
			Set("at = EXCLUDED.at").Set("status = EXCLUDED.status").Set("error = EXCLUDED.error").
			Set("latency_ns = EXCLUDED.latency_ns").Set("response = EXCLUDED.response").Returning("NULL").Exec(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	for _, do := range after {
		do()
	}
	for _, o := range batch {
		s.tally(o)
	}
	return nil
}

// conclude moves the delivery on.
func (s *Sender) conclude(ctx context.Context, tx bun.Tx, o *outcome) error {
	d, now := o.delivery, s.cfg.Now()
	q := tx.NewUpdate().Model((*db.DeliveryRow)(nil)).Where("id = ?", d.ID).Where("attempts = ?", d.Attempts).
		Where("state = ?", db.DeliveryPending).Set("last_status = ?", o.res.Status).Set("last_error = ?", s.told(o.res))
	next, again := pause(d.Attempts-d.Base, s.cfg.Jitter(), o.res.RetryAfter)
	o.dead = false
	switch {
	case o.res.OK():
		q = q.Set("state = ?", db.DeliveryDone).Set("done_at = ?", db.At(now))
	case o.res.Held:
		q = q.Set("attempts = attempts - 1").Set("next_at = ?", db.At(now.Add(time.Duration(float64(heldPause)*s.cfg.Jitter()))))
	case o.res.Gone || !again:
		o.dead = true
		q = q.Set("state = ?", db.DeliveryDead).Set("done_at = ?", db.At(now))
	default:
		q = q.Set("next_at = ?", db.At(now.Add(next)))
	}
	_, err := q.Exec(ctx)
	return err
}

// tally counts an attempt whose outcome is written.
func (s *Sender) tally(o *outcome) {
	o.lane.observe(o.hook, o.res, o.began)
	switch {
	case o.res.OK():
		s.count.delivered.Add(1)
		return
	case o.res.Held:
		s.count.held.Add(1)
		return
	}
	s.count.failed.Add(1)
	if o.dead {
		s.count.dead.Add(1)
		s.log.Error("delivery given up", "hook", o.hook.ID, "event", o.delivery.EventID, "type", o.delivery.EventType,
			"attempts", o.delivery.Attempts, "reason", s.told(o.res))
	}
}
