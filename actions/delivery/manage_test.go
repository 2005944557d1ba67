package delivery_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"stillwatch/actions"
	"stillwatch/actions/delivery"
	"stillwatch/actions/webhook"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

// suite is what must hold on both databases.
var suite = map[string]func(t *testing.T, w *world){
	"replay":                  testReplay,
	"replay revives the dead": testReplayRevivesTheDead,
	"attempts keep the beginning of the answer":                testAttemptsKeepTheBeginningOfTheAnswer,
	"rotation signs with both for a day":                       testRotationSignsWithBothForADay,
	"a hook that fails for five days is switched off and told": testAHookThatFailsForFiveDaysIsSwitchedOffAndTold,
	"ordered hooks get a calls events in order":                testOrderedHooksGetACallsEventsInOrder,
	"old deliveries go":                                        testOldDeliveriesGo,
	"what the bus lost is swept up":                            testWhatTheBusLostIsSweptUp,
}

func TestOnSQLite(t *testing.T) {
	t.Parallel()
	for name, test := range suite {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newWorld(t))
		})
	}
}

func TestOnPostgreSQL(t *testing.T) {
	t.Parallel()
	server := testkit.Postgres(t)
	admin, err := db.Open(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close() })
	n := 0
	for name, test := range suite {
		n++
		own := fmt.Sprint("t", n)
		if _, err := admin.ExecContext(t.Context(), "CREATE DATABASE "+own); err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			test(t, newWorldOn(t, strings.Replace(server, "/postgres?", "/"+own+"?", 1)))
		})
	}
}

func (r *receiver) ids() map[string]int {
	out := map[string]int{}
	for _, g := range r.all() {
		out[g.header.Get(webhook.HeaderID)]++
	}
	return out
}

func testReplay(t *testing.T, w *world) {
	first := newReceiver(t, nil)
	w.hook("first", first.URL)
	s := w.start(w.sender())
	start := w.clock.Now()
	for n := range 10 {
		w.handle(s, banned(fmt.Sprint("e", n)))
		w.clock.Advance(time.Minute)
	}
	testkit.Eventually(t, wait, func() bool { return s.Stats().Delivered == 10 })
	late := newReceiver(t, nil)
	w.hook("late", late.URL)
	replay := func(hook string, r actions.Replay, want int) {
		t.Helper()
		if n, err := s.Replay(t.Context(), hook, r, "mo"); err != nil || n != want {
			t.Fatalf("replayed %d, %v; want %d", n, err, want)
		}
	}
	// By range, to a hook that was not there then.
	replay("late", actions.Replay{Since: start.Add(2 * time.Minute), Until: start.Add(5 * time.Minute), OnlyMissing: true}, 3)
	testkit.Eventually(t, wait, func() bool { return len(late.all()) == 3 })
	if ids := late.ids(); ids["e2"] != 1 || ids["e3"] != 1 || ids["e4"] != 1 {
		t.Errorf("by range: %v", ids)
	}
	testkit.Eventually(t, wait, func() bool { return s.Stats().Delivered == 13 })
	// Only what is missing.
	replay("late", actions.Replay{Since: start, OnlyMissing: true}, 7)
	testkit.Eventually(t, wait, func() bool { return s.Stats().Delivered == 20 })
	if ids := late.ids(); len(ids) != 10 || len(late.all()) != 10 {
		t.Errorf("missing: %v", ids)
	}
	replay("late", actions.Replay{Since: start, OnlyMissing: true}, 0)
	// By id, although it was delivered: the same id, the next attempt.
	replay("first", actions.Replay{EventIDs: []string{"e7", "nobody"}}, 1)
	testkit.Eventually(t, wait, func() bool { return s.Stats().Delivered == 21 })
	got := first.all()[10]
	if got.header.Get(webhook.HeaderID) != "e7" || got.header.Get(webhook.HeaderAttempt) != "2" {
		t.Errorf("by id: %v", got.header)
	}
	replay("first", actions.Replay{Since: start, EventTypes: []string{"user.flagged"}}, 0)
	if _, err := s.Replay(t.Context(), "nobody", actions.Replay{Since: start}, "mo"); err == nil || !strings.Contains(err.Error(), actions.ErrNoHook.Error()) {
		t.Errorf("to no hook: %v", err)
	}
}

func testReplayRevivesTheDead(t *testing.T, w *world) {
	var healthy atomic.Bool
	r := newReceiver(t, func(_ int, rw http.ResponseWriter) {
		if !healthy.Load() {
			rw.WriteHeader(http.StatusInternalServerError)
		}
	})
	w.hook("h", r.URL)
	s := w.start(w.sender())
	w.handle(s, banned("e1"))
	for n := int64(1); n <= 10; n++ {
		testkit.Eventually(t, wait, func() bool { return s.Stats().Failed == n })
		if n < 10 {
			w.clock.Set(w.deliveries()[0].NextAt.Time)
		}
	}
	if d := w.deliveries()[0]; d.State != db.DeliveryDead || d.Attempts != 10 {
		t.Fatalf("%+v", d)
	}
	if n, err := s.Replay(t.Context(), "h", actions.Replay{Since: w.clock.Now().Add(-20 * 24 * time.Hour), OnlyMissing: true}, "mo"); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	// The schedule begins anew.
	testkit.Eventually(t, wait, func() bool { return s.Stats().Failed == 11 })
	if d := w.deliveries()[0]; d.State != db.DeliveryPending || !d.NextAt.Equal(w.clock.Now().Add(5*time.Second)) {
		t.Fatalf("%+v", d)
	}
	// What waits for its next attempt is missing as well, and is sent at once.
	if n, err := s.Replay(t.Context(), "h", actions.Replay{Since: w.clock.Now().Add(-20 * 24 * time.Hour), OnlyMissing: true}, "mo"); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	testkit.Eventually(t, wait, func() bool { return s.Stats().Failed == 12 })
	healthy.Store(true)
	w.clock.Advance(5 * time.Second)
	testkit.Eventually(t, wait, func() bool { return s.Stats().Delivered == 1 })
	var attempts []db.AttemptRow
	if err := w.db.NewSelect().Model(&attempts).Order("attempt").Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(attempts) != 13 || attempts[0].Status != 500 || attempts[12].Status != 200 || attempts[12].LatencyNS <= 0 {
		t.Errorf("attempts %+v", attempts)
	}
}

func testAttemptsKeepTheBeginningOfTheAnswer(t *testing.T, w *world) {
	r := newReceiver(t, func(_ int, rw http.ResponseWriter) {
		rw.WriteHeader(http.StatusBadRequest)
		_, _ = rw.Write([]byte("no\x00 such\xff " + strings.Repeat("x", 5000)))
	})
	w.hook("h", r.URL)
	s := w.start(w.sender())
	w.handle(s, banned("e1"))
	testkit.Eventually(t, wait, func() bool { return s.Stats().Failed == 1 })
	var a db.AttemptRow
	if err := w.db.NewSelect().Model(&a).Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(a.Response, "no\uFFFD such\uFFFD xxx") || len(a.Response) > 1010 || a.Error != "answered 400" {
		t.Errorf("%+v", a)
	}
}

func testRotationSignsWithBothForADay(t *testing.T, w *world) {
	r := newReceiver(t, nil)
	w.hook("h", r.URL)
	s := w.start(w.sender())
	one, _, err := s.RotateSecret(t.Context(), "h", "mo")
	if err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(25 * time.Hour) // the secret that the hook was made with is over
	two, until, err := s.RotateSecret(t.Context(), "h", "mo")
	if err != nil || !until.Equal(w.clock.Now().Add(24*time.Hour)) {
		t.Fatal(until, err)
	}
	sent := 0
	check := func(oldToo bool) {
		t.Helper()
		// The lane knows of the rotation once its hook was read again.
		testkit.Eventually(t, wait, func() bool {
			sent++
			w.handle(s, banned(fmt.Sprint("e", sent)))
			testkit.Eventually(t, wait, func() bool { return len(r.all()) == sent })
			want := 1
			if oldToo {
				want = 2
			}
			return len(strings.Fields(r.all()[sent-1].header.Get("webhook-signature"))) == want
		})
		got := r.all()[sent-1]
		for secret, want := range map[string]bool{one: oldToo, two: true} {
			wh, err := standardwebhooks.NewWebhook(secret)
			if err != nil {
				t.Fatal(err)
			}
			if ok := wh.VerifyIgnoringTimestamp(got.body, got.header) == nil; ok != want {
				t.Errorf("verified %v, want %v", ok, want)
			}
		}
	}
	check(true)
	w.clock.Advance(24*time.Hour + time.Second)
	check(false)
	var rows []db.HookSecretRow
	if err := w.db.NewSelect().Model(&rows).Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if strings.Contains(row.Sealed, strings.TrimPrefix(one, "whsec_")) || strings.Contains(row.Sealed, "whsec_") {
			t.Error("a secret stands in the database")
		}
	}
	if n, _ := w.db.NewSelect().Model((*db.AuditRow)(nil)).Where("verb = 'hook.secret_rotated'").Count(t.Context()); n != 2 {
		t.Errorf("%d audit lines", n)
	}
}

func TestTrialTellsHowItWasTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := newReceiver(t, func(n int, rw http.ResponseWriter) {
		if n == 2 {
			rw.WriteHeader(http.StatusTeapot)
		}
		_, _ = rw.Write([]byte("hello"))
	})
	w.hook("h", r.URL, event.UserFlagged)
	s := w.start(w.sender())
	got, err := s.Test(t.Context(), "h", "mo")
	if err != nil || !got.OK || got.Status != 200 || got.Response != "hello" || got.Latency <= 0 {
		t.Errorf("%+v, %v", got, err)
	}
	sent := r.all()[0]
	if sent.header.Get(webhook.HeaderID) != got.EventID || !strings.Contains(string(sent.body), `"type":"custom"`) || sent.header.Get("webhook-signature") == "" {
		t.Errorf("%v %s", sent.header, sent.body)
	}
	if got, err = s.Test(t.Context(), "h", "mo"); err != nil || got.OK || got.Status != 418 {
		t.Errorf("%+v, %v", got, err)
	}
	if n := len(w.deliveries()); n != 0 {
		t.Errorf("%d deliveries", n)
	}
	if _, err := s.Test(t.Context(), "x", "mo"); err == nil {
		t.Error("a hook that is not there")
	}
}

func testAHookThatFailsForFiveDaysIsSwitchedOffAndTold(t *testing.T, w *world) {
	bad := newReceiver(t, status(http.StatusInternalServerError))
	named, other := newReceiver(t, nil), newReceiver(t, nil)
	w.hookWith("bad", bad.URL, `{"failover_config":{"notify_hook_id":"named"}}`)
	w.hook("a-other", other.URL, event.UserFlagged)
	w.hook("named", named.URL, event.UserFlagged)
	s := w.start(w.sender())
	off := func() bool { return s.Stats().Disabled == 1 }
	for n := 0; n < 60 && !off(); n++ { // an event every four hours
		failed := s.Stats().Failed
		w.handle(s, banned(fmt.Sprint("e", n)))
		testkit.Eventually(t, wait, func() bool { return s.Stats().Failed > failed || off() })
		w.clock.Advance(4 * time.Hour)
	}
	testkit.Eventually(t, wait, off)
	testkit.Eventually(t, wait, func() bool { return len(named.all()) == 2 }, "told twice")
	if len(other.all()) != 0 {
		t.Error("the other was told as well")
	}
	types := ""
	for _, g := range named.all() {
		var b event.HookState
		if err := json.Unmarshal(g.body, &b); err != nil || b.HookID != "bad" || b.LastStatus != 500 || b.FailingSince.IsZero() {
			t.Errorf("%s: %v", g.body, err)
		}
		types += b.Type + " "
	}
	if types != "hook.failing hook.disabled " {
		t.Errorf("told %s", types)
	}
	var row db.HookHealthRow
	if err := w.db.NewSelect().Model(&row).Where("hook_id = 'bad'").Scan(t.Context()); err != nil || row.DisabledReason == "" {
		t.Errorf("%+v, %v", row, err)
	}
	if since := row.DisabledAt.Sub(row.FailingSince.Time); since < 120*time.Hour || since > 130*time.Hour {
		t.Errorf("off after %s", since)
	}
	testkit.Eventually(t, wait, func() bool { return s.Lanes() == 2 })
	var verbs []string
	if err := w.db.NewSelect().Model((*db.AuditRow)(nil)).Column("verb").Order("at").Scan(t.Context(), &verbs); err != nil ||
		strings.Join(verbs, " ") != "hook.failing hook.disabled" || s.Stats().Warned != 1 {
		t.Errorf("audit %v, %v, %+v", verbs, err, s.Stats())
	}
	// Switched on again it begins anew, and what waited goes out.
	if _, err := w.db.NewUpdate().Model((*db.HookRow)(nil)).Set("enabled = 1").Where("id = 'bad'").Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	failed := s.Stats().Failed
	testkit.Eventually(t, wait, func() bool { return s.Stats().Failed > failed })
	if s.Stats().Disabled != 1 {
		t.Error("switched off again at the first failure")
	}
}

func TestOneWithoutANamedConfidantTellsAHealthyOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	gone, healthy := newReceiver(t, status(http.StatusGone)), newReceiver(t, nil)
	w.hook("gone", gone.URL)
	w.hook("healthy", healthy.URL, event.UserFlagged)
	s := w.start(w.sender())
	w.handle(s, banned("e1"))
	testkit.Eventually(t, wait, func() bool { return len(healthy.all()) == 1 })
	if b := string(healthy.all()[0].body); !strings.Contains(b, `"hook.disabled"`) || !strings.Contains(b, "410") {
		t.Errorf("told %s", b)
	}
}

func TestABusyReceiverIsGivenARest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var healthy atomic.Bool
	busy := newReceiver(t, func(_ int, rw http.ResponseWriter) {
		if !healthy.Load() {
			rw.WriteHeader(http.StatusTooManyRequests)
		}
	})
	calm := newReceiver(t, nil)
	w.hook("busy", busy.URL)
	w.hook("calm", calm.URL)
	s := w.start(w.sender(func(c *delivery.Config) { c.PerHook = 1 }))
	w.handle(s, banned("e0"))
	testkit.Eventually(t, wait, func() bool { return s.Stats().Failed == 1 && s.Stats().Delivered == 1 })
	for n := 1; n <= 20; n++ {
		w.handle(s, banned(fmt.Sprint("e", n)))
	}
	testkit.Eventually(t, wait, func() bool { return s.Stats().Delivered == 21 }, "the other hook is not held up")
	if n := len(busy.all()); n != 1 {
		t.Errorf("%d requests to a receiver that is given a rest", n)
	}
	healthy.Store(true)
	w.clock.Advance(time.Second)
	testkit.Eventually(t, wait, func() bool { return s.Stats().Delivered == 41 })
}

func testOrderedHooksGetACallsEventsInOrder(t *testing.T, w *world) {
	r := newReceiver(t, func(n int, rw http.ResponseWriter) {
		if n == 3 {
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	w.hookWith("h", r.URL, `{"ordered":true}`)
	s := w.start(w.sender())
	for n := range 30 {
		ev := event.New(event.UserBanned, fmt.Sprintf("default:c%d/u%d", n%3, n), time.Now(), map[string]int{"n": n})
		w.handle(s, ev)
	}
	testkit.Eventually(t, wait, func() bool { return s.Stats().Delivered >= 20 && s.Stats().Failed == 1 }, "other calls go on")
	w.clock.Advance(5 * time.Second)
	testkit.Eventually(t, wait, func() bool { return s.Stats().Delivered == 30 })
	last := map[int]int{0: -1, 1: -1, 2: -1}
	for i, g := range r.all() {
		var b struct{ N int }
		if err := json.Unmarshal(g.body, &b); err != nil {
			t.Fatal(err)
		}
		call := b.N % 3
		if b.N < last[call] || b.N > last[call]+3 && last[call] >= 0 {
			t.Errorf("request %d: %d after %d", i, b.N, last[call])
		}
		last[call] = b.N
	}
}

func testOldDeliveriesGo(t *testing.T, w *world) {
	ok, bad := newReceiver(t, nil), newReceiver(t, status(http.StatusInternalServerError))
	w.hook("ok", ok.URL)
	w.hook("bad", bad.URL)
	s := w.start(w.sender())
	w.handle(s, banned("e1"))
	testkit.Eventually(t, wait, func() bool { return s.Stats().Delivered == 1 && s.Stats().Failed == 1 })
	_ = s.Close()
	count := func(deliveries int, events, attempts int64) {
		t.Helper()
		if err := s.Prune(t.Context()); err != nil {
			t.Fatal(err)
		}
		e, _ := w.db.NewSelect().Model((*db.PublicEventRow)(nil)).Count(t.Context())
		a, _ := w.db.NewSelect().Model((*db.AttemptRow)(nil)).Count(t.Context())
		if d := len(w.deliveries()); d != deliveries || e != events || a != attempts {
			t.Errorf("%d deliveries, %d events, %d attempts; want %d, %d, %d", d, e, a, deliveries, events, attempts)
		}
	}
	w.clock.Advance(delivery.Retention - time.Second)
	count(2, 1, 2)
	w.clock.Advance(2 * time.Second)
	count(1, 1, 1) // what is pending stays, and its event
	if _, err := w.db.NewDelete().Model((*db.HookRow)(nil)).Where("id = 'bad'").Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	count(0, 0, 0)
}

func testWhatTheBusLostIsSweptUp(t *testing.T, w *world) {
	r := newReceiver(t, nil)
	w.hook("h", r.URL)
	if err := w.db.Emit(t.Context(), event.TopicPublic, banned("e1"), frame(1)); err != nil {
		t.Fatal(err)
	}
	w.clock.Set(time.Now().Add(time.Minute)) // Emit has the machine's clock
	s := w.start(w.sender())                 // on a bus that brings nothing
	testkit.Eventually(t, wait, func() bool { return s.Stats().Delivered == 1 })
	w.handle(s, banned("e1"))
	if n := len(w.deliveries()); n != 1 || r.ids()["e1"] != 1 {
		t.Errorf("%d deliveries, %v", n, r.ids())
	}
}
