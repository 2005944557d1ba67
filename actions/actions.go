// Package actions carries out what was decided about a participant, sees it
// confirmed, and tells the backends.
package actions

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/bus"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/service"
)

// Groups under which the bus's topics are read.
const (
	GroupExecutors = "executors"
	GroupConfirmed = "actions"
	GroupNotify    = "notify"
)

// Bus is what this package needs of the bus.
type Bus interface {
	Consume(ctx context.Context, sub bus.Subscription) error
	Publish(ctx context.Context, topic event.Topic, evs ...event.Envelope) error
}

// Signer makes addresses under which stored objects can be fetched.
type Signer interface {
	SignGet(key string, expires time.Time) string
}

// Defaults of an Executor.
const (
	DefaultRetention = 14 * 24 * time.Hour
	DefaultTend      = 500 * time.Millisecond
	// overlooked is how old a request may get before Tend carries it out
	// without the bus.
	overlooked = 15 * time.Second
)

// resend are the moments after the first sending at which an order that
// nobody confirmed is sent again; at giveUp it has failed.
var resend = [...]time.Duration{2 * time.Second, 5 * time.Second, 15 * time.Second, 30 * time.Second}

const giveUp = 60 * time.Second

// Config sets an Executor; DB and Bus are needed.
type Config struct {
	DB  *db.DB
	Bus Bus
	// Signer signs the pictures of review items; nil leaves them without.
	Signer Signer
	// Retention is how long a frame is kept, and its address valid.
	Retention time.Duration
	// Consumer names this process within the consumer groups.
	Consumer string
	// Tend is how often unconfirmed orders are looked at.
	Tend time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Executor carries actions out: requested, sent, confirmed or failed. Every
// step is one transaction that first moves the action's state on, so that a
// repeated event finds nothing left to do.
type Executor struct {
	cfg   Config
	desk  *Desk
	log   *slog.Logger
	tasks service.Tasks
	count struct{ executed, confirmed, resent, failed atomic.Int64 }
}

// Stats counts what an Executor did since it was made.
type Stats struct{ Executed, Confirmed, Resent, Failed int64 }

// NewExecutor makes an executor.
func NewExecutor(cfg Config) *Executor {
	if cfg.Retention <= 0 {
		cfg.Retention = DefaultRetention
	}
	if cfg.Tend <= 0 {
		cfg.Tend = DefaultTend
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Consumer == "" {
		cfg.Consumer = "actions"
	}
	return &Executor{
		cfg: cfg, log: slog.With("component", "actions"),
		desk: NewDesk(DeskConfig{DB: cfg.DB, Signer: cfg.Signer, Retention: cfg.Retention, Now: cfg.Now}),
	}
}

// Stats returns the counts.
func (e *Executor) Stats() Stats {
	return Stats{e.count.executed.Load(), e.count.confirmed.Load(), e.count.resent.Load(), e.count.failed.Load()}
}

// Start implements service.Service.
func (e *Executor) Start(context.Context) error {
	e.tasks.Go(
		e.consume(event.TopicActions, GroupExecutors, 4, e.requested),
		e.consume(event.TopicConfirmed, GroupConfirmed, 4, e.confirmed),
		e.tend,
	)
	return nil
}

// Close implements service.Service.
func (e *Executor) Close() error { return e.tasks.Close() }

func (e *Executor) consume(topic event.Topic, group string, n int, h bus.Handler) func(context.Context) {
	return func(ctx context.Context) {
		err := e.cfg.Bus.Consume(ctx, bus.Subscription{
			Topic: topic, Group: group, Consumer: e.cfg.Consumer, Concurrency: n, Handler: h,
		})
		if err != nil {
			e.log.Error("cannot consume", "topic", topic, "err", err)
		}
	}
}

func (e *Executor) requested(ctx context.Context, ev event.Envelope) error {
	if ev.Type != event.TypeActionRequested {
		return nil
	}
	var req event.ActionRequested
	if err := ev.Decode(&req); err != nil {
		return err
	}
	return e.Execute(ctx, req)
}

// errUnknownAction says that an action was asked for that has no row.
var errUnknownAction = errors.New("no such action in the database")

// Execute carries out an action whose row is in state requested. In any other
// state it does nothing.
func (e *Executor) Execute(ctx context.Context, req event.ActionRequested) error {
	var did bool
	err := e.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) (err error) {
		w := write{Desk: e.desk, tx: tx, now: e.cfg.Now().UTC(), req: req}
		did, err = w.execute(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("execute %s %s: %w", req.Kind, req.ActionID, err)
	}
	if did {
		e.count.executed.Add(1)
		e.log.Info("action carried out", "action", req.Kind, "action_id", req.ActionID, "user", req.UserID, "cid", req.CID, "by", req.ByUserID)
	}
	return nil
}

// key orders the events of a participant, or of a call where there is none.
func key(cid, userID string) string {
	if userID == "" {
		return cid
	}
	return cid + "/" + userID
}
