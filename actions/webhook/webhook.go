// Package webhook brings public events to the backends by HTTP POST: at least
// once for all events but frames, which are dropped when they cannot keep up.
package webhook

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"stillwatch/internal/bus"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/service"
)

// Group is the consumer group that turns public events into deliveries.
const Group = "webhook"

// HookType is the hook_type of the hooks that this package serves.
const HookType = "webhook"

// Defaults of a Sender.
const (
	DefaultTimeout    = 6 * time.Second
	DefaultPerHook    = 4
	DefaultFrameQueue = 256
	DefaultPoll       = time.Second
	// claimSlack is added to a hook's timeout for the time in which no
	// other process may take up the same delivery.
	claimSlack = 5 * time.Second
)

// Bus is what a Sender needs of the bus.
type Bus interface {
	Consume(ctx context.Context, sub bus.Subscription) error
}

// Config sets a Sender; DB, Bus and Client are needed.
type Config struct {
	DB     *db.DB
	Bus    Bus
	Client Doer
	// APIKey goes out with each delivery, APISecret signs it.
	APIKey, APISecret string
	// PerHook is how many deliveries to one hook run at once, and as many
	// frames.
	PerHook int
	// FrameQueue is how many frames wait for one hook; the oldest go.
	FrameQueue int
	// Poll is how often hooks and due deliveries are looked up.
	Poll time.Duration
	// Consumer names this process within the consumer group.
	Consumer string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Jitter gives the factor by which a pause is stretched; nil means 0.8
	// to 1.2 at random.
	Jitter func() float64
}

// Sender delivers to every enabled hook. Each hook has goroutines of its own,
// so that a slow receiver delays no other. The order of events is not kept.
type Sender struct {
	cfg   Config
	log   *slog.Logger
	tasks service.Tasks
	wake  chan struct{}
	count struct{ delivered, failed, dead, frames, frameFailed, frameDropped atomic.Int64 }

	mu    sync.Mutex
	hooks map[string]*hook
}

// Stats counts what a Sender did since it was made. Failed counts attempts,
// Dead lossless events given up on, FramesDropped those that found no room or
// no receiver.
type Stats struct{ Delivered, Failed, Dead, Frames, FramesFailed, FramesDropped int64 }

// New makes a sender.
func New(cfg Config) *Sender {
	orElse(&cfg.PerHook, DefaultPerHook)
	orElse(&cfg.FrameQueue, DefaultFrameQueue)
	orElse(&cfg.Poll, DefaultPoll)
	orElse(&cfg.Consumer, "webhook")
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Jitter == nil {
		cfg.Jitter = jitter
	}
	return &Sender{
		cfg: cfg, log: slog.With("component", "webhook"), wake: make(chan struct{}, 1), hooks: map[string]*hook{},
	}
}

func orElse[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Stats returns the counts.
func (s *Sender) Stats() Stats {
	c := &s.count
	return Stats{c.delivered.Load(), c.failed.Load(), c.dead.Load(), c.frames.Load(), c.frameFailed.Load(), c.frameDropped.Load()}
}

// Start implements service.Service.
func (s *Sender) Start(ctx context.Context) error {
	if err := s.reload(ctx); err != nil {
		return err
	}
	s.tasks.Go(s.run, func(ctx context.Context) {
		err := s.cfg.Bus.Consume(ctx, bus.Subscription{
			Topic: event.TopicPublic, Group: Group, Consumer: s.cfg.Consumer, Concurrency: 2, Handler: s.Handle,
		})
		if err != nil {
			s.log.Error("cannot consume public events", "err", err)
		}
	})
	return nil
}

// Close stops the sender. Deliveries under way are broken off and made again
// at the next start; waiting frames are dropped.
func (s *Sender) Close() error { return s.tasks.Close() }

// Reload makes a change of the hooks known at once.
func (s *Sender) Reload() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Handle turns a lossless public event into a delivery for each hook that
// wants it. A repeated event gives no second one.
func (s *Sender) Handle(ctx context.Context, ev event.Envelope) error {
	if event.LossyType(ev.Type) {
		return nil // came by Offer
	}
	hooks, err := s.load(ctx)
	if err != nil {
		return err
	}
	var rows []db.DeliveryRow
	now := db.At(s.cfg.Now())
	for _, h := range hooks {
		if wants(h, ev.Type) {
			rows = append(rows, db.DeliveryRow{
				ID: event.DeriveID("delivery", h.ID, ev.ID), HookID: h.ID, EventID: ev.ID, EventType: ev.Type, Key: ev.Key,
				Body: string(ev.Data), State: db.DeliveryPending, NextAt: now, CreatedAt: now,
			})
		}
	}
	if len(rows) == 0 {
		return nil
	}
	if _, err := s.cfg.DB.NewInsert().Model(&rows).On("CONFLICT DO NOTHING").Returning("NULL").Exec(ctx); err != nil {
		return fmt.Errorf("note deliveries of %s: %w", ev.ID, err)
	}
	s.Reload()
	return nil
}

// Offer hands a frame event to the hooks that want it. It never blocks: where
// the queue is full, the oldest frame goes and is counted.
func (s *Sender) Offer(ev event.Envelope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.hooks {
		if wants(h.settings(), ev.Type) && h.frames.push(ev) {
			s.count.frameDropped.Add(1)
		}
	}
}

// wants tells whether a hook takes events of the type; no list means all.
func wants(h db.HookRow, typ string) bool {
	return len(h.EventTypes.V) == 0 || slices.Contains(h.EventTypes.V, typ)
}

// load reads the enabled hooks.
func (s *Sender) load(ctx context.Context) (hooks []db.HookRow, err error) {
	err = s.cfg.DB.NewSelect().Model(&hooks).Where("enabled = 1").Where("hook_type = ?", HookType).Order("id").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read hooks: %w", err)
	}
	return hooks, nil
}

// run keeps the hooks up to date until the context ends, and wakes those that
// have something due.
func (s *Sender) run(ctx context.Context) {
	tick := time.NewTicker(s.cfg.Poll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.wake:
		}
		if err := s.reload(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("cannot look up hooks", "err", err)
		}
	}
}

// reload starts what serves a new hook, stops what served one that is gone or
// disabled, and wakes the others.
func (s *Sender) reload(ctx context.Context) error {
	rows, err := s.load(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	live := map[string]bool{}
	for _, row := range rows {
		live[row.ID] = true
		h := s.hooks[row.ID]
		if h == nil {
			h = newHook(s, row)
			if !s.tasks.Go(h.run) {
				return nil
			}
			s.hooks[row.ID] = h
		}
		h.update(row)
	}
	for id, h := range s.hooks {
		if !live[id] {
			h.retire()
			delete(s.hooks, id)
		}
	}
	return nil
}
