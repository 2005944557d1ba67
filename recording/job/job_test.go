package job_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/testkit"
	"stillwatch/recording/job"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// onBoth runs a test on an empty database of each kind.
func onBoth(t *testing.T, test func(t *testing.T, d *db.DB, clock *testkit.Clock)) {
	t.Helper()
	t.Parallel()
	for name, url := range map[string]func(t *testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite://" + filepath.Join(t.TempDir(), "x.db") },
		"postgres": func(t *testing.T) string { return testkit.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, err := db.Open(t.Context(), url(t))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = d.Close() })
			test(t, d, testkit.NewClock())
		})
	}
}

func queue(d *db.DB, clock *testkit.Clock, worker string) *job.Queue {
	return job.New(d, job.Config{Worker: worker, Now: clock.Now, Tries: 3})
}

func add(t *testing.T, q *job.Queue, d *db.DB, kind string, ns ...int) {
	t.Helper()
	for _, n := range ns {
		if err := q.Add(t.Context(), d, "rec", kind, n, map[string]int{"n": n}); err != nil {
			t.Fatal(err)
		}
	}
}

func claim(t *testing.T, q *job.Queue) *job.Job {
	t.Helper()
	j, err := q.Claim(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestAJobOfADeadWorkerIsTakenOverAndCountsOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB, clock *testkit.Clock) {
		a, b := queue(d, clock, "a"), queue(d, clock, "b")
		add(t, a, d, "chunk", 0, 0)
		dead := claim(t, a)
		if dead == nil {
			t.Fatal("nothing to claim")
		}
		if j := claim(t, b); j != nil {
			t.Fatalf("b took %s although a holds it", j.ID)
		}
		clock.Advance(job.DefaultLease - time.Second)
		if err := a.Extend(t.Context(), dead); err != nil {
			t.Fatal(err)
		}
		clock.Advance(2 * time.Second)
		if j := claim(t, b); j != nil {
			t.Fatal("b took a job whose lease was renewed")
		}
		clock.Advance(job.DefaultLease)
		taken := claim(t, b)
		if taken == nil || taken.ID != dead.ID || taken.Attempts != 1 {
			t.Fatalf("b got %+v, want a's job after one failed attempt", taken)
		}
		effects := 0
		effect := func(context.Context, bun.Tx) error { effects++; return nil }
		if err := a.Done(t.Context(), dead, nil, effect); !errors.Is(err, job.ErrLost) {
			t.Errorf("the late result of a: %v, want ErrLost", err)
		}
		if err := a.Extend(t.Context(), dead); !errors.Is(err, job.ErrLost) {
			t.Errorf("a extends what b holds: %v", err)
		}
		if err := b.Done(t.Context(), taken, map[string]string{"path": "x"}, effect); err != nil {
			t.Fatal(err)
		}
		if err := b.Done(t.Context(), taken, nil, effect); !errors.Is(err, job.ErrLost) {
			t.Errorf("done twice: %v", err)
		}
		if effects != 1 {
			t.Errorf("the step took effect %d times", effects)
		}
		if j := claim(t, a); j != nil {
			t.Errorf("a done job was handed out again: %+v", j)
		}
	})
}

func TestFailuresPauseAndEnd(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB, clock *testkit.Clock) {
		q := queue(d, clock, "a")
		add(t, q, d, "store", 0)
		ended := 0
		for try := 1; try <= 3; try++ {
			j := claim(t, q)
			if j == nil {
				t.Fatalf("try %d: nothing to claim", try)
			}
			gone, err := q.Fail(t.Context(), j, errors.New("no"), func(context.Context, bun.Tx) error { ended++; return nil })
			if err != nil || gone != (try == 3) {
				t.Fatalf("try %d: given up %t, %v", try, gone, err)
			}
			if claim(t, q) != nil {
				t.Fatalf("try %d: no pause", try)
			}
			clock.Advance(time.Minute)
		}
		if ended != 1 || claim(t, q) != nil {
			t.Errorf("ended %d times", ended)
		}
		add(t, q, d, "store", 1)
		j := claim(t, q)
		for range 10 {
			if err := q.Postpone(t.Context(), j, errors.New("store is down"), time.Second); err != nil {
				t.Fatal(err)
			}
			clock.Advance(time.Second)
			if j = claim(t, q); j == nil || j.Attempts != 0 {
				t.Fatalf("postponed job: %+v", j)
			}
		}
		if gone, err := q.Fail(t.Context(), j, job.ErrHopeless, nil); err != nil || !gone {
			t.Errorf("hopeless: %t, %v", gone, err)
		}
	})
}

func TestEachJobGoesToOneWorker(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB, clock *testkit.Clock) {
		const jobs, workers = 40, 8
		q := queue(d, clock, "main")
		for n := range jobs {
			add(t, q, d, "chunk", n)
		}
		var mu sync.Mutex
		seen := map[int]int{}
		var wg sync.WaitGroup
		for w := range workers {
			q := queue(d, clock, string(rune('a'+w)))
			wg.Go(func() {
				for {
					j, err := q.Claim(t.Context())
					if err != nil || j == nil {
						return
					}
					mu.Lock()
					seen[j.N]++
					mu.Unlock()
					if err := q.Done(t.Context(), j, nil, nil); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		for n := range jobs {
			if seen[n] != 1 {
				t.Errorf("job %d was claimed %d times", n, seen[n])
			}
		}
	})
}

func TestWhatARestartedWorkerLeftIsFreeAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB, clock *testkit.Clock) {
		q := queue(d, clock, "node")
		add(t, q, d, "chunk", 0, 1)
		first := claim(t, q)
		if err := q.Release(t.Context(), "node"); err != nil {
			t.Fatal(err)
		}
		again := claim(t, queue(d, clock, "node"))
		if again == nil || again.ID != first.ID {
			t.Fatalf("got %+v, want %s", again, first.ID)
		}
	})
}

// A step belongs to where its packets are.
func TestAStepIsClaimedByItsNodeAlone(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB, clock *testkit.Clock) {
		for id, node := range map[string]string{"rec": "a", "old": ""} {
			run := db.RecordingRow{ID: id, Node: node, CID: "default:x", Type: "composite", Lane: db.LaneBusiness, State: db.RecordingProcessing}
			run.Plan.V, run.Custom.V = json.RawMessage("{}"), map[string]any{}
			if _, err := d.NewInsert().Model(&run).Exec(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		at := func(node string) *job.Queue {
			return job.New(d, job.Config{Worker: "w " + node, Node: node, Now: clock.Now})
		}
		a, b := at("a"), at("b")
		add(t, a, d, "chunk", 0, 1)
		if j := claim(t, b); j != nil {
			t.Fatalf("b took %s, which is of a", j.ID)
		}
		if claim(t, a) == nil {
			t.Fatal("a does not get its own")
		}
		clock.Advance(job.DefaultLease + time.Second)
		if j := claim(t, b); j != nil {
			t.Fatalf("b took over %s, which is of a", j.ID)
		}
		for _, id := range []string{"old", "gone"} { // of no node, and of no recording
			if err := b.Add(t.Context(), d, id, "plan", 0, struct{}{}); err != nil {
				t.Fatal(err)
			}
			if claim(t, b) == nil {
				t.Errorf("nobody gets the step of %s", id)
			}
		}
	})
}

// A step of a session that was handed over is anybody's; those that its node
// does best, only after a while.
func TestHandedOverStepsAreAnybodys(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB, clock *testkit.Clock) {
		run := db.RecordingRow{ID: "rec", Node: "a", SessionID: "s", CID: "default:x", Type: "composite", Lane: db.LaneBusiness, State: db.RecordingProcessing}
		run.Plan.V, run.Custom.V = json.RawMessage("{}"), map[string]any{}
		if _, err := d.NewInsert().Model(&run).Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		b := job.New(d, job.Config{Worker: "b", Node: "b", Now: clock.Now, Late: []string{"join"}, LateBy: time.Minute})
		add(t, b, d, "chunk", 0)
		add(t, b, d, "join", 0)
		take := func() *job.Job {
			t.Helper()
			j, err := b.ClaimAny(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return j
		}
		row := db.RecordingHandoverRow{SessionID: "s", Node: "a", State: db.HandoverPutting}
		row.Files.V = json.RawMessage("[]")
		if _, err := d.NewInsert().Model(&row).Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		if j := take(); j != nil {
			t.Fatalf("took %s before it was handed over", j.Kind)
		}
		if _, err := d.NewUpdate().Model(&row).Set("state = ?", db.HandoverReady).WherePK().Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		if j := claim(t, b); j != nil {
			t.Fatalf("took %s of another node unasked", j.Kind)
		}
		if j := take(); j == nil || j.Kind != "chunk" {
			t.Fatalf("took %+v", j)
		}
		if j := take(); j != nil {
			t.Fatalf("took %s at once", j.Kind)
		}
		clock.Advance(time.Minute)
		if j := take(); j == nil { // the chunk's lease is over as well
			t.Fatal("nothing to take")
		}
		if j := take(); j == nil || j.Kind != "join" {
			t.Fatalf("took %+v after a minute", j)
		}
	})
}
