package moderation

import (
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/testkit"
)

// TestOnPostgreSQL decides, restarts, unbans and decides again there.
func TestOnPostgreSQL(t *testing.T) {
	t.Parallel()
	d, err := db.Open(t.Context(), testkit.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	w := &world{TB: t, db: d, eye: &eye{}, wire: &wire{}, epoch: time.Now().UTC().Add(-time.Minute)}
	for n := range 4 {
		f := w.frame("bob", n, "1")
		row := db.FrameRow{ID: f.FrameID, CID: f.CID, SessionID: f.SessionID, UserID: f.UserID, TrackID: f.TrackID, CapturedAt: db.At(f.CapturedAt)}
		_, err := d.NewInsert().Model(&row).Exec(t.Context())
		w.ok(err)
		s := w.service()
		w.show(s, f, f)
		w.ok(s.Close())
	}
	if n := w.rows((*db.DecisionRow)(nil)); n != 2 {
		t.Fatalf("%d decisions, want a flag and a ban", n)
	}
	ban := db.BanRow{ID: "b", UserID: "bob", CreatedAt: db.At(w.epoch), LiftedAt: db.At(time.Now())}
	_, err = d.NewInsert().Model(&ban).Exec(t.Context())
	w.ok(err)
	s := w.service()
	w.epoch = time.Now() // frames after the unban
	for n := 5; n < 9; n++ {
		w.show(s, w.frame("bob", n, "1"))
	}
	if n := w.rows((*db.DecisionRow)(nil)); n != 4 {
		t.Errorf("%d decisions, want a flag and a ban more", n)
	}
}
