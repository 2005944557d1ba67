package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

var errTest = errors.New("on purpose")

const within = 20 * time.Second

// quick are settings with short waits.
func quick(url string) Config {
	return Config{URL: url, ClaimIdle: 150 * time.Millisecond, RetryDelay: time.Millisecond}
}

func openBus(t *testing.T, cfg Config) *Bus {
	t.Helper()
	b, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 2 {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return b
}

// consume runs a subscription until the test ends, or stop is called.
func consume(t *testing.T, b *Bus, sub Subscription) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := b.Consume(ctx, sub); err != nil {
			t.Errorf("consume: %v", err)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// log keeps what handlers saw.
type log struct {
	mu  sync.Mutex
	evs []event.Envelope
}

func (l *log) add(ev event.Envelope) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.evs = append(l.evs, ev)
}

func (l *log) handle(_ context.Context, ev event.Envelope) error { l.add(ev); return nil }

func (l *log) ids(key string) (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ev := range l.evs {
		if key == "" || ev.Key == key {
			out = append(out, ev.ID)
		}
	}
	return out
}

func (l *log) len() int { return len(l.ids("")) }

func publish(t *testing.T, b *Bus, topic event.Topic, keys ...string) (ids []string) {
	t.Helper()
	evs := make([]event.Envelope, len(keys))
	for i, k := range keys {
		evs[i] = event.New("test", k, time.Now(), i)
		ids = append(ids, evs[i].ID)
	}
	if err := b.Publish(t.Context(), topic, evs...); err != nil {
		t.Fatal(err)
	}
	return ids
}

func pending(t *testing.T, b *Bus, topic event.Topic, group string) int64 {
	t.Helper()
	p, err := b.rdb.XPending(context.Background(), b.stream(topic), group).Result()
	if err != nil {
		return -1
	}
	return p.Count
}

func TestOpenTellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "http://x", "unix:///nowhere/r.sock", "redis://user:secret@127.0.0.1:1/0"} {
		b, err := Open(t.Context(), Config{URL: url})
		if err == nil {
			b.Close()
			t.Errorf("Open(%q) passed", url)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("Open(%q) tells the password: %v", url, err)
		}
	}
}

func TestOrderPerKeyWithManyWorkers(t *testing.T) {
	t.Parallel()
	b := openBus(t, quick(testkit.Redis(t)))
	var seen log
	var fails atomic.Int32
	var busy sync.Map
	consume(t, b, Subscription{
		Topic: event.TopicActions, Group: "g", Consumer: "c", Concurrency: 8,
		Handler: func(_ context.Context, ev event.Envelope) error {
			if _, twice := busy.LoadOrStore(ev.Key, true); twice {
				t.Errorf("two events of %s are handled at once", ev.Key)
			}
			defer busy.Delete(ev.Key)
			if n := fails.Add(1); n%7 == 0 { // a retry must not let others of its key pass
				return errTest
			}
			seen.add(ev)
			return nil
		},
	})
	want := map[string][]string{}
	for range 40 {
		var keys []string
		for k := range 10 {
			keys = append(keys, fmt.Sprint("key", k))
		}
		for i, id := range publish(t, b, event.TopicActions, keys...) {
			want[keys[i]] = append(want[keys[i]], id)
		}
	}
	testkit.Eventually(t, within, func() bool { return seen.len() >= 400 })
	for k, ids := range want {
		if got := seen.ids(k); !slices.Equal(got, ids) {
			t.Errorf("%s: got %d events in another order, want %d", k, len(got), len(ids))
		}
	}
	testkit.Eventually(t, within, func() bool { return pending(t, b, event.TopicActions, "g") == 0 }, "all acknowledged")
}

func TestStuckKeyDoesNotHoldUpOthers(t *testing.T) {
	t.Parallel()
	cfg := quick(testkit.Redis(t))
	cfg.RetryDelay = time.Hour
	b := openBus(t, cfg)
	var seen log
	consume(t, b, Subscription{
		Topic: event.TopicActions, Group: "g", Consumer: "c", Concurrency: 1,
		Handler: func(_ context.Context, ev event.Envelope) error {
			if ev.Key == "stuck" {
				return errTest
			}
			seen.add(ev)
			return nil
		},
	})
	ids := publish(t, b, event.TopicActions, "stuck", "a", "stuck", "b")
	testkit.Eventually(t, within, func() bool { return seen.len() == 2 })
	if got := seen.ids(""); !slices.Equal(got, []string{ids[1], ids[3]}) {
		t.Errorf("got %v", got)
	}
}

func TestTwoGroupsBothSeeAll(t *testing.T) {
	t.Parallel()
	b := openBus(t, quick(testkit.Redis(t)))
	var one, two log
	ids := publish(t, b, event.TopicPublic, "k", "k", "k") // before the groups are there
	consume(t, b, Subscription{Topic: event.TopicPublic, Group: "one", Consumer: "c", Handler: one.handle})
	consume(t, b, Subscription{Topic: event.TopicPublic, Group: "two", Consumer: "c", Handler: two.handle})
	testkit.Eventually(t, within, func() bool { return one.len() == 3 && two.len() == 3 })
	if !slices.Equal(one.ids(""), ids) || !slices.Equal(two.ids(""), ids) {
		t.Error("another order")
	}
}

func TestFromNowSkipsWhatWasBefore(t *testing.T) {
	t.Parallel()
	b := openBus(t, quick(testkit.Redis(t)))
	publish(t, b, event.TopicControl, "old")
	var seen log
	stop := consume(t, b, Subscription{Topic: event.TopicControl, Group: "node-1", Consumer: "c", Handler: seen.handle, FromNow: true})
	testkit.Eventually(t, within, func() bool { return pending(t, b, event.TopicControl, "node-1") == 0 }, "the group is there")
	first := publish(t, b, event.TopicControl, "k")
	testkit.Eventually(t, within, func() bool { return seen.len() == 1 })
	stop()
	missed := publish(t, b, event.TopicControl, "k") // while the node is away
	consume(t, b, Subscription{Topic: event.TopicControl, Group: "node-1", Consumer: "c", Handler: seen.handle, FromNow: true})
	testkit.Eventually(t, within, func() bool { return seen.len() == 2 })
	if got := seen.ids(""); !slices.Equal(got, append(first, missed...)) {
		t.Errorf("got %v, want %v then %v", got, first, missed)
	}
}

func TestTailSeesAllFromNowOn(t *testing.T) {
	t.Parallel()
	url := testkit.Redis(t)
	b := openBus(t, quick(url))
	publish(t, b, event.TopicPublic, "old")
	var logs [2]log
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for i := range logs {
		wg.Go(func() { _ = b.Tail(ctx, event.TopicPublic, logs[i].add) })
	}
	// Once both have seen one, all that follows must arrive.
	testkit.Eventually(t, within, func() bool {
		publish(t, b, event.TopicPublic, "try")
		return logs[0].len() > 0 && logs[1].len() > 0
	})
	ids := publish(t, b, event.TopicPublic, "k", "k", "k")
	rdb := client(t, url)
	testkit.Eventually(t, within, func() bool { return len(logs[0].ids("k")) == 3 && len(logs[1].ids("k")) == 3 })
	if err := rdb.FlushAll(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	ids = append(ids, publish(t, b, event.TopicPublic, "k")...)
	for i := range logs {
		testkit.Eventually(t, within, func() bool { return len(logs[i].ids("k")) == 4 }, "after FLUSHALL")
		if got := logs[i].ids("k"); !slices.Equal(got, ids) || len(logs[i].ids("old")) != 0 {
			t.Errorf("tail %d saw %v, want %v and nothing old", i, got, ids)
		}
	}
}

func client(t *testing.T, url string) *redis.Client {
	t.Helper()
	opts, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(opts)
	t.Cleanup(func() { c.Close() })
	return c
}

func TestConsumeRefusesHalfASubscription(t *testing.T) {
	t.Parallel()
	b := openBus(t, quick(testkit.Redis(t)))
	if err := b.Consume(t.Context(), Subscription{Topic: event.TopicActions, Group: "g"}); err == nil {
		t.Error("it ran")
	}
}

func TestConsumeEndsAtOnce(t *testing.T) {
	t.Parallel()
	b := openBus(t, quick(testkit.Redis(t)))
	stop := consume(t, b, Subscription{Topic: event.TopicActions, Group: "g", Consumer: "c", Handler: (&log{}).handle})
	testkit.Eventually(t, within, func() bool { return pending(t, b, event.TopicActions, "g") == 0 })
	began := time.Now()
	stop()
	if took := time.Since(began); took > readBlock/2 {
		t.Errorf("ending took %s: it waited for the read", took)
	}
}
