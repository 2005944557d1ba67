package delivery_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"stillwatch/actions/delivery"
	"stillwatch/actions/webhook"
	"stillwatch/internal/bus"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

// TestEventsReachTheBackendOverTheBus sends events through outbox, Redis and
// a receiver that fails at first, with a restart of the sender in the middle.
func TestEventsReachTheBackendOverTheBus(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b, err := bus.Open(t.Context(), bus.Config{URL: testkit.Redis(t), ClaimIdle: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	relay := db.NewRelay(w.db, b, db.RelayConfig{Tend: 50 * time.Millisecond})
	if err := relay.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = relay.Close() })
	r := newReceiver(t, func(n int, rw http.ResponseWriter) {
		if n <= 10 {
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	w.hook("h", r.URL)
	sender := func() *delivery.Sender {
		return w.start(w.sender(func(c *delivery.Config) { c.Bus = b }))
	}
	s := sender()
	for n := range 10 {
		if err := w.db.Emit(t.Context(), event.TopicPublic, banned(fmt.Sprint("e", n))); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, wait, func() bool { return s.Stats().Failed == 10 })
	_ = s.Close()
	again := sender()
	w.clock.Advance(5 * time.Second)
	testkit.Eventually(t, wait, func() bool { return again.Stats().Delivered == 10 })
	ids := map[string]int{}
	for _, g := range r.all() {
		ids[g.header.Get(webhook.HeaderID)+" "+g.header.Get(webhook.HeaderAttempt)]++
	}
	if len(ids) != 20 {
		t.Errorf("%d different id and attempt pairs, want 20: %v", len(ids), ids)
	}
}
