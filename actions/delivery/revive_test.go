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
	exhaust := func(id string) {
		t.Helper()
		for state(id).State == db.DeliveryPending {
			d := state(id)
			w.clock.Set(d.NextAt.Time)
			testkit.Eventually(t, wait, func() bool { return state(id).Attempts > d.Attempts && state(id).LastStatus != 0 && s.Idle() })
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
