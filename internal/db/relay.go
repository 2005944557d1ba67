package db

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"

	"stillwatch/internal/event"
)

// Publisher is what the relay needs of the bus.
type Publisher interface {
	// Publish appends events to a topic, in order.
	Publish(ctx context.Context, topic event.Topic, evs ...event.Envelope) error
}

// Broker is a Publisher that can also tell what became of what it carried.
// Without it the relay publishes only.
type Broker interface {
	Publisher
	// Remembers tells whether the broker still holds what it was given since
	// the last Remember; false after it lost its memory, and at first.
	Remembers(ctx context.Context) (bool, error)
	// Remember sets the mark that Remembers looks for.
	Remember(ctx context.Context) error
	// Settle hands over the ids of events of the topic that every group has
	// acknowledged, and forgets those for which done returned nil.
	Settle(ctx context.Context, topic event.Topic, done func(eventIDs []string) error) error
}

// Defaults of a Relay.
const (
	DefaultRelayPoll     = time.Second
	DefaultRelayTend     = 2 * time.Second
	DefaultRetainSent    = 24 * time.Hour
	DefaultRetainHandled = 7 * 24 * time.Hour
	// relayBatch is how many rows go out in one pass.
	relayBatch = 256
	// relayLock is the PostgreSQL advisory lock that keeps two relays from
	// overtaking each other: "stillwat" in ASCII.
	relayLock = 0x7374696c6c776174
)

// RelayConfig sets a Relay; zero values mean the defaults.
type RelayConfig struct {
	// Poll is how often the outbox is looked at without being woken, for
	// events that other processes enqueued.
	Poll time.Duration
	// Tend is how often the broker's memory is checked, done rows are
	// settled and, every hundredth time, old rows are pruned.
	Tend time.Duration
	// RetainSent is how long a row is kept after every group is done with
	// it, and how far back an undone row is published again after the
	// broker lost its memory.
	RetainSent time.Duration
	// RetainHandled is how long the notes of Once are kept. It must exceed
	// RetainSent, or a late duplicate would count as new.
	RetainHandled time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log takes what goes wrong; nil means slog's default.
	Log *slog.Logger
}

// Relay publishes the outbox. Each event goes out at least once, in the order
// of enqueueing; duplicates are harmless to handlers that use Once.
type Relay struct {
	db  *DB
	pub Publisher
	cfg RelayConfig
	log *slog.Logger

	mu     sync.Mutex
	cancel context.CancelFunc
	done   chan struct{}
}

// NewRelay makes a relay from the outbox of d to pub.
func NewRelay(d *DB, pub Publisher, cfg RelayConfig) *Relay {
	orElse(&cfg.Poll, DefaultRelayPoll)
	orElse(&cfg.Tend, DefaultRelayTend)
	orElse(&cfg.RetainSent, DefaultRetainSent)
	orElse(&cfg.RetainHandled, DefaultRetainHandled)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Relay{db: d, pub: pub, cfg: cfg, log: cfg.Log.With("component", "relay")}
}

func orElse(d *time.Duration, def time.Duration) {
	if *d <= 0 {
		*d = def
	}
}

// Start implements service.Service. The broker need not be reachable yet.
func (r *Relay) Start(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.done = cancel, make(chan struct{})
	go r.run(ctx)
	return nil
}

// Close stops the relay. What is unsent stays in the outbox.
func (r *Relay) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done != nil {
		r.cancel()
		<-r.done
	}
	return nil
}

func (r *Relay) run(ctx context.Context) {
	defer close(r.done)
	woken, stop := r.db.subscribe()
	defer stop()
	poll, tend := time.NewTicker(r.cfg.Poll), time.NewTicker(r.cfg.Tend)
	defer poll.Stop()
	defer tend.Stop()
	r.attempt(ctx, "tend the outbox", r.Tend)
	r.attempt(ctx, "publish the outbox", r.Flush)
	for tends := 1; ; {
		select {
		case <-ctx.Done():
			return
		case <-woken:
			r.attempt(ctx, "publish the outbox", r.Flush)
		case <-poll.C:
			r.attempt(ctx, "publish the outbox", r.Flush)
		case <-tend.C:
			r.attempt(ctx, "tend the outbox", r.Tend)
			if tends++; tends%100 == 0 {
				r.attempt(ctx, "prune the outbox", r.Prune)
			}
		}
	}
}

// attempt logs a failure; the next tick tries again, so the poll interval is
// the back-off.
func (r *Relay) attempt(ctx context.Context, what string, f func(context.Context) error) {
	if err := f(ctx); err != nil && ctx.Err() == nil {
		r.log.Error("cannot "+what, "err", err)
	}
}

// Flush publishes every unsent row now.
func (r *Relay) Flush(ctx context.Context) error {
	for {
		n, err := r.pass(ctx)
		if err != nil || n < relayBatch {
			return err
		}
	}
}

// pass publishes up to relayBatch rows and marks them sent.
func (r *Relay) pass(ctx context.Context) (n int, err error) {
	if r.db.Dialect().Name() != dialect.PG {
		// One process owns the file, and this goroutine is its only relay:
		// read and publish without holding up the writer.
		rows, err := unsent(ctx, r.db)
		if err != nil || len(rows) == 0 {
			return 0, err
		}
		sent, err := r.publish(ctx, rows)
		return len(sent), errors.Join(err, r.db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
			return r.markSent(ctx, tx, sent)
		}))
	}
	err = r.db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(?)", int64(relayLock)); err != nil {
			return err
		}
		rows, err := unsent(ctx, tx)
		if err != nil || len(rows) == 0 {
			return err
		}
		sent, pubErr := r.publish(ctx, rows)
		n = len(sent)
		if err := r.markSent(ctx, tx, sent); err != nil {
			return err
		}
		if n == 0 {
			return pubErr
		}
		return nil // what did not go out is tried in the next pass
	})
	return n, err
}

func unsent(ctx context.Context, q bun.IDB) (rows []OutboxRow, err error) {
	err = q.NewSelect().Model(&rows).Where("sent_at = 0").Order("seq").Limit(relayBatch).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the outbox: %w", err)
	}
	return rows, nil
}

// publish sends rows in order, runs of one topic at once, and returns the
// sequence numbers of those that went out before an error.
func (r *Relay) publish(ctx context.Context, rows []OutboxRow) (sent []int64, err error) {
	for from := 0; from < len(rows); {
		to := from
		var evs []event.Envelope
		for to < len(rows) && rows[to].Topic == rows[from].Topic {
			evs = append(evs, rows[to].Envelope.V)
			to++
		}
		if err := r.pub.Publish(ctx, event.Topic(rows[from].Topic), evs...); err != nil {
			return sent, fmt.Errorf("publish on %s: %w", rows[from].Topic, err)
		}
		for ; from < to; from++ {
			sent = append(sent, rows[from].Seq)
		}
	}
	return sent, nil
}

func (r *Relay) markSent(ctx context.Context, tx bun.IDB, seqs []int64) error {
	if len(seqs) == 0 {
		return nil
	}
	_, err := tx.NewUpdate().Model((*OutboxRow)(nil)).Set("sent_at = ?", At(r.cfg.Now())).
		Where("seq IN (?)", bun.List(seqs)).Exec(ctx)
	if err != nil {
		return fmt.Errorf("mark as sent: %w", err)
	}
	return nil
}
