package db_test

import (
	"context"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/uptrace/bun"

	"stillwatch/internal/bus"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

// TestWipedRedisLosesNothing wipes Redis while events flow from the outbox to
// a handler: every event must take effect, and exactly once.
func TestWipedRedisLosesNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	d, err := db.Open(ctx, "sqlite://"+filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	url := testkit.Redis(t)
	b, err := bus.Open(ctx, bus.Config{URL: url, ClaimIdle: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	relay := db.NewRelay(d, b, db.RelayConfig{Poll: 20 * time.Millisecond, Tend: 20 * time.Millisecond})
	if err := relay.Start(ctx); err != nil {
		t.Fatal(err)
	}
	defer relay.Close()

	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	var mu sync.Mutex
	effects := map[string]int{}
	wg.Go(func() {
		_ = b.Consume(ctx, bus.Subscription{
			Topic: event.TopicActions, Group: "executors", Consumer: "one", Concurrency: 4,
			Handler: func(ctx context.Context, ev event.Envelope) error {
				return d.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
					first, err := d.Once(ctx, tx, "executors", ev.ID)
					if first {
						mu.Lock()
						defer mu.Unlock()
						effects[ev.ID]++
					}
					return err
				})
			},
		})
	})

	rdb := redis.NewClient(&redis.Options{Network: "unix", Addr: url[len("unix://"):]})
	defer rdb.Close()
	var ids []string
	for i := range 200 {
		ev := event.New(event.TypeActionRequested, "default:a/u", time.Now(), i)
		if err := d.Emit(ctx, event.TopicActions, ev); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, ev.ID)
		if i%40 == 20 {
			if err := rdb.FlushAll(ctx).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	handled := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(effects)
	}
	testkit.Eventually(t, 20*time.Second, func() bool { return handled() == len(ids) }, "every event had its effect")
	for id, n := range effects {
		if n != 1 || !slices.Contains(ids, id) {
			t.Errorf("event %s had its effect %d times", id, n)
		}
	}
	// What every group acknowledged is done, and the stream is trimmed.
	testkit.Eventually(t, 20*time.Second, func() bool {
		undone, err := d.NewSelect().Table("outbox").Where("done_at = 0").Count(ctx)
		st, statsErr := b.Stats(ctx)
		return err == nil && statsErr == nil && undone == 0 && len(st.Topics) == 1 && st.Topics[0].Length == 0
	}, "all is done and trimmed")
}
