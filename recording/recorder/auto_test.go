package recorder

import (
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/testkit"
	"stillwatch/recording"
)

// refuse has the database refuse to insert into, or to update, the runs.
func (w *world) refuse(what string) {
	w.t.Helper()
	w.exec("CREATE TRIGGER refuse BEFORE " + what + " ON recordings BEGIN SELECT RAISE(ABORT, 'the database is away'); END")
}

func (w *world) accept() {
	w.t.Helper()
	w.exec("DROP TRIGGER refuse")
}

func (w *world) exec(query string) {
	w.t.Helper()
	if _, err := w.db.ExecContext(w.t.Context(), query); err != nil {
		w.t.Fatal(err)
	}
}

// A database that refuses while a call is answered costs nothing of its
// recording, neither where it is back in time nor where the call is over first.
func TestADatabaseThatRefusesIsAskedAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		over bool // the call, before the database is back
	}{{"while it runs", false}, {"when it is over", true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, oneMovie)
			w.refuse("INSERT")
			s := w.short("refused")
			l := w.Recorder.session(s.info.SessionID)
			if c.over {
				s.end(2 * time.Second)
				testkit.Eventually(t, 4*time.Minute, func() bool { return w.Recorder.session(s.info.SessionID) == nil }, "the session is over")
				w.accept()
			} else {
				w.accept()
				l.do(l.roll)
				s.settle()
				w.until("default:refused", db.RecordingOn, 4*time.Minute)
				s.end(2 * time.Second)
			}
			run := w.until("default:refused", db.RecordingReady, 4*time.Minute)
			if movies := w.files(run.ID)[kindMovie]; len(movies) != 1 || run.StartedAt.Sub(s.info.StartedAt).Abs() > time.Millisecond {
				t.Errorf("%d movies of a run that began at %s, the call at %s", len(movies), run.StartedAt, s.info.StartedAt)
			}
			if n, err := w.db.NewSelect().Model((*db.RecordingRow)(nil)).Count(t.Context()); n != 1 || err != nil {
				t.Errorf("%d runs, %v", n, err)
			}
			w.gone()
		})
	}
}

// Who sets a call to record by itself while it runs begins nothing in it,
// neither then nor at its end.
func TestACallSetToRecordWhileItRunsIsNotRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) { p.Composite = recording.ModeOnFlag })
	s := w.short("changed")
	l := w.Recorder.session(s.info.SessionID)
	l.do(func() {
		w.plan.Composite = recording.ModeAutoOn
		l.sync()
		l.roll()
	})
	s.settle()
	s.end(2 * time.Second)
	w.idle()
	w.gone()
	if n, err := w.db.NewSelect().Model((*db.RecordingRow)(nil)).Count(t.Context()); n != 0 || err != nil {
		t.Errorf("%d runs, %v", n, err)
	}
}

// An order that the session could not read is seen later.
func TestAnOrderThatCouldNotBeReadIsSeenLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) { p.Composite = recording.ModeAvailable })
	s := w.session("order", time.Now())
	s.settle()
	w.refuse("UPDATE")
	if _, err := w.Desk().Start(t.Context(), recording.Order{CID: "default:order", Type: recording.TypeComposite, By: "ada"}); err != nil {
		t.Fatal(err)
	}
	s.settle()
	l := w.Recorder.session(s.info.SessionID)
	runs := func() (n int) {
		l.do(func() { n = len(l.runs) })
		s.settle()
		return n
	}
	if n := runs(); n != 0 {
		t.Fatalf("%d runs while the database refuses", n)
	}
	w.accept()
	l.do(l.roll)
	if n := runs(); n != 1 {
		t.Errorf("%d runs when the database is back", n)
	}
	s.end(time.Second)
	w.idle()
}
