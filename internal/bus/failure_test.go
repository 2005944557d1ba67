package bus

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

func TestPoisonIsParkedAndRedriven(t *testing.T) {
	t.Parallel()
	b := openBus(t, quick(testkit.Redis(t)))
	var healed atomic.Bool
	var tries atomic.Int32
	var seen, other log
	consume(t, b, Subscription{
		Topic: event.TopicActions, Group: "g", Consumer: "worker-7", Concurrency: 2,
		Handler: func(_ context.Context, ev event.Envelope) error {
			if ev.Key == "poison" && !healed.Load() {
				if tries.Add(1)%2 == 0 {
					panic("boom")
				}
				return errTest
			}
			seen.add(ev)
			return nil
		},
	})
	consume(t, b, Subscription{Topic: event.TopicActions, Group: "other", Consumer: "c", Handler: other.handle})
	ids := publish(t, b, event.TopicActions, "poison", "good")
	var dead []DeadEntry
	testkit.Eventually(t, within, func() bool {
		dead, _ = b.Dead(t.Context(), event.TopicActions, 10)
		return len(dead) == 1
	}, "parked")
	d := dead[0]
	if d.Event.ID != ids[0] || d.Tries != 5 || tries.Load() != 5 || d.Consumer != "worker-7" || d.Group != "g" ||
		!strings.Contains(d.Reason, errTest.Error()) || time.Since(d.At) > time.Minute {
		t.Errorf("after %d tries: %+v", tries.Load(), d)
	}
	testkit.Eventually(t, within, func() bool { return pending(t, b, event.TopicActions, "g") == 0 }, "off the pending list")
	healed.Store(true)
	if n, err := b.Redrive(t.Context(), event.TopicActions, d.ID, "0-7"); n != 1 || err != nil {
		t.Fatalf("redriven %d, %v", n, err)
	}
	testkit.Eventually(t, within, func() bool { return slices.Contains(seen.ids("poison"), ids[0]) }, "handled after redrive")
	testkit.Eventually(t, within, func() bool { return pending(t, b, event.TopicActions, "other") == 0 })
	if left, err := b.Dead(t.Context(), event.TopicActions, 10); len(left) != 0 || err != nil {
		t.Errorf("left: %v %v", left, err)
	}
	if n := len(other.ids("poison")); n != 1 {
		t.Errorf("the group that did not fail saw the event %d times", n)
	}
	st, err := b.Stats(t.Context())
	if err != nil || st.Parked != 1 || st.Failed != 5 || len(st.Topics) != 1 || len(st.Topics[0].Groups) != 2 {
		t.Errorf("stats %+v, %v", st, err)
	}
}

func TestEntryThatIsNoEventIsParked(t *testing.T) {
	t.Parallel()
	b := openBus(t, quick(testkit.Redis(t)))
	var seen log
	for _, values := range [][]any{{"x", "y"}, {fieldEvent, "{"}, {fieldEvent, `[1]`}} {
		if err := b.rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: b.stream(event.TopicActions), Values: values}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, b, event.TopicActions, "k")
	consume(t, b, Subscription{Topic: event.TopicActions, Group: "g", Consumer: "c", Handler: seen.handle})
	testkit.Eventually(t, within, func() bool {
		dead, _ := b.Dead(t.Context(), event.TopicActions, 10)
		return len(dead) == 3 && seen.len() == 1
	})
}

func TestDeadConsumersEntriesAreTakenOver(t *testing.T) {
	t.Parallel()
	b := openBus(t, quick(testkit.Redis(t)))
	ctx := t.Context()
	ids := publish(t, b, event.TopicActions, "k", "k", "k")
	// "gone" reads them all and is never heard of again; one entry is
	// deleted under it.
	if err := b.Declare(ctx, event.TopicActions, "g"); err != nil {
		t.Fatal(err)
	}
	res, err := b.rdb.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: "g", Consumer: "gone", Streams: []string{b.stream(event.TopicActions), ">"},
	}).Result()
	if err != nil || len(res[0].Messages) != 3 {
		t.Fatal(res, err)
	}
	if err := b.rdb.XDel(ctx, b.stream(event.TopicActions), res[0].Messages[1].ID).Err(); err != nil {
		t.Fatal(err)
	}
	var seen log
	consume(t, b, Subscription{Topic: event.TopicActions, Group: "g", Consumer: "alive", Handler: seen.handle})
	testkit.Eventually(t, within, func() bool { return seen.len() == 2 && pending(t, b, event.TopicActions, "g") == 0 })
	if got := seen.ids(""); !slices.Equal(got, []string{ids[0], ids[2]}) {
		t.Errorf("got %v", got)
	}
	if st, err := b.Stats(ctx); err != nil || st.Deleted != 1 || st.Claimed != 2 {
		t.Errorf("deleted %d, claimed %d, %v", st.Deleted, st.Claimed, err)
	}
}

func TestOwnEntriesAreTakenUpAfterRestart(t *testing.T) {
	t.Parallel()
	cfg := quick(testkit.Redis(t))
	cfg.ClaimIdle = time.Hour // only its own list can give them back
	b := openBus(t, cfg)
	ids := publish(t, b, event.TopicActions, "k", "k", "gone")
	if err := b.Declare(t.Context(), event.TopicActions, "g"); err != nil {
		t.Fatal(err)
	}
	res, err := b.rdb.XReadGroup(t.Context(), &redis.XReadGroupArgs{
		Group: "g", Consumer: "c", Streams: []string{b.stream(event.TopicActions), ">"},
	}).Result()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.rdb.XDel(t.Context(), b.stream(event.TopicActions), res[0].Messages[2].ID).Err(); err != nil {
		t.Fatal(err)
	}
	ids = append(ids[:2], publish(t, b, event.TopicActions, "k")...)
	var seen log
	consume(t, b, Subscription{Topic: event.TopicActions, Group: "g", Consumer: "c", Handler: seen.handle})
	testkit.Eventually(t, within, func() bool { return seen.len() == 3 && pending(t, b, event.TopicActions, "g") == 0 })
	if got := seen.ids(""); !slices.Equal(got, ids) {
		t.Errorf("got %v, want %v", got, ids)
	}
}

// TestEventThatKillsItsConsumer: an event that was delivered often and never
// answered is parked without being handled.
func TestEventThatKillsItsConsumer(t *testing.T) {
	t.Parallel()
	b := openBus(t, quick(testkit.Redis(t)))
	publish(t, b, event.TopicActions, "killer")
	if err := b.Declare(t.Context(), event.TopicActions, "g"); err != nil {
		t.Fatal(err)
	}
	stream := b.stream(event.TopicActions)
	read := func(id string) {
		err := b.rdb.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{stream, id}}).Err()
		if err != nil {
			t.Fatal(err)
		}
	}
	read(">")
	for range 4 { // each start of the process reads it again, and dies
		read("0")
	}
	var seen log
	consume(t, b, Subscription{Topic: event.TopicActions, Group: "g", Consumer: "c", Handler: seen.handle})
	testkit.Eventually(t, within, func() bool {
		dead, _ := b.Dead(t.Context(), event.TopicActions, 10)
		return len(dead) == 1
	})
	if seen.len() != 0 {
		t.Error("it was handled once more")
	}
}

func TestSlowHandlerIsNotRobbed(t *testing.T) {
	t.Parallel()
	cfg := quick(testkit.Redis(t))
	cfg.ClaimIdle = time.Second // with room for a machine that is busy
	b := openBus(t, cfg)
	release := make(chan struct{})
	var calls atomic.Int32
	handler := func(context.Context, event.Envelope) error {
		calls.Add(1)
		<-release
		return nil
	}
	for _, name := range []string{"a", "b"} {
		consume(t, b, Subscription{Topic: event.TopicActions, Group: "g", Consumer: name, Handler: handler})
	}
	publish(t, b, event.TopicActions, "k")
	testkit.Eventually(t, within, func() bool { return calls.Load() == 1 })
	// Watch the entry's idle time pass the limit of claiming several times
	// over: it must be reset before it gets there.
	until := time.Now().Add(5 * cfg.ClaimIdle / 2)
	testkit.Eventually(t, within, func() bool { return time.Now().After(until) })
	close(release)
	testkit.Eventually(t, within, func() bool { return pending(t, b, event.TopicActions, "g") == 0 })
	if n := calls.Load(); n != 1 {
		t.Errorf("handled %d times", n)
	}
}

func TestWipeWhileConsuming(t *testing.T) {
	t.Parallel()
	b := openBus(t, quick(testkit.Redis(t)))
	var seen log
	consume(t, b, Subscription{Topic: event.TopicControl, Group: "node-1", Consumer: "c", Handler: seen.handle, FromNow: true})
	testkit.Eventually(t, within, func() bool { return pending(t, b, event.TopicControl, "node-1") == 0 })
	if ok, err := b.Remembers(t.Context()); ok || err != nil {
		t.Errorf("it remembers what it was never told: %v", err)
	}
	if err := b.Remember(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ok, _ := b.Remembers(t.Context()); !ok {
		t.Error("it forgot")
	}
	for range 3 {
		if err := b.rdb.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		// Published before the group is made again: FromNow must not hide it.
		ids := publish(t, b, event.TopicControl, "k")
		testkit.Eventually(t, within, func() bool { return slices.Contains(seen.ids(""), ids[0]) }, "seen after FLUSHALL")
	}
	if ok, _ := b.Remembers(t.Context()); ok {
		t.Error("it remembers across FLUSHALL")
	}
}
