package recorder

import (
	"path/filepath"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/testkit"
	"stillwatch/recording"
)

// other is a machine with a folder of its own on a world's database.
func (w *world) other(node string, set ...func(c *Config)) *world {
	w.t.Helper()
	o := &world{t: w.t, dir: w.t.TempDir(), plan: w.plan, url: w.url, s3: w.s3, store: w.store}
	if o.url == "" {
		o.url = "sqlite://" + filepath.Join(w.dir, "x.db")
	}
	o.open()
	o.start(append([]func(c *Config){func(c *Config) { c.Node = node }}, set...)...)
	return o
}

// workers counts the steps of a run by who did them last.
func (w *world) workers(run string) map[string]int {
	w.t.Helper()
	steps, err := w.queue.Of(w.t.Context(), w.db, run, "")
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]int{}
	for _, s := range steps {
		out[s.Worker]++
	}
	return out
}

// Machines with disks of their own make their own calls on one database, and
// leave each other's alone: what they would not find there is not lost.
func TestMachinesOnOneDatabaseMakeTheirOwnCalls(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"sqlite", "postgres"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			a := &world{t: t, dir: t.TempDir(), plan: recording.DefaultPlan()}
			a.plan.Composite, a.plan.Quality = recording.ModeAutoOn, "360p"
			if kind == "postgres" {
				a.url = testkit.Postgres(t)
			}
			a.open()
			a.start()
			ours := a.shortAt("ours", time.Now().Add(-3*time.Second))
			ours.end(2 * time.Second)
			run := a.until("default:ours", db.RecordingProcessing, 4*time.Minute)
			if err := a.Close(); err != nil { // before the first step begins
				t.Fatal(err)
			}
			b := a.other("n2")
			theirs := b.shortAt("theirs", time.Now().Add(-3*time.Second))
			theirs.end(2 * time.Second)
			if run := b.until("default:theirs", db.RecordingReady, 4*time.Minute); run.Node != "n2" || len(b.files(run.ID)[kindMovie]) != 1 {
				t.Errorf("run %+v", run)
			}
			steps, err := a.queue.Of(t.Context(), a.db, run.ID, "")
			if err != nil || len(steps) != 1 || steps[0].State != db.JobWaiting || steps[0].Attempts != 0 || steps[0].Token != 0 {
				t.Errorf("steps of a machine that is off: %+v, %v", steps, err)
			}
			a.start()
			run = a.until("default:ours", db.RecordingReady, 4*time.Minute)
			if by := a.workers(run.ID); len(by) != 1 || by["node n1"] == 0 {
				t.Errorf("steps were done by %v", by)
			}
			a.gone()
			b.gone()
		})
	}
}

// A recording that is ordered at one machine is of the machine that carries
// the call.
func TestAnOrderIsOfTheMachineThatCarriesTheCall(t *testing.T) {
	t.Parallel()
	a := newWorld(t, func(p *recording.Plan) { p.Composite = recording.ModeAvailable })
	a.makeCall("far")
	session := db.SessionRow{ID: "s-far", CID: "default:far", Node: "n2", StartedAt: db.At(time.Now())}
	if _, err := a.db.NewInsert().Model(&session).Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.db.NewUpdate().Model((*db.CallRow)(nil)).Set("current_session_id = ?", session.ID).Where("cid = ?", session.CID).Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	id, err := a.Desk().Start(t.Context(), recording.Order{CID: session.CID, Type: recording.TypeComposite, By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	var run db.RecordingRow
	if err := a.db.NewSelect().Model(&run).Where("id = ?", id).Scan(t.Context()); err != nil || run.Node != "n2" {
		t.Errorf("run %+v, %v", run, err)
	}
}
