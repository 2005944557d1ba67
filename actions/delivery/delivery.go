// Package delivery sees to it that public events reach every hook that wants
// them: at least once for all events but frames, which are dropped when they
// cannot keep up. How an event travels is a Transport's business.
package delivery

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"stillwatch/internal/bus"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/service"
)

// Group is the consumer group that turns public events into deliveries. Its
// name is older than the other transports and stays, for a group that nobody
// reads would hold up trimming.
const Group = "webhook"

// Defaults and bounds.
const (
	DefaultTimeout    = 6 * time.Second
	MaxTimeout        = 15 * time.Second
	DefaultPerHook    = 8
	DefaultFrameQueue = 1024
	DefaultPoll       = time.Second
	// MaxResponse is how much of an answer is kept with each attempt.
	MaxResponse = 1000
	// claimSlack is added to a hook's timeout for the time in which no
	// other process may take up the same delivery.
	claimSlack = 5 * time.Second
)

// Bus is what a Sender needs of the bus.
type Bus interface {
	Consume(ctx context.Context, sub bus.Subscription) error
}

// Box opens and seals secrets; *seal.Box is one.
type Box interface {
	Seal(purpose, owner, plain string) (string, error)
	Open(purpose, owner, sealed string) (string, error)
}

// Config sets a Sender; DB, Bus and Transports are needed.
type Config struct {
	DB  *db.DB
	Bus Bus
	// Transports are the ways to send, by hook_type. The Sender closes them.
	Transports map[string]Transport
	// Encoders are the body styles besides the native one, by body_style.
	Encoders map[string]Encoder
	// Seal opens hooks' secrets. Without it hooks have no signing secrets.
	Seal Box
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

// Sender delivers to every enabled hook. Each hook has a lane of its own, so
// that a slow receiver delays no other.
type Sender struct {
	cfg   Config
	log   *slog.Logger
	tasks service.Tasks
	wake  chan struct{}
	count counters

	mu    sync.Mutex
	lanes map[string]*lane

	ledger ledger
}

type counters struct {
	delivered, failed, dead, held, frames, frameFailed, frameDropped, warned, disabled atomic.Int64
}

// Stats counts what a Sender did since it was made. Failed counts attempts,
// Dead lossless events given up on, Held attempts that a setting of this
// program forbade, FramesDropped those that found no room or no receiver,
// Warned hooks that failed for a day, Disabled those that were switched off.
type Stats struct{ Delivered, Failed, Dead, Held, Frames, FramesFailed, FramesDropped, Warned, Disabled int64 }

// New makes a sender.
func New(cfg Config) *Sender {
	orElse(&cfg.PerHook, DefaultPerHook)
	orElse(&cfg.FrameQueue, DefaultFrameQueue)
	orElse(&cfg.Poll, DefaultPoll)
	orElse(&cfg.Consumer, "delivery")
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Jitter == nil {
		cfg.Jitter = jitter
	}
	return &Sender{cfg: cfg, log: slog.With("component", "delivery"), wake: make(chan struct{}, 1), lanes: map[string]*lane{}}
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
	return Stats{
		c.delivered.Load(), c.failed.Load(), c.dead.Load(), c.held.Load(), c.frames.Load(),
		c.frameFailed.Load(), c.frameDropped.Load(), c.warned.Load(), c.disabled.Load(),
	}
}

// Start implements service.Service.
func (s *Sender) Start(ctx context.Context) error {
	if err := s.reload(ctx); err != nil {
		return err
	}
	s.tasks.Go(s.run, s.tend, func(ctx context.Context) {
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
func (s *Sender) Close() error {
	errs := []error{s.tasks.Close()}
	for _, t := range s.cfg.Transports {
		errs = append(errs, t.Close())
	}
	return errors.Join(errs...)
}

// Reload makes a change of the hooks known at once.
func (s *Sender) Reload() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// kick lets every lane look for what is due.
func (s *Sender) kick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lanes {
		l.signal()
	}
}

// Offer hands a frame event to the hooks that want it. It never blocks: where
// the queue is full, the oldest frame goes and is counted.
func (s *Sender) Offer(ev event.Envelope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lanes {
		if s.wants(l.settings(), ev) && l.frames.push(ev) {
			l.drop()
		}
	}
}

// Dropped is how many frames an enabled hook did not get since it was
// enabled or the program began.
func (s *Sender) Dropped(hookID string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lanes[hookID]; l != nil {
		return l.dropped.Load()
	}
	return 0
}

// run keeps the lanes up to date until the context ends, and wakes those that
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

// reload starts a lane for a new hook, stops that of one that is gone or
// disabled, and wakes the others.
func (s *Sender) reload(ctx context.Context) error {
	hooks, health, err := s.load(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	live := map[string]bool{}
	for _, hook := range hooks {
		live[hook.ID] = true
		l := s.lanes[hook.ID]
		if l == nil {
			l = newLane(s, hook)
			if !s.tasks.Go(l.run) {
				return nil
			}
			s.lanes[hook.ID] = l
		}
		if old := l.update(hook, health[hook.ID]); !old.UpdatedAt.Equal(hook.UpdatedAt) {
			s.forget(old)
		}
	}
	for id, l := range s.lanes {
		if !live[id] {
			l.retire()
			s.forget(l.settings())
			delete(s.lanes, id)
		}
	}
	return nil
}

func (s *Sender) forget(h Hook) {
	if f, ok := s.cfg.Transports[h.Type].(Forgetter); ok {
		f.Forget(h.ID)
	}
}
