package delivery

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"stillwatch/internal/db"
)

// lane serves one hook: goroutines that send frames, and one that looks for
// due deliveries and sends them, a bounded number at once.
type lane struct {
	s      *Sender
	frames *queue
	wake   chan struct{}
	gone   chan struct{}

	dropped atomic.Int64 // frames

	mu      sync.Mutex
	hook    Hook
	retired bool
	// flying are the ids of deliveries under way.
	flying   map[string]bool
	throttle throttle
	// health is what was last read or written of hook_health.
	health db.HookHealthRow
	said   time.Time // when the log last heard of a failure
}

func newLane(s *Sender, hook Hook) *lane {
	return &lane{
		s: s, hook: hook, frames: newQueue(s.cfg.FrameQueue), wake: make(chan struct{}, 1), gone: make(chan struct{}),
		flying: map[string]bool{},
	}
}

func (l *lane) settings() Hook {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hook
}

// update takes in the hook as it is now, looks for due deliveries, and
// returns the hook as it was.
func (l *lane) update(hook Hook, health db.HookHealthRow) (old Hook) {
	l.mu.Lock()
	old, l.hook, l.health = l.hook, hook, health
	l.mu.Unlock()
	l.frames.keepOrder(hook.Settings.Ordered)
	l.signal()
	return old
}

func (l *lane) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// retire ends run.
func (l *lane) retire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.retired {
		l.retired = true
		close(l.gone)
	}
}

func (l *lane) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	for n := range l.s.cfg.PerHook {
		wg.Go(func() { l.sendFrames(ctx, n == 0) })
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.gone:
			cancel()
			return
		case <-l.wake:
			if err := l.sendDue(ctx, &wg); err != nil && ctx.Err() == nil {
				l.s.log.Error("cannot deliver", "hook", l.settings().ID, "err", err)
			}
		}
	}
}

// sendDue starts the deliveries that are due, as many as there is room for. A
// finished one wakes the lane again.
func (l *lane) sendDue(ctx context.Context, wg *sync.WaitGroup) error {
	hook, now := l.settings(), l.s.cfg.Now()
	free := l.free(now)
	if free <= 0 {
		return nil
	}
	due, err := l.s.claim(ctx, hook, now, free, l.flies)
	if err != nil {
		return err
	}
	for _, d := range due {
		l.take(d.ID)
		wg.Go(func() {
			defer func() { l.release(d.ID); l.signal() }()
			if err := l.deliver(ctx, hook, d); err != nil && !errors.Is(err, context.Canceled) {
				l.s.log.Error("cannot note a delivery", "hook", hook.ID, "delivery", d.ID, "err", err)
			}
		})
	}
	return nil
}

// free is how many more deliveries may start: none while the receiver is
// given a rest, and one at a time after it until it takes something.
func (l *lane) free(now time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.throttle.room(now, l.s.cfg.PerHook) - len(l.flying)
}

func (l *lane) flies(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flying[id]
}

func (l *lane) take(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flying[id] = true
}

func (l *lane) release(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.flying, id)
}

// attempt encodes and sends one message within the hook's timeout.
func (s *Sender) attempt(ctx context.Context, hook Hook, m Message) Result {
	if hook.fault != nil {
		return Result{Err: hook.fault, Held: true}
	}
	if encode := s.cfg.Encoders[hook.Settings.BodyStyle]; encode != nil {
		body, wanted, err := encode(hook, m)
		if err != nil {
			return Result{Err: err}
		}
		if !wanted {
			return Result{}
		}
		m.Body = body
	}
	ctx, cancel := context.WithTimeout(ctx, hook.Timeout)
	defer cancel()
	res := s.cfg.Transports[hook.Type].Send(ctx, hook, m)
	res.Response = res.Response[:min(len(res.Response), MaxResponse)]
	return res
}
