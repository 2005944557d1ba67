package recorder

import (
	"context"
	"encoding/json"
	"maps"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
	"stillwatch/recording"
)

// runs are those of a call, in the order in which they were made.
func (w *world) runs(cid string) []db.RecordingRow {
	w.t.Helper()
	var rows []db.RecordingRow
	if err := w.db.NewSelect().Model(&rows).Where("cid = ?", cid).Order("created_at", "id").Scan(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return rows
}

// ordered is a call whose session has ended while what was ordered ran.
func ordered(w *world) db.RecordingRow {
	w.t.Helper()
	w.makeCall("again")
	_, err := w.Desk().Start(w.t.Context(), recording.Order{
		CID: "default:again", Type: recording.TypeIndividual, By: "ada", Storage: "theirs", Custom: map[string]any{"case": "7"},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	s := w.session("again", time.Now())
	s.settle()
	s.play("ada", actor{tone: w.tone(400), to: time.Second})
	s.end(time.Second)
	testkit.Eventually(w.t, 4*time.Minute, func() bool { return w.runs("default:again")[0].State != db.RecordingOn }, "the run ends")
	return w.runs("default:again")[0]
}

func TestAnOrderHoldsOnForWhoComesBack(t *testing.T) {
	t.Parallel()
	for _, restart := range []bool{false, true} {
		w := newWorld(t, func(p *recording.Plan) { p.Individual = recording.ModeAvailable })
		first := ordered(w)
		if restart {
			if err := w.Recorder.Close(); err != nil {
				t.Fatal(err)
			}
			w.start()
		}
		if n := len(w.events(event.CallRecordingStarted)); n != 1 {
			t.Errorf("%d starts are told of while nobody is there", n)
		}
		s := w.session("again", time.Now())
		s.settle()
		runs := w.runs("default:again")
		if len(runs) != 2 {
			t.Fatalf("runs: %+v", runs)
		}
		next := runs[1]
		if next.ID == first.ID {
			next = runs[0]
		}
		if next.State != db.RecordingOn || next.SessionID != s.info.SessionID || next.Storage != "theirs" || next.RequestedBy != "ada" ||
			!maps.Equal(next.Custom.V, first.Custom.V) || string(next.Plan.V) != string(first.Plan.V) || !next.ArmedUntil.IsZero() {
			t.Errorf("taken on: %+v", next)
		}
		if n := len(w.events(event.CallRecordingStarted)); n != 2 {
			t.Errorf("%d starts are told of", n)
		}
		if err := w.Desk().Stop(t.Context(), "default:again", recording.TypeIndividual, "ada"); err != nil {
			t.Fatal(err)
		}
		s.settle()
		s.end(time.Second)
		w.idle()
		if n := len(w.runs("default:again")); n != 2 {
			t.Errorf("what was stopped goes on: %d runs", n)
		}
	}
}

func TestAnOrderHoldsOnNoLongerThanItMay(t *testing.T) {
	t.Parallel()
	now := db.At(time.Now())
	for name, c := range map[string]struct {
		// change is what happens between the sessions.
		change func(t *testing.T, w *world)
		starts int
	}{
		"the call has ended": {func(t *testing.T, w *world) {
			if _, err := w.db.NewUpdate().Model((*db.CallRow)(nil)).Set("ended_at = ?", now).Where("1 = 1").Exec(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := w.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, 1},
		"an hour is over": {func(t *testing.T, w *world) {
			_, err := w.db.NewUpdate().Model((*db.RecordingRow)(nil)).Set("armed_until = ?", now).Where("armed_until > 0").Exec(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, 1},
		"an hour is over, not swept": {func(t *testing.T, w *world) {
			_, err := w.db.NewUpdate().Model((*db.RecordingRow)(nil)).Set("armed_until = ?", now).Where("armed_until > 0").Exec(t.Context())
			if err != nil {
				t.Fatal(err)
			}
		}, 1},
		"it is stopped": {func(t *testing.T, w *world) {
			if err := w.Desk().Stop(t.Context(), "default:again", recording.TypeIndividual, "ada"); err != nil {
				t.Fatal(err)
			}
		}, 1},
		"another order takes its place": {func(t *testing.T, w *world) {
			if _, err := w.Desk().Start(t.Context(), recording.Order{CID: "default:again", Type: recording.TypeIndividual, By: "ben"}); err != nil {
				t.Fatal(err)
			}
		}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(p *recording.Plan) { p.Individual = recording.ModeAvailable })
			ordered(w)
			body, err := w.db.CallBody(t.Context(), "default:again")
			var shown struct{ Recording bool }
			if err != nil || json.Unmarshal(body, &shown) != nil || shown.Recording {
				t.Errorf("the call says that it is recorded: %s, %v", body, err)
			}
			c.change(t, w)
			s := w.session("again", time.Now())
			s.settle()
			on := 0
			for _, run := range w.runs("default:again") {
				if run.State == db.RecordingOn && run.SessionID == s.info.SessionID {
					on++
					if run.RequestedBy != "ben" {
						t.Errorf("taken on: %+v", run)
					}
				}
			}
			if told := len(w.events(event.CallRecordingStarted)); told != c.starts || on != c.starts-1 {
				t.Errorf("%d runs are on, %d starts told of", on, told)
			}
			s.end(time.Second)
			w.idle()
		})
	}
}

// An order that was given anew stands for the one of the session before.
func TestAnOrderThatWasGivenAnewIsNotKeptTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) { p.Individual = recording.ModeAvailable })
	first := ordered(w)
	anew := recording.Order{CID: "default:again", Type: recording.TypeIndividual, By: "ben"}
	if _, err := w.Desk().Start(t.Context(), anew); err != nil { // which drops what was kept
		t.Fatal(err)
	}
	w.exec("DELETE FROM recordings WHERE id = '" + event.DeriveID("recording again", first.ID) + "'")
	err := w.db.InTx(t.Context(), func(ctx context.Context, tx bun.Tx) error { return w.armAgain(ctx, tx, first, time.Now()) })
	if err != nil {
		t.Fatal(err)
	}
	if runs := w.runs("default:again"); len(runs) != 2 {
		t.Errorf("runs: %+v", runs)
	}
}

// Who stops an order while a session takes it on ends the session's run, not
// one that nobody came to.
func TestAStopDoesNotDiscardWhatASessionHasTakenOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) { p.Individual = recording.ModeAvailable })
	w.makeCall("race")
	if _, err := w.Desk().Start(t.Context(), recording.Order{CID: "default:race", Type: recording.TypeIndividual, By: "ada"}); err != nil {
		t.Fatal(err)
	}
	stale := w.runs("default:race")[0]
	s := w.session("race", time.Now())
	s.settle()
	err := w.db.InTx(t.Context(), func(ctx context.Context, tx bun.Tx) error { return w.endRun(ctx, tx, &stale, time.Now()) })
	if err != nil {
		t.Fatal(err)
	}
	if run := w.runs("default:race")[0]; run.State != db.RecordingOn || run.SessionID != s.info.SessionID {
		t.Errorf("the session's run: %+v", run)
	}
	if err := w.Desk().Stop(t.Context(), "default:race", recording.TypeIndividual, "ada"); err != nil {
		t.Fatal(err)
	}
	if run := w.runs("default:race")[0]; run.State == db.RecordingOn {
		t.Errorf("stopped: %+v", run)
	}
	s.end(time.Second)
	w.idle()
}
