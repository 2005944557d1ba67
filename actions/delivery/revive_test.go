package delivery_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stillwatch/actions/delivery"
	"stillwatch/internal/db"
	"stillwatch/internal/testkit"
)

func TestWhatDiedInAnOutageIsRevivedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var healthy atomic.Bool
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		if !healthy.Load() || strings.Contains(string(body), "poison") {
			rw.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(srv.Close)
	w.hook("h", srv.URL)
	s := w.start(w.sender(func(c *delivery.Config) { c.Jitter = func() float64 { return 0.8 } })) // the shortest schedule: 60.5 h
	state := func(id string) (d db.DeliveryRow) {
		t.Helper()
		if err := w.db.NewSelect().Model(&d).Where("event_id = ?", id).Scan(t.Context()); err != nil {
			t.Fatal(err)
		}
		return d
	}
	// settled waits for the outcome of attempt n at least, so that the row shows
	// when the next is due, and not when the claim of one under way ends.
	settled := func(id string, n int) (d db.DeliveryRow) {
		t.Helper()
		testkit.Eventually(t, wait, func() bool {
			d = state(id)
			noted, err := w.db.NewSelect().Model((*db.AttemptRow)(nil)).Where("delivery_id = ?", d.ID).Where("attempt = ?", d.Attempts).Count(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			attempts := d.Attempts
			d = state(id) // as of after the outcome was noted
			return d.Attempts >= n && d.Attempts == attempts && noted == 1
		})
		return d
	}
	exhaust := func(id string) {
		t.Helper()
		for d := settled(id, 1); d.State == db.DeliveryPending; d = settled(id, d.Attempts+1) {
			w.clock.Set(d.NextAt.Time)
		}
	}
	w.handle(s, banned("good"))
	testkit.Eventually(t, wait, func() bool { return s.Stats().Failed == 1 })
	w.handle(s, banned("poison"))
	testkit.Eventually(t, wait, func() bool { return s.Stats().Failed == 2 })
	exhaust("good")
	exhaust("poison")
	w.clock.Advance(time.Hour)
	healthy.Store(true)
	w.handle(s, banned("later"))
	testkit.Eventually(t, wait, func() bool { return state("good").State == db.DeliveryDone && state("later").State == db.DeliveryDone })
	testkit.Eventually(t, wait, func() bool { return state("poison").Attempts >= 11 })
	exhaust("poison")
	if d := state("poison"); d.Attempts != 20 || d.State != db.DeliveryDead {
		t.Errorf("%+v", d)
	}
	for n := range 3 {
		w.handle(s, banned(fmt.Sprint("more-", n)))
	}
	testkit.Eventually(t, wait, func() bool { return state("more-2").State == db.DeliveryDone && s.Idle() })
	if d := state("poison"); d.Attempts != 20 || d.State != db.DeliveryDead {
		t.Errorf("revived twice: %+v", d)
	}
}
