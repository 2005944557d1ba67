package moderation

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"stillwatch/internal/bus"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/service"
	"stillwatch/internal/testkit"
)

// dying is a bus whose consumer dies now and then before it acknowledges.
type dying struct {
	Bus
	handled, deaths atomic.Int32
	done            sync.Map // ids of the events whose handler has succeeded
}

func (d *dying) Consume(ctx context.Context, sub bus.Subscription) error {
	inner := sub.Handler
	sub.Handler = func(ctx context.Context, ev event.Envelope) error {
		err := inner(ctx, ev)
		if err == nil {
			d.done.Store(ev.ID, true)
		}
		if err == nil && d.handled.Add(1)%3 == 1 {
			d.deaths.Add(1)
			return errors.New("died before the acknowledgement")
		}
		return err
	}
	return d.Bus.Consume(ctx, sub)
}

// TestFramesBecomeActionsOverTheBus shows frames of explicit and of harmless
// participants, with consumers that die, and with a Redis that is wiped once
// the decisions are made and before anybody has acted on them.
func TestFramesBecomeActionsOverTheBus(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	url := testkit.Redis(t)
	b, err := bus.Open(t.Context(), bus.Config{URL: url, RetryDelay: 5 * time.Millisecond, MaxAge: time.Minute})
	w.ok(err)
	t.Cleanup(func() { _ = b.Close() })
	relay := db.NewRelay(w.db, b, db.RelayConfig{Tend: 50 * time.Millisecond})
	w.ok(relay.Start(t.Context()))
	t.Cleanup(func() { _ = relay.Close() })
	bad := &dying{Bus: b}
	w.service(func(c *Config) { c.Bus = bad })

	const people = 8
	for n := range 5 {
		for u := range people {
			f := w.frame(fmt.Sprint("u", u), n, fmt.Sprint(u%2)) // the odd ones are explicit
			w.ok(b.Publish(t.Context(), event.TopicFrames, ready(f)))
			// One at a time: frames are lossy, and a newer one of the track
			// would take the place of this one.
			testkit.Eventually(t, wait, func() bool { _, ok := bad.done.Load(ready(f).ID); return ok })
		}
	}
	testkit.Eventually(t, wait, func() bool { return len(w.decisions()) == people })
	if bad.deaths.Load() == 0 {
		t.Error("nobody died")
	}

	opts, err := redis.ParseURL(url)
	w.ok(err)
	rdb := redis.NewClient(opts)
	defer rdb.Close()
	w.ok(rdb.FlushAll(t.Context()).Err())

	var mu sync.Mutex
	got := map[string]string{}
	var tasks service.Tasks
	t.Cleanup(func() { _ = tasks.Close() })
	tasks.Go(func(ctx context.Context) {
		_ = b.Consume(ctx, bus.Subscription{
			Topic: event.TopicActions, Group: "executors", Consumer: "c",
			Handler: func(_ context.Context, ev event.Envelope) error {
				var req event.ActionRequested
				if err := ev.Decode(&req); err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				got[req.ActionID] = req.UserID + " " + string(req.Kind)
				return nil
			},
		})
	})
	testkit.Eventually(t, wait, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(got) == people
	})
	seen := map[string]int{}
	for _, what := range got {
		seen[what]++
	}
	for u := range people {
		want := u % 2
		for _, kind := range []string{"flag", "ban"} {
			if n := seen[fmt.Sprintf("u%d %s", u, kind)]; n != want {
				t.Errorf("u%d: %d times %s, want %d", u, n, kind, want)
			}
		}
	}
}
