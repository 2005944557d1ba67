package delivery_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stillwatch/actions"
	"stillwatch/actions/delivery"
	"stillwatch/actions/webhook"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/netguard"
	"stillwatch/internal/testkit"
)

func TestDeliversSignedToHooksThatWantIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all, some, none := newReceiver(t, nil), newReceiver(t, nil), newReceiver(t, nil)
	w.hook("all", all.URL)
	w.hook("some", some.URL, event.UserBanned)
	w.hook("none", none.URL, event.UserFlagged)
	s := w.start(w.sender())
	ev := banned("e1")
	w.handle(s, ev, ev, frame(1))
	testkit.Eventually(t, wait, func() bool { return s.Stats().Delivered == 2 })
	if len(w.deliveries()) != 2 || len(none.all()) != 0 {
		t.Fatalf("%d deliveries, %d unwanted", len(w.deliveries()), len(none.all()))
	}
	for _, r := range []*receiver{all, some} {
		got := r.all()
		if len(got) != 1 {
			t.Fatalf("got %d", len(got))
		}
		h := got[0].header
		if string(got[0].body) != string(ev.Data) || h.Get("X-WEBHOOK-ID") != "e1" || h.Get("X-WEBHOOK-ATTEMPT") != "1" ||
			h.Get("X-API-KEY") != "key" || h.Get("Content-Type") != "application/json" || !webhook.Verify("secret", got[0].body, h.Get("X-SIGNATURE")) {
			t.Errorf("got %v %s", h, got[0].body)
		}
	}
}

func TestRetriesAtTheExactTimesThenGivesUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := newReceiver(t, status(http.StatusInternalServerError))
	w.hook("h", r.URL)
	s := w.start(w.sender())
	w.handle(s, banned("e1"))
	for n := 1; n < len(delivery.Schedule); n++ {
		d := w.settled(n)
		if want := w.clock.Now().Add(delivery.Schedule[n]); !d.NextAt.Equal(want) || d.State != db.DeliveryPending || d.LastStatus != 500 {
			t.Fatalf("after %d: next at %s, want %s (%s, %d)", n, d.NextAt, want, d.State, d.LastStatus)
		}
		w.clock.Set(d.NextAt.Add(-time.Nanosecond))
		s.Reload()
		if len(r.all()) != n {
			t.Fatal("too early")
		}
		w.clock.Set(d.NextAt.Time)
	}
	testkit.Eventually(t, wait, func() bool { return s.Stats().Dead == 1 })
	got := r.all()
	if len(got) != 10 || s.Stats().Failed != 10 || w.deliveries()[0].State != db.DeliveryDead {
		t.Fatalf("%d attempts, %+v", len(got), s.Stats())
	}
	for i, g := range got {
		if g.header.Get(webhook.HeaderID) != "e1" || g.header.Get(webhook.HeaderAttempt) != strconv.Itoa(i+1) {
			t.Errorf("attempt %d says %v", i+1, g.header)
		}
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := newReceiver(t, func(_ int, rw http.ResponseWriter) {
		rw.Header().Set("Retry-After", "120")
		rw.WriteHeader(http.StatusTooManyRequests)
	})
	w.hook("h", r.URL)
	w.handle(w.start(w.sender()), banned("e1"))
	if d := w.settled(1); !d.NextAt.Equal(w.clock.Now().Add(2 * time.Minute)) {
		t.Errorf("next at %s", d.NextAt)
	}
}

func TestGoneDisablesTheHook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := newReceiver(t, status(http.StatusGone))
	w.hook("h", r.URL)
	s := w.start(w.sender())
	w.handle(s, banned("e1"))
	testkit.Eventually(t, wait, func() bool {
		var row db.HookRow
		return w.db.NewSelect().Model(&row).Where("id = 'h'").Scan(t.Context()) == nil && !bool(row.Enabled)
	})
	w.handle(s, banned("e2"))
	if d := w.deliveries(); len(d) != 1 || d[0].State != db.DeliveryDead {
		t.Errorf("deliveries %+v", d)
	}
	if n, _ := w.db.NewSelect().Model((*db.AuditRow)(nil)).Where("verb = 'hook.disabled'").Count(t.Context()); n != 1 {
		t.Errorf("%d audit lines", n)
	}
}

func TestRedirectIsAFailureAndNotFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	target := newReceiver(t, nil)
	r := newReceiver(t, func(_ int, rw http.ResponseWriter) {
		rw.Header().Set("Location", target.URL)
		rw.WriteHeader(http.StatusPermanentRedirect)
	})
	w.hook("h", r.URL)
	w.handle(w.start(w.sender()), banned("e1"))
	if d := w.settled(1); d.LastStatus != 308 || d.State != db.DeliveryPending || len(target.all()) != 0 {
		t.Errorf("%+v, %d at the target", d, len(target.all()))
	}
}

func TestEndlessAnswerIsCutOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var sent atomic.Int64
	r := newReceiver(t, func(_ int, rw http.ResponseWriter) {
		for {
			n, err := rw.Write(make([]byte, 32<<10))
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
	})
	w.hook("h", r.URL)
	s := w.start(w.sender())
	w.handle(s, banned("e1"))
	testkit.Eventually(t, wait, func() bool { return s.Stats().Delivered == 1 })
	r.CloseClientConnections()
	if n := sent.Load(); n > 16<<20 {
		t.Errorf("took %d bytes", n)
	}
}

func TestARefusedAddressUsesUpNoSchedule(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	allowed := w.client
	w.client = netguard.New(netguard.Config{})
	r := newReceiver(t, nil)
	w.hook("h", r.URL)
	s := w.start(w.sender())
	w.handle(s, banned("e1"))
	for n := range int64(20) { // twice as often as the schedule has attempts
		testkit.Eventually(t, wait, func() bool { return s.Stats().Held == n+1 })
		d := w.deliveries()[0]
		if !strings.Contains(d.LastError, "netguard.allow") || d.Attempts != 0 || d.State != db.DeliveryPending {
			t.Fatalf("%+v", d)
		}
		w.clock.Set(d.NextAt.Time)
	}
	testkit.Eventually(t, wait, func() bool { return s.Stats().Held == 21 })
	_ = s.Close()
	w.client = allowed
	again := w.start(w.sender())
	if n, err := again.Replay(t.Context(), "h", actions.Replay{EventIDs: []string{"e1"}}, "mo"); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	testkit.Eventually(t, wait, func() bool { return again.Stats().Delivered == 1 })
	if got := r.all()[0].header.Get(webhook.HeaderAttempt); got != "1" {
		t.Errorf("attempt %s: what was never sent was counted", got)
	}
}

func TestSlowReceiverDelaysNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release := make(chan struct{})
	let := sync.OnceFunc(func() { close(release) })
	slow := newReceiver(t, func(int, http.ResponseWriter) { <-release })
	t.Cleanup(let)
	fast := newReceiver(t, nil)
	w.hook("a-slow", slow.URL)
	w.hook("b-fast", fast.URL)
	if _, err := w.db.NewUpdate().Model((*db.HookRow)(nil)).Set("timeout_ms = 60000").Where("1 = 1").Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := w.start(w.sender())
	for n := range 30 {
		w.handle(s, banned(fmt.Sprint("e", n)))
		s.Offer(frame(n))
	}
	testkit.Eventually(t, wait, func() bool { return len(fast.all()) == 60 })
	if n := len(slow.all()); n > 2*delivery.DefaultPerHook {
		t.Errorf("%d requests at once to the slow one", n)
	}
	let()
	testkit.Eventually(t, wait, func() bool { return s.Stats().Delivered == 60 })
}

func TestRestartResumesWhatIsPending(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var healthy atomic.Bool
	r := newReceiver(t, func(_ int, rw http.ResponseWriter) {
		if !healthy.Load() {
			rw.WriteHeader(http.StatusBadGateway)
		}
	})
	w.hook("h", r.URL)
	first := w.start(w.sender())
	w.handle(first, banned("e1"))
	w.settled(1)
	_ = first.Close()
	healthy.Store(true)
	w.clock.Advance(5 * time.Second)
	second := w.start(w.sender())
	testkit.Eventually(t, wait, func() bool { return second.Stats().Delivered == 1 })
	if got := r.all(); got[len(got)-1].header.Get(webhook.HeaderAttempt) != "2" {
		t.Errorf("attempt %s", got[len(got)-1].header.Get(webhook.HeaderAttempt))
	}
}

func TestAClaimOutlivesItsProcessForAWhileOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := newReceiver(t, nil)
	w.hook("h", r.URL)
	s := w.sender()
	w.handle(s, banned("e1"))
	// A process claimed the delivery and died.
	if n, err := s.Claim(t.Context(), "h"); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	if n, err := s.Claim(t.Context(), "h"); err != nil || n != 0 {
		t.Fatal("claimed twice", err)
	}
	w.start(s)
	w.clock.Advance(2*time.Second + delivery.ClaimSlack - time.Nanosecond)
	s.Reload()
	if n := len(r.all()); n != 0 {
		t.Fatal("delivered under another's claim")
	}
	w.clock.Advance(time.Nanosecond)
	testkit.Eventually(t, wait, func() bool { return s.Stats().Delivered == 1 })
	if a := r.all()[0].header.Get(webhook.HeaderAttempt); a != "2" {
		t.Errorf("attempt %s", a)
	}
}

func TestCloseGivesBackWhatItBreaksOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release := make(chan struct{})
	let := sync.OnceFunc(func() { close(release) })
	r := newReceiver(t, func(n int, _ http.ResponseWriter) {
		if n == 1 {
			<-release
		}
	})
	t.Cleanup(let)
	w.hook("h", r.URL)
	s := w.start(w.sender())
	w.handle(s, banned("e1"))
	testkit.Eventually(t, wait, func() bool { return len(r.all()) == 1 })
	_ = s.Close()
	if d := w.deliveries()[0]; d.State != db.DeliveryPending || d.NextAt.After(w.clock.Now()) || d.Attempts != 1 {
		t.Fatalf("delivery %+v", d)
	}
	again := w.start(w.sender())
	testkit.Eventually(t, wait, func() bool { return again.Stats().Delivered == 1 })
}

func TestFramesDropTheOldest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release := make(chan struct{})
	r := newReceiver(t, func(n int, _ http.ResponseWriter) {
		if n == 1 {
			<-release
		}
	})
	w.hook("h", r.URL)
	s := w.start(w.sender(func(c *delivery.Config) { c.PerHook, c.FrameQueue = 1, 3 }))
	s.Offer(frame(0))
	testkit.Eventually(t, wait, func() bool { return len(r.all()) == 1 })
	for n := 1; n <= 10; n++ {
		s.Offer(frame(n))
	}
	close(release)
	testkit.Eventually(t, wait, func() bool { return s.Stats().Frames == 4 })
	if s.Stats().FramesDropped != 7 {
		t.Errorf("stats %+v", s.Stats())
	}
	if got := r.all(); string(got[1].body) != `{"n":8}` || string(got[3].body) != `{"n":10}` {
		t.Errorf("got %s … %s", got[1].body, got[3].body)
	}
	if len(w.deliveries()) != 0 {
		t.Error("frames in the database")
	}
}

func TestFrameIsTriedThreeTimes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := newReceiver(t, status(http.StatusServiceUnavailable))
	w.hook("h", r.URL)
	s := w.start(w.sender())
	s.Offer(frame(1))
	testkit.Eventually(t, wait, func() bool { return s.Stats().FramesDropped == 1 })
	got := r.all()
	if len(got) != 3 || got[2].header.Get(webhook.HeaderAttempt) != "3" || got[2].header.Get(webhook.HeaderID) != "frame-1" {
		t.Errorf("%d tries", len(got))
	}
}

func TestHooksComeAndGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(w.sender())
	r := newReceiver(t, nil)
	w.hook("late", r.URL)
	w.handle(s, banned("e1"))
	testkit.Eventually(t, wait, func() bool { return len(r.all()) == 1 })
	if _, err := w.db.NewUpdate().Model((*db.HookRow)(nil)).Set("enabled = 0").Where("1 = 1").Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, wait, func() bool { return s.Lanes() == 0 })
	w.handle(s, banned("e2"))
	if len(w.deliveries()) != 1 {
		t.Error("delivery for a disabled hook")
	}
}
