package actions

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"stillwatch/internal/bus"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

// Where a child process finds its database and Redis.
const (
	childDB    = "ACTIONS_TEST_DB"
	childRedis = "ACTIONS_TEST_REDIS"
)

func TestMain(m *testing.M) {
	if os.Getenv(childDB) != "" {
		childMain()
		return
	}
	testkit.Main(m)
}

// childMain runs a relay and an executor until the process is killed.
func childMain() {
	ctx := context.Background()
	d, err := db.Open(ctx, os.Getenv(childDB))
	if err != nil {
		panic(err)
	}
	b, err := bus.Open(ctx, bus.Config{URL: os.Getenv(childRedis), ClaimIdle: time.Second, RetryDelay: 5 * time.Millisecond})
	if err != nil {
		panic(err)
	}
	_ = db.NewRelay(d, b, db.RelayConfig{Tend: 50 * time.Millisecond, Poll: 20 * time.Millisecond}).Start(ctx)
	_ = NewExecutor(Config{DB: d, Bus: b, Tend: 20 * time.Millisecond}).Start(ctx)
	select {}
}

func (w *world) node() *node {
	n := &node{}
	n.listen(w.bus)
	w.Cleanup(func() { _ = n.tasks.Close() })
	return n
}

// allConfirmed tells whether every action is.
func (w *world) allConfirmed(want int) bool {
	n, err := w.db.NewSelect().Model((*db.ActionRow)(nil)).Where("state = ?", db.ActionStateConfirmed).Count(context.Background())
	return err == nil && int(n) == want
}

// wantOnce checks that nothing was lost and nothing doubled.
func (w *world) wantOnce(bans int) {
	w.Helper()
	if n := w.rows((*db.BanRow)(nil)); n != bans {
		w.Errorf("%d bans of %d", n, bans)
	}
	for _, typ := range []string{event.UserBanned, event.TypeActionConfirmed} {
		seen := map[string]bool{}
		for _, ev := range w.outbox(typ) {
			seen[ev.Key] = true
		}
		if n := len(w.outbox(typ)); n != bans || len(seen) != bans {
			w.Errorf("%d %s about %d users, want %d", n, typ, len(seen), bans)
		}
	}
	if n := w.audits("ban"); n != bans {
		w.Errorf("%d audit lines of %d", n, bans)
	}
}

func TestBanGoesToTheNodeAndBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t).wire()
	n := w.node()
	w.start(NewExecutor(Config{DB: w.db, Bus: w.bus}))
	id, err := NewDesk(DeskConfig{DB: w.db}).Ban(t.Context(), BanRequest{UserID: "bob", ByUserID: "mod"})
	w.ok(err)
	began := time.Now()
	testkit.Eventually(t, wait, func() bool { return w.action(id).State == db.ActionStateConfirmed })
	t.Logf("requested to confirmed: %s", time.Since(began))
	if heard := n.heard(); len(heard) != 1 || heard[0].UserID != "bob" || heard[0].ActionID != id {
		t.Errorf("orders %+v", heard)
	}
	w.wantOnce(1)
	ev := decoded[event.ActionConfirmed](t, w.outbox(event.TypeActionConfirmed)[0])
	if ev.ActionID != id || !ev.ConfirmedAt.Equal(w.action(id).ConfirmedAt.Time) {
		t.Errorf("confirmed = %+v", ev)
	}
}

func TestADeafNodeIsAskedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t).wire()
	n := w.node()
	n.deaf = true
	clock := testkit.NewClock()
	clock.Set(time.Now())
	w.start(NewExecutor(Config{DB: w.db, Bus: w.bus, Now: clock.Now, Tend: 5 * time.Millisecond}))
	id, err := NewDesk(DeskConfig{DB: w.db}).Ban(t.Context(), BanRequest{UserID: "bob", ByUserID: "mod"})
	w.ok(err)
	testkit.Eventually(t, wait, func() bool { return len(n.heard()) == 1 })
	n.mu.Lock()
	n.deaf = false
	n.mu.Unlock()
	clock.Advance(2 * time.Second)
	testkit.Eventually(t, wait, func() bool { return w.action(id).State == db.ActionStateConfirmed })
	if heard := n.heard(); len(heard) != 2 || heard[0].ControlID != heard[1].ControlID {
		t.Errorf("orders %+v", heard)
	}
}

// crashing is a bus whose consumers die between the effect and the
// acknowledgement now and then: the event comes again.
type crashing struct {
	Bus
	crashes atomic.Int32
}

func (c *crashing) Consume(ctx context.Context, sub bus.Subscription) error {
	inner, tries := sub.Handler, atomic.Int32{}
	sub.Handler = func(ctx context.Context, ev event.Envelope) error {
		err := inner(ctx, ev)
		if err == nil && tries.Add(1)%2 == 1 {
			c.crashes.Add(1)
			return errors.New("died before the acknowledgement")
		}
		return err
	}
	return c.Bus.Consume(ctx, sub)
}

func TestCrashBetweenEffectAndAcknowledgement(t *testing.T) {
	t.Parallel()
	w := newWorld(t).wire()
	w.node()
	c := &crashing{Bus: w.bus}
	w.start(NewExecutor(Config{DB: w.db, Bus: c}))
	desk := NewDesk(DeskConfig{DB: w.db})
	for i := range 20 {
		_, err := desk.Ban(t.Context(), BanRequest{UserID: fmt.Sprint("u", i), ByUserID: "mod"})
		w.ok(err)
	}
	testkit.Eventually(t, wait, func() bool { return w.allConfirmed(20) })
	testkit.Eventually(t, wait, func() bool { return c.crashes.Load() >= 20 })
	w.wantOnce(20)
}

func TestWipedRedisLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t).wire()
	w.node()
	w.start(NewExecutor(Config{DB: w.db, Bus: w.bus, Tend: 20 * time.Millisecond}))
	opts, err := redis.ParseURL(w.redis)
	w.ok(err)
	rdb := redis.NewClient(opts)
	defer rdb.Close()
	desk := NewDesk(DeskConfig{DB: w.db})
	for i := range 30 {
		_, err := desk.Ban(t.Context(), BanRequest{UserID: fmt.Sprint("u", i), ByUserID: "mod"})
		w.ok(err)
		if i%7 == 3 {
			w.ok(rdb.FlushAll(t.Context()).Err())
		}
	}
	testkit.Eventually(t, 2*wait, func() bool { return w.allConfirmed(30) })
	w.wantOnce(30)
}

func TestKilledProcessLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.redis = testkit.Redis(t)
	b, err := bus.Open(t.Context(), bus.Config{URL: w.redis})
	w.ok(err)
	w.bus = b
	t.Cleanup(func() { _ = b.Close() })
	w.node()
	const bans = 24
	desk := NewDesk(DeskConfig{DB: w.db})
	kills := 0
	for i := range bans {
		_, err := desk.Ban(t.Context(), BanRequest{UserID: fmt.Sprint("u", i), ByUserID: "mod"})
		w.ok(err)
		if i%4 == 3 {
			w.child(func(kill func()) {
				// Somewhere in the middle of the work: after a random number
				// of bans were carried out.
				enough := w.rows((*db.BanRow)(nil)) + rand.IntN(4)
				testkit.Eventually(t, wait, func() bool { return w.rows((*db.BanRow)(nil)) >= min(enough, i+1) })
				kill()
				kills++
			})
		}
	}
	w.child(func(kill func()) {
		testkit.Eventually(t, 2*wait, func() bool { return w.allConfirmed(bans) })
		kill()
	})
	t.Logf("%d kills in the middle", kills)
	w.wantOnce(bans)
}

// child runs this test binary as an executor's process.
func (w *world) child(during func(kill func())) {
	w.Helper()
	self, err := os.Executable()
	w.ok(err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childDB+"=sqlite://"+w.dir+"/t.db", childRedis+"="+w.redis)
	w.ok(cmd.Start())
	killed := false
	kill := func() {
		if !killed {
			killed = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	defer kill()
	during(kill)
}
