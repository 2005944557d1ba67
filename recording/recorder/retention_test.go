package recorder

import (
	"context"
	"errors"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/testkit"
	"stillwatch/recording"
)

func (w *world) eventually(cond func() bool, what string) {
	w.t.Helper()
	testkit.Eventually(w.t, 6*time.Minute, cond, what)
}

// verbs are what the audit says of a recording, in order.
func (w *world) verbs(id string) []string {
	w.t.Helper()
	var out []string
	err := w.db.NewSelect().Model((*db.AuditRow)(nil)).Column("verb").Where("object = ?", "recording:"+id).Order("at", "id").Scan(context.Background(), &out)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func TestRetentionDeletesWhatNothingHolds(t *testing.T) {
	t.Parallel()
	var later atomic.Int64
	w := newWorld(t, func(p *recording.Plan) { oneMovie(p); p.KeepMovies = time.Hour }, func(c *Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	})
	held, free := w.movie("held", time.Second), w.movie("free", time.Second)
	w.gone()
	ctx, desk := t.Context(), w.Desk()
	there := func(f db.RecordingFileRow) bool { _, err := os.Stat(w.path(f.ObjectKey)); return err == nil }

	if err := w.Sweep(ctx); err != nil || !there(held) || !there(free) {
		t.Fatalf("deleted before its time, %v", err)
	}
	if err := desk.Hold(ctx, held.RecordingID, "a case", "ada"); err != nil {
		t.Fatal(err)
	}
	later.Store(int64(2 * time.Hour))
	if err := desk.Delete(ctx, held.ID, "ben"); !errors.Is(err, recording.ErrHeld) {
		t.Errorf("deleted what is held: %v", err)
	}
	// The store does not delete at first: what is marked is found again.
	w.objects.fail(func(string) error { return answer(http.StatusServiceUnavailable) })
	if err := w.Sweep(ctx); err == nil {
		t.Error("a failed deletion is not told of")
	}
	if !there(free) {
		t.Error("deleted though the store refused")
	}
	w.objects.fail(nil)
	if err := w.Sweep(ctx); err != nil || !there(held) || there(free) {
		t.Errorf("held there: %t, free there: %t, %v", there(held), there(free), err)
	}
	for kind, rows := range w.files(free.RecordingID) {
		for _, f := range rows {
			if f.DeletedAt.IsZero() || there(f) {
				t.Errorf("%s %s: deleted at %s", kind, f.Filename, f.DeletedAt)
			}
		}
	}
	for _, v := range w.verbs(free.RecordingID) {
		if v != VerbDelete {
			t.Errorf("audit %s", v)
		}
	}
	if len(w.verbs(free.RecordingID)) == 0 {
		t.Error("a deletion is not audited")
	}

	// Two persons release.
	if ok, err := desk.Release(ctx, held.RecordingID, "ada"); ok || err != nil {
		t.Errorf("released by one: %t, %v", ok, err)
	}
	if _, err := desk.Release(ctx, held.RecordingID, "ada"); !errors.Is(err, recording.ErrSamePerson) {
		t.Errorf("released by the same: %v", err)
	}
	if err := w.Sweep(ctx); err != nil || !there(held) {
		t.Errorf("deleted while it was held, %v", err)
	}
	if ok, err := desk.Release(ctx, held.RecordingID, "ben"); !ok || err != nil {
		t.Errorf("released by two: %t, %v", ok, err)
	}
	if _, err := desk.Release(ctx, held.RecordingID, "ben"); !errors.Is(err, recording.ErrNotHeld) {
		t.Errorf("released again: %v", err)
	}
	if err := desk.Delete(ctx, held.ID, "ben"); err != nil || there(held) {
		t.Errorf("not deleted, %v", err)
	}
	if err := desk.Delete(ctx, held.ID, "ben"); !errors.Is(err, recording.ErrUnknown) {
		t.Errorf("deleted twice: %v", err)
	}
	got := w.verbs(held.RecordingID)
	for i, want := range []string{VerbHold, VerbAsk, VerbRelease, VerbDelete} {
		if i >= len(got) || got[i] != want {
			t.Fatalf("audit %v", got)
		}
	}
}

// What failed is kept to be tried again, and not for ever.
func TestOldFailuresAreDropped(t *testing.T) {
	t.Parallel()
	var later atomic.Int64
	w := newWorld(t, oneMovie, func(c *Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	})
	s := w.session("old", time.Now())
	s.settle()
	s.end(time.Second)
	run, _ := w.failure("default:old", CodeEmpty)
	w.kept(s)
	if err := w.Desk().Hold(t.Context(), run.ID, "a case", "ada"); err != nil {
		t.Fatal(err)
	}
	later.Store(int64(DefaultKeepFailed + time.Hour))
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.kept(s) // it is held
	for _, by := range []string{"ada", "ben"} {
		if _, err := w.Desk().Release(t.Context(), run.ID, by); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.until("default:old", db.RecordingDiscarded, 4*time.Minute)
	w.gone()
}
