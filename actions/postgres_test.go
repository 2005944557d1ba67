package actions

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

// TestOnPostgreSQL runs the whole life of actions there, with executors that
// compete for each step.
func TestOnPostgreSQL(t *testing.T) {
	t.Parallel()
	d, err := db.Open(t.Context(), testkit.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	w := &world{TB: t, db: d}
	w.call("default:abc")
	clock := testkit.NewClock()
	clock.Set(time.Now())
	executors := []*Executor{executorOf(w, clock), executorOf(w, clock), executorOf(w, clock)}
	// all runs f on every executor at once; a collision may fail, for then
	// the event comes again.
	all := func(f func(e *Executor) error) {
		var wg sync.WaitGroup
		for _, e := range executors {
			wg.Go(func() {
				for err := f(e); err != nil; err = f(e) {
					t.Log("again:", err)
				}
			})
		}
		wg.Wait()
	}
	var bans []event.ActionRequested
	for i := range 5 {
		user := fmt.Sprint("u", i)
		flag, ban := w.request(flagOf(user)), w.request(banOf(user))
		bans = append(bans, ban)
		all(func(e *Executor) error { return e.Execute(t.Context(), flag) })
		all(func(e *Executor) error { return e.Execute(t.Context(), ban) })
	}
	clock.Advance(2 * time.Second)
	all(func(e *Executor) error { return e.Tend(t.Context()) })
	if n := len(w.outbox(event.TypeControl)); n != 10 {
		t.Errorf("%d orders, want each twice", n)
	}
	for _, ban := range bans {
		all(func(e *Executor) error { return e.Confirm(t.Context(), event.ControlDone{ActionID: ban.ActionID}) })
	}
	if !w.allConfirmed(10) || w.rows((*db.ReviewItemRow)(nil)) != 5 {
		t.Error("not all confirmed")
	}
	if n := len(w.outbox(event.UserBanned)); n != 5 || w.rows((*db.BanRow)(nil)) != 5 || w.audits("ban") != 5 {
		t.Errorf("%d told", n)
	}
	n, err := NewDesk(DeskConfig{DB: d}).Unban(t.Context(), UnbanRequest{UserID: "u0", ByUserID: "mod"})
	if err != nil || n != 1 {
		t.Errorf("lifted %d, %v", n, err)
	}
}
