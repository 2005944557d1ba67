package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"stillwatch/actions/delivery"
	"stillwatch/actions/webhook"
	"stillwatch/internal/bus"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

// outage is a whole chain, outbox to receiver, of which any part can be away.
type outage struct {
	*world
	redis  *bus.Server
	bus    *bus.Bus
	sender *delivery.Sender
	addr   string

	mu  sync.Mutex
	got map[string]int
}

func newOutage(t *testing.T) *outage {
	t.Helper()
	o := &outage{world: newWorld(t), got: map[string]int{}}
	o.clock.Set(time.Now()) // the outbox has the machine's clock; from here on simulated time runs ahead
	o.redis = bus.NewServer(t.TempDir())
	if err := o.redis.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.redis.Close() })
	var err error
	if o.bus, err = bus.Open(t.Context(), bus.Config{URL: o.redis.URL(), ClaimIdle: time.Second}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.bus.Close() })
	relay := db.NewRelay(o.db, o.bus, db.RelayConfig{Tend: 20 * time.Millisecond, Poll: 20 * time.Millisecond, Now: o.clock.Now})
	if err := relay.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = relay.Close() })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.addr = l.Addr().String()
	_ = l.Close() // the receiver is down from the start
	o.hook("backend", "http://"+o.addr+"/")
	o.startSender()
	t.Cleanup(func() { _ = o.sender.Close() })
	return o
}

func (o *outage) startSender() {
	o.Helper()
	o.sender = o.world.sender(func(c *delivery.Config) { c.Bus, c.Jitter, c.Poll = o.bus, nil, 10*time.Millisecond })
	if err := o.sender.Start(context.Background()); err != nil {
		o.Fatal(err)
	}
}

// receiverUp brings the receiver back, on the address it had.
func (o *outage) receiverUp() {
	o.Helper()
	l, err := net.Listen("tcp", o.addr)
	if err != nil {
		o.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.got[r.Header.Get(webhook.HeaderID)]++
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	o.Cleanup(func() { _ = srv.Close(); <-done })
}

// calm waits until all that is due by the simulated clock was tried.
func (o *outage) calm() {
	o.Helper()
	testkit.Eventually(o.TB, wait, func() bool {
		due, err := o.db.NewSelect().Model((*db.DeliveryRow)(nil)).Where("state = 'pending'").Where("next_at <= ?", db.At(o.clock.Now())).Count(o.Context())
		if err != nil {
			o.Fatal(err)
		}
		unfanned, err := o.db.NewSelect().Model((*db.PublicEventRow)(nil)).Where("fanned_at = 0").Count(o.Context())
		return err == nil && due == 0 && unfanned == 0 && o.sender.Idle()
	}, "everything due was tried")
}

func (o *outage) killRedis() {
	o.Helper()
	pid := o.redis.PID()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		o.Fatal(err)
	}
	testkit.Eventually(o.TB, wait, func() bool { return o.redis.PID() != pid && o.bus.Ready(o.Context()) == nil }, "redis is back")
}

func (o *outage) flushRedis() {
	o.Helper()
	opts, err := redis.ParseURL(o.redis.URL())
	if err != nil {
		o.Fatal(err)
	}
	c := redis.NewClient(opts)
	defer c.Close()
	if err := c.FlushAll(o.Context()).Err(); err != nil {
		o.Fatal(err)
	}
}

func (o *outage) happen(ids ...string) {
	o.Helper()
	types := []string{event.UserBanned, event.UserFlagged, event.CallKickedUser, "call.recording_ready", "call.recording_stopped"}
	for i, id := range ids {
		typ := types[(len(id)+i+int(id[len(id)-1]))%len(types)]
		ev := event.New(typ, "default:abc/bob", o.clock.Now(), map[string]string{"type": typ, "n": id})
		ev.ID = id
		if err := o.db.Emit(o.Context(), event.TopicPublic, ev); err != nil {
			o.Fatal(err)
		}
	}
}

// TestEveryEventArrivesAfterAnOutage takes the receiver away for a while, and
// meanwhile kills Redis, empties it and restarts the sender.
func TestEveryEventArrivesAfterAnOutage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		away, step time.Duration
		each       int
	}{
		"10 minutes": {10 * time.Minute, 20 * time.Second, 5},
		"3 days":     {72 * time.Hour, time.Hour, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOutage(t)
			var sent []string
			steps := int(c.away / c.step)
			for n := range steps {
				var ids []string
				for i := range c.each {
					ids = append(ids, fmt.Sprintf("event-%d-%d", n, i))
				}
				sent = append(sent, ids...)
				switch n {
				case steps / 5: // what happens while the sender is away waits for it
					_ = o.sender.Close()
					o.happen(ids...)
					o.startSender()
				case 2 * steps / 5:
					o.happen(ids...)
					o.killRedis()
				case 3 * steps / 5: // the only copy outside of the database is lost
					_ = o.sender.Close()
					o.happen(ids...)
					o.flushRedis()
					o.startSender()
				case 4 * steps / 5:
					o.flushRedis()
					o.happen(ids...)
				default:
					o.happen(ids...)
				}
				o.calm()
				o.clock.Advance(c.step)
			}
			_ = o.sender.Close() // at the end of the outage as well
			o.receiverUp()
			o.startSender()
			dead := o.sender.Stats().Dead
			for range 40 { // the longest pause of the schedule is 28.8 h
				o.calm()
				o.clock.Advance(time.Hour)
			}
			o.calm()
			o.mu.Lock()
			defer o.mu.Unlock()
			duplicates := 0
			var missing []error
			for _, id := range sent {
				if o.got[id] == 0 {
					missing = append(missing, errors.New(id))
				}
				duplicates += max(0, o.got[id]-1)
			}
			if len(missing) > 0 {
				t.Fatalf("%d of %d events never arrived: %v", len(missing), len(sent), missing)
			}
			if len(o.got) != len(sent) {
				t.Errorf("%d ids arrived, %d were sent", len(o.got), len(sent))
			}
			t.Logf("%d events, all arrived, %d duplicates, all under the id of the event; %d given up for a time", len(sent), duplicates, dead)
		})
	}
}
