// Package moderation looks at frames, decides by the policy what their
// verdicts lead to, and writes each decision down with all it stands on.
package moderation

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"stillwatch/internal/bus"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/service"
	"stillwatch/moderation/policy"
)

// Group is the consumer group that looks at frames.
const Group = "classify"

// System is the actor of automatic decisions.
const System = "system"

// Looker looks at a frame. It fills in State, Reason, Scores and Models of
// the verdict; the rest is the Service's. An error makes the verdict unknown
// as well, with the error as its reason. It must be safe for concurrent use.
type Looker interface {
	Look(ctx context.Context, frame event.FrameReady) (event.Verdict, error)
}

// Bus is what this package needs of the bus.
type Bus interface {
	Consume(ctx context.Context, sub bus.Subscription) error
	Publish(ctx context.Context, topic event.Topic, evs ...event.Envelope) error
}

// Defaults of a Service.
const (
	DefaultConcurrency = 2
	DefaultReuse       = 4
	// idle is after how long without a frame a participant is forgotten; who
	// comes back is restored from the database.
	idle = 30 * time.Minute
	// housekeeping is how often idle participants are dropped and decisions
	// that could not be written are tried again.
	housekeeping = time.Second
)

// Config sets a Service; DB, Bus, Looker and Policy are needed.
type Config struct {
	DB     *db.DB
	Bus    Bus
	Looker Looker
	// Policy holds where no rule or config of the API does. Those are in the
	// database, and their changes are in force within a second.
	Policy policy.Config
	// Concurrency is how many frames are looked at at once: the number of
	// model sessions. Frames of one participant are looked at in order.
	Concurrency int
	// Reuse is how many times in a row an unchanged picture (the same
	// perceptual hash on the same track) takes its predecessor's verdict
	// instead of a look; negative switches it off. Only harmless verdicts are
	// taken over (policy.Config.Suspect): what may lead to an action is looked
	// at each time.
	Reuse int
	// MaxAge is the age beyond which a frame is skipped; 0 means the bus's.
	MaxAge time.Duration
	// Consumer names this process within the consumer group.
	Consumer string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Service consumes frames and makes verdicts and decisions.
type Service struct {
	cfg      Config
	log      *slog.Logger
	tasks    service.Tasks
	verdicts *db.Batcher[db.VerdictRow]
	gaps     *db.Batcher[db.GapRow]
	recent   *recent
	count    struct{ frames, reused, unknown, skipped, decisions atomic.Int64 }

	mu     sync.Mutex
	engine *policy.Engine
	// policy is in force: that of the settings under the API's; mark tells
	// which state of the API's it was made of.
	policy policy.Config
	mark   policyMark
	// owed are decisions that are made and not yet written, by participant.
	owed map[policy.Person][]policy.Decision
	// lifted is when the bans of a user whose rules have fired were last
	// looked up.
	lifted map[string]time.Time
}

// Stats counts what a Service did since it was made. Unknown verdicts are an
// alarm: those frames were not judged.
type Stats struct{ Frames, Reused, Unknown, Skipped, Decisions, RowsDropped int64 }

// New makes a service for a policy that is valid.
func New(cfg Config) (*Service, error) {
	if err := cfg.Policy.Validate(); err != nil {
		return nil, err
	}
	if cfg.Concurrency <= 0 {
		cfg.Concurrency = DefaultConcurrency
	}
	if cfg.Reuse == 0 {
		cfg.Reuse = DefaultReuse
	}
	if cfg.Consumer == "" {
		cfg.Consumer = "moderation"
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Service{
		cfg: cfg, log: slog.With("component", "moderation"), engine: policy.New(cfg.Policy), policy: cfg.Policy,
		verdicts: db.NewBatcher[db.VerdictRow](cfg.DB), gaps: db.NewBatcher[db.GapRow](cfg.DB),
		owed: map[policy.Person][]policy.Decision{}, lifted: map[string]time.Time{},
	}
	s.recent = newRecent(cfg.Reuse, func(v event.Verdict) bool { return s.current().Suspect(v) })
	return s, nil
}

// Stats returns the counts.
func (s *Service) Stats() Stats {
	c := &s.count
	return Stats{
		c.frames.Load(), c.reused.Load(), c.unknown.Load(), c.skipped.Load(), c.decisions.Load(),
		s.verdicts.Dropped() + s.gaps.Dropped(),
	}
}

// PolicyVersion is the version of the policy in force.
func (s *Service) PolicyVersion() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.engine.Version()
}

// Start implements service.Service.
func (s *Service) Start(ctx context.Context) error {
	if err := s.Reload(ctx); err != nil {
		return err
	}
	if err := s.restoreBrake(ctx); err != nil {
		return err
	}
	if err := s.verdicts.Start(ctx); err != nil {
		return err
	}
	if err := s.gaps.Start(ctx); err != nil {
		return err
	}
	s.tasks.Go(s.keepHouse, func(ctx context.Context) {
		err := s.cfg.Bus.Consume(ctx, bus.Subscription{
			Topic: event.TopicFrames, Group: Group, Consumer: s.cfg.Consumer, Concurrency: s.cfg.Concurrency,
			Handler: s.Handle, OnSkip: s.skipped, MaxAge: s.cfg.MaxAge,
		})
		if err != nil {
			s.log.Error("cannot consume frames", "err", err)
		}
	}, s.consumeOutside)
	return nil
}

// Close stops the service and writes what waits to be written.
func (s *Service) Close() error {
	_ = s.tasks.Close()
	_ = s.verdicts.Close()
	return s.gaps.Close()
}

// Handle looks at one frame; other events are passed over. It succeeds only
// when every decision that the frame led to is in the database.
func (s *Service) Handle(ctx context.Context, ev event.Envelope) error {
	if ev.Type != event.TypeFrameReady {
		return nil
	}
	var f event.FrameReady
	if err := ev.Decode(&f); err != nil {
		return err
	}
	v, err := s.verdict(ctx, f)
	if err != nil {
		return err
	}
	s.count.frames.Add(1)
	s.tell(ctx, ev.Key, v)
	return s.decide(ctx, v)
}

// tell publishes the verdict and notes it, both lossy: what a decision stands
// on is written with the decision.
func (s *Service) tell(ctx context.Context, key string, v event.Verdict) {
	out := event.New(event.TypeVerdict, key, v.At, v)
	out.ID = v.VerdictID
	if err := s.cfg.Bus.Publish(ctx, event.TopicVerdicts, out); err != nil {
		s.log.Debug("verdict not published", "frame", v.Frame.FrameID, "err", err)
	}
	if row, err := verdictRow(v); err == nil {
		s.verdicts.Put(row)
	}
	if v.State == event.VerdictUnknown {
		s.unknown(ctx, key, v)
	}
}

// decide runs the policy and writes down what it decided, what earlier frames
// of the participant left unwritten first.
func (s *Service) decide(ctx context.Context, v event.Verdict) error {
	who := policy.Person{SessionID: v.Frame.SessionID, UserID: v.Frame.UserID}
	if err := s.remember(ctx, who, v); err != nil {
		return err
	}
	s.mu.Lock()
	s.owed[who] = append(s.owed[who], s.engine.Observe(v)...)
	if len(s.owed[who]) == 0 {
		delete(s.owed, who)
		s.mu.Unlock()
		return nil
	}
	s.mu.Unlock()
	return s.pay(ctx, who)
}

// pay writes the decisions owed to a participant, in order. One that fails
// stays owed; writing one twice has no effect.
func (s *Service) pay(ctx context.Context, who policy.Person) error {
	for {
		s.mu.Lock()
		list := s.owed[who]
		if len(list) == 0 {
			delete(s.owed, who)
			s.mu.Unlock()
			return nil
		}
		d := list[0]
		s.mu.Unlock()
		if err := s.write(ctx, d); err != nil {
			return fmt.Errorf("write decision %s on %s: %w", d.Rule, d.UserID, err)
		}
		s.mu.Lock()
		// Another caller may have paid it meanwhile.
		if list := s.owed[who]; len(list) > 0 && list[0].Same(d) {
			s.owed[who] = list[1:]
		}
		s.mu.Unlock()
	}
}

// keepHouse drops idle participants and pays what is owed, until ctx ends.
func (s *Service) keepHouse(ctx context.Context) {
	tick := time.NewTicker(housekeeping)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := s.Reload(ctx); err != nil && ctx.Err() == nil {
				s.log.Error("rules of the API not read; the last ones hold", "err", err)
			}
			s.settle(ctx)
		}
	}
}

func (s *Service) settle(ctx context.Context) {
	now := s.cfg.Now()
	s.mu.Lock()
	s.engine.Forget(now.Add(-idle))
	for user, at := range s.lifted {
		if now.Sub(at) > idle {
			delete(s.lifted, user)
		}
	}
	var owed []policy.Person
	for who := range s.owed {
		owed = append(owed, who)
	}
	s.mu.Unlock()
	s.recent.forget(now.Add(-idle))
	for _, who := range owed {
		if err := s.pay(ctx, who); err != nil && ctx.Err() == nil {
			s.log.Error("decision not written yet", "user", who.UserID, "err", err)
		}
	}
}
