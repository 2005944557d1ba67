package retention

import (
	"testing"
	"time"

	"stillwatch/internal/db"
)

func TestStraysAreDeleted(t *testing.T) {
	t.Parallel()
	r := newRig(t, sqlite(t)) // it is 2026-01-05 10:00
	put := func(key string, row, hold bool) {
		t.Helper()
		if err := r.store.Put(t.Context(), key, []byte("picture"), ""); err != nil {
			t.Fatal(err)
		}
		if !row {
			return
		}
		f := &db.FrameRow{ID: key, ObjectKey: key, Hold: db.Bool(hold), ExpiresAt: db.At(r.clock.Now().Add(DefaultKeep))}
		if _, err := r.db.NewInsert().Model(f).Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	const held, known, stray, half = "frames/2026-01-05/c/held.jpg", "frames/2026-01-05/c/known.jpg",
		"frames/2026-01-05/d/stray.jpg", "frames/2026-01-05/d/half.jpg.17a2b3.tmp"
	const other, later = "frames/not-a-day/x.jpg", "frames/2026-01-07/c/stray.jpg"
	put(held, true, true)
	put(known, true, false)
	for _, key := range []string{stray, half, other, later, "evidence/2026-01-05/x.jpg"} {
		put(key, false, false)
	}
	sweeper := New(r.db, r.store, Config{Now: r.clock.Now, Page: 2})
	left := func() (keys []string) {
		if err := r.store.List(t.Context(), "", func(key string) error { keys = append(keys, key); return nil }); err != nil {
			t.Fatal(err)
		}
		return keys
	}
	sweep := func(want, remain int) {
		t.Helper()
		if n, err := sweeper.SweepStrays(t.Context()); err != nil || n != want || len(left()) != remain {
			t.Errorf("%d deleted, %v; want %d; left %v", n, err, want, left())
		}
	}
	r.clock.Set(time.Date(2026, 1, 20, 23, 59, 59, 0, time.UTC))
	sweep(0, 7)
	r.clock.Set(time.Date(2026, 1, 21, 0, 0, 0, 0, time.UTC))
	sweep(2, 5) // stray and half; what has a row is not its business
	if _, err := sweeper.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := left(); len(got) != 4 {
		t.Errorf("left %v, want all but the known", got)
	}
	r.clock.Advance(48 * time.Hour)
	sweep(1, 3) // later
	if days, err := r.store.Folders(t.Context(), Prefix); err != nil || len(days) != 2 {
		t.Errorf("folders %v, %v; want the held frame's day and not-a-day", days, err)
	}
}
