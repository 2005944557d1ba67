package capture

import (
	"path/filepath"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

func TestDBRows(t *testing.T) {
	t.Parallel()
	d, err := db.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "t.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	r := NewDBRows(d)
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
	gap := db.GapRow{ID: event.NewID(), CID: call, Reason: "muted", FromAt: db.At(at), ToAt: db.At(at), Due: 1}
	if !r.PutGap(gap) || !r.PutFrame(db.FrameRow{ID: event.NewID(), CID: call, CapturedAt: db.At(at)}) {
		t.Fatal("a row was refused")
	}
	if err := r.write(t.Context(), []db.GapRow{gap}); err != nil { // it is there already
		t.Fatal(err)
	}
	gap.Due, gap.ToAt, gap.Detail = 7, db.At(at.Add(12*time.Second)), "no packets"
	r.PutGap(gap)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if r.PutGap(gap) {
		t.Fatal("a row was taken after Close")
	}
	var gaps []db.GapRow
	if err := d.NewSelect().Model(&gaps).Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(gaps) != 1 || gaps[0].Due != 7 || gaps[0].Detail != "no packets" || !gaps[0].ToAt.Equal(at.Add(12*time.Second)) {
		t.Fatalf("%+v", gaps)
	}
	if n, err := d.NewSelect().Model((*db.FrameRow)(nil)).Count(t.Context()); err != nil || n != 1 {
		t.Fatalf("%d frames, %v", n, err)
	}
}
