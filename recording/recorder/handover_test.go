package recorder

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stillwatch/internal/blob"
	"stillwatch/internal/bus"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/seal"
	"stillwatch/internal/testkit"
	"stillwatch/recording"
	"stillwatch/recording/handover"
	"stillwatch/recording/job"
)

// sharing makes a machine hand over, one step at a time.
func sharing(c *Config) { c.Handover, c.Workers = true, 1 }

// newPlace is a world on PostgreSQL and MinIO, which other machines join.
func newPlace(t *testing.T, change func(p *recording.Plan), set ...func(c *Config)) *world {
	t.Helper()
	s3 := testkit.MinIO(t)
	w := &world{t: t, dir: t.TempDir(), plan: recording.DefaultPlan(), url: testkit.Postgres(t), s3: &s3}
	w.plan.Composite, w.plan.Quality, w.plan.RecordAlone = recording.ModeDisabled, "360p", true
	change(&w.plan)
	w.open()
	w.start(append([]func(c *Config){sharing}, set...)...)
	return w
}

// newYard is a world on SQLite and a folder of objects, which other machines
// of the test join.
func newYard(t *testing.T, change func(p *recording.Plan), set ...func(c *Config)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), plan: recording.DefaultPlan(), store: t.TempDir()}
	w.plan.Composite, w.plan.Quality, w.plan.RecordAlone = recording.ModeDisabled, "360p", true
	change(&w.plan)
	w.open()
	w.start(append([]func(c *Config){sharing}, set...)...)
	return w
}

// coming plays a call into which people come one after the other, so that its
// movie has chunks.
func (w *world) coming(id string) *scene {
	w.t.Helper()
	const length = 6 * time.Second
	s := w.session(id, time.Now().Add(-length))
	s.play("ada", actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: length})
	s.play("ben", actor{clip: w.clip("drawing", event.H264), tone: w.tone(600), from: 2 * time.Second, to: length})
	s.play("cy", actor{clip: w.clip("neutral", event.VP8), tone: w.tone(500), from: 4 * time.Second, to: length})
	s.end(length)
	return s
}

// handedOver waits until a session's steps are anybody's.
func (w *world) handedOver(sessionID string) db.RecordingHandoverRow {
	w.t.Helper()
	var row db.RecordingHandoverRow
	testkit.Eventually(w.t, 4*time.Minute, func() bool {
		err := w.db.NewSelect().Model(&row).Where("session_id = ?", sessionID).Where("state = ?", db.HandoverReady).Scan(context.Background())
		return err == nil
	}, "the session is handed over")
	return row
}

// inStore lists what is handed over.
func (w *world) inStore() []string {
	w.t.Helper()
	var keys []string
	if err := w.objects.List(context.Background(), handover.Prefix, func(key string) error {
		keys = append(keys, key)
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
	return keys
}

// emptied waits until nothing is handed over, nor any key of it there.
func (w *world) emptied() {
	w.t.Helper()
	testkit.Eventually(w.t, 4*time.Minute, func() bool {
		n, err := w.db.NewSelect().Model((*db.RecordingHandoverRow)(nil)).Count(context.Background())
		return err == nil && n == 0 && len(w.inStore()) == 0
	}, "what was handed over is gone")
}

// untilDone waits until somebody but the worker has done a step of the kind.
func (w *world) untilDone(kind, but string) {
	testkit.Eventually(w.t, 6*time.Minute, func() bool {
		done, err := w.db.NewSelect().Model((*db.RecordingJobRow)(nil)).Where("kind = ?", kind).Where("state = ?", db.JobDone).
			Where("worker <> ?", but).Exists(context.Background())
		return err == nil && done
	}, "another machine has done a "+kind)
}

// content is what a movie shows and says: a hash of each picture, and of each
// packet of sound.
func (w *world) content(run db.RecordingRow) string {
	w.t.Helper()
	movies := w.files(run.ID)[kindMovie]
	if len(movies) != 1 {
		w.t.Fatalf("movies of %s: %+v", run.CID, movies)
	}
	text, err := w.objects.Get(w.t.Context(), movies[0].ObjectKey)
	if err != nil {
		w.t.Fatal(err)
	}
	path := filepath.Join(w.t.TempDir(), "movie.mp4")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		w.t.Fatal(err)
	}
	out, err := exec.Command("ffmpeg", "-v", "error", "-xerror", "-i", path, "-map", "0:v", "-map", "0:a", "-c:a", "copy", "-f", "framemd5", "-").Output()
	if err != nil {
		w.t.Fatalf("movie of %s: %v", run.CID, err)
	}
	return string(out)
}

// Two machines without a common disk make the chunks of one call, and the movie
// is the one that a machine makes alone. Afterwards nothing of it is left
// anywhere but the files.
func TestMachinesShareOneCall(t *testing.T) {
	t.Parallel()
	var a *world
	a = newPlace(t, oneMovie, func(c *Config) {
		c.begun = func(kind string) {
			if kind == stepChunk {
				a.untilDone(stepChunk, "node n1")
			}
		}
	})
	b := a.other("n2", sharing)
	s := a.coming("both")
	run := a.until("default:both", db.RecordingReady, 9*time.Minute)
	by := a.workers(run.ID)
	if by["node n1"] == 0 || by["node n2"] == 0 {
		t.Errorf("steps were done by %v", by)
	}
	a.emptied()
	a.gone()
	b.gone()
	as, bs := a.Stats(), b.Stats()
	t.Logf("steps by %v; %d bytes handed over by the first machine, %d by the second; the second fetched %d, the first %d",
		by, as.Handed, bs.Handed, bs.Fetched, as.Fetched)
	if as.Handed == 0 || bs.Handed == 0 || bs.Fetched == 0 || as.Fetched == 0 {
		t.Errorf("stats %+v and %+v", as, bs)
	}
	alone := newWorld(t, func(p *recording.Plan) { *p = a.plan })
	alone.coming("alone")
	want := alone.content(alone.until("default:alone", db.RecordingReady, 9*time.Minute))
	if got := a.content(run); got != want || strings.Count(got, "\n") < 150 {
		t.Errorf("the movie of %s made by two has other pictures or sound than made by one:\n%s\nwant\n%s", s.info.SessionID, tail(got, 400), tail(want, 400))
	}
}

// What lies in the store is of no use without the database: no key is there,
// and nothing that was sent or made stands in the clear.
func TestWhatIsHandedOverIsSealed(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	var once sync.Once
	free := func() { once.Do(func() { close(hold) }) }
	t.Cleanup(free)
	a := newYard(t, oneMovie, func(c *Config) {
		c.begun = func(kind string) {
			if kind == stepJoin {
				<-hold
			}
		}
	})
	s := a.coming("sealed")
	row := a.handedOver(s.info.SessionID)
	a.untilDone(stepSound, "")
	a.untilDone(stepChunk, "")
	key, err := os.ReadFile(filepath.Join(a.rawDir(s.info.SessionID), "key"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := a.parcel(&row)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(row.Key, string(p.Key[:])) {
		t.Error("the key is not sealed")
	}
	keys := a.inStore()
	if len(keys) < 9 { // a journal, six streams, and what was made
		t.Errorf("objects %v", keys)
	}
	for _, k := range keys {
		text, err := a.objects.Get(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		for _, clear := range [][]byte{key, p.Key[:], []byte("default:sealed"), []byte("nut/multimedia"), []byte("RIFF"), []byte("ada")} {
			if bytes.Contains(text, clear) && len(clear) > 3 {
				t.Errorf("%s holds %q", k, clear)
			}
		}
		if !strings.HasPrefix(k, handover.Prefix+s.info.SessionID+"/") || strings.HasSuffix(k, "/key") {
			t.Errorf("object %s", k)
		}
	}
	free()
	a.until("default:sealed", db.RecordingReady, 9*time.Minute)
	a.emptied()
}

// A machine is killed in the middle of a chunk that another handed over: the
// chunk is made again.
func TestAKilledMachinesChunkIsTakenOver(t *testing.T) {
	t.Parallel()
	var a *world
	hold := make(chan struct{})
	var once sync.Once
	free := func() { once.Do(func() { close(hold) }) }
	t.Cleanup(free)
	a = newPlace(t, oneMovie, func(c *Config) {
		c.begun = func(kind string) {
			if kind != stepPlan {
				<-hold
			}
		}
	})
	s := a.coming("killed")
	a.handedOver(s.info.SessionID)
	place, err := json.Marshal(machine{URL: a.url, S3: a.s3})
	if err != nil {
		t.Fatal(err)
	}
	v := &victim{t: t, dir: t.TempDir(), lane: lanes[1], env: []string{machineEnv + "=" + string(place)}}
	if !v.run("machine", moment{line: "step=chunk ", after: 50 * time.Millisecond}) {
		t.Fatal("the machine was done before it was killed")
	}
	var orphans []db.RecordingJobRow
	err = a.db.NewSelect().Model(&orphans).Where("kind = ?", stepChunk).Where("state = ?", db.JobRunning).Where("worker = ?", "node victim").Scan(t.Context())
	if err != nil || len(orphans) == 0 {
		t.Fatalf("chunks of the dead: %d, %v", len(orphans), err)
	}
	free()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	a.start(sharing, func(c *Config) { // by this clock the lease of the dead is over
		c.Now = func() time.Time { return time.Now().Add(30 * time.Second) }
	})
	run := a.until("default:killed", db.RecordingReady, 9*time.Minute)
	for _, o := range orphans {
		var now db.RecordingJobRow
		if err := a.db.NewSelect().Model(&now).Where("id = ?", o.ID).Scan(t.Context()); err != nil || now.State != db.JobDone || now.Worker != "node n1" {
			t.Errorf("chunk %d: %+v, %v", o.N, now, err)
		}
	}
	if n := strings.Count(a.content(run), "\n"); n < 150 {
		t.Errorf("%d lines of pictures and sound", n)
	}
	a.emptied()
	a.gone()
}

// The machine that carried the call is gone: another makes all of it.
func TestAnotherMachineFinishesWhatTheFirstHandedOver(t *testing.T) {
	t.Parallel()
	var a *world
	a = newPlace(t, func(p *recording.Plan) { oneMovie(p); p.Individual, p.Raw = recording.ModeAutoOn, recording.ModeAutoOn }, func(c *Config) {
		c.begun = func(kind string) {
			if kind == stepChunk || kind == stepSplit || kind == stepDump {
				a.handedOver(a.sessionID())
			}
		}
	})
	s := a.coming("alone")
	a.handedOver(s.info.SessionID)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	b := a.other("n2", sharing, func(c *Config) {
		c.late = time.Millisecond
		c.Now = func() time.Time { return time.Now().Add(30 * time.Second) } // the first one's leases are over
	})
	runs := a.ready("default:alone", 3)
	for _, run := range runs {
		files := a.files(run.ID)
		if run.Type == recording.TypeComposite && len(files[kindMovie]) != 1 || run.Type == recording.TypeIndividual && len(files[kindVideo]) != 3 ||
			run.Type == recording.TypeRaw && (len(files[kindRaw]) != 6 || len(files[kindMetadata]) != 1) {
			t.Errorf("files of %s: %v", run.Type, files)
		}
		for _, all := range files {
			for _, f := range all {
				if off := f.StartedAt.Sub(s.info.StartedAt); off < -time.Millisecond || off > 5*time.Second {
					t.Errorf("%s begins %s after the session", f.Filename, off)
				}
			}
		}
	}
	a.emptied()
	b.gone()
}

// sessionID is that of the only session.
func (w *world) sessionID() string {
	var run db.RecordingRow
	if err := w.db.NewSelect().Model(&run).Limit(1).Scan(context.Background()); err != nil {
		w.t.Error(err)
	}
	return run.SessionID
}

// ready waits for so many runs of a call to be ready.
func (w *world) ready(cid string, n int) []db.RecordingRow {
	w.t.Helper()
	var rows []db.RecordingRow
	testkit.Eventually(w.t, 9*time.Minute, func() bool {
		err := w.db.NewSelect().Model(&rows).Where("cid = ?", cid).Where("state = ?", db.RecordingReady).Scan(context.Background())
		return err == nil && len(rows) == n
	}, "all runs are ready")
	return rows
}

// While the store takes nothing, steps wait; nothing is lost and nothing fails.
func TestStepsWaitForTheStoreThatHandsOver(t *testing.T) {
	t.Parallel()
	var a *world
	var once sync.Once
	a = newPlace(t, oneMovie, func(c *Config) {
		c.begun = func(kind string) {
			if kind != stepChunk {
				return
			}
			once.Do(func() {
				a.handedOver(a.sessionID())
				a.objects.fail(func(ref string) error {
					if strings.HasPrefix(ref, handover.Prefix) {
						return errors.New("503 slow down")
					}
					return nil
				})
			})
		}
	})
	a.coming("away")
	testkit.Eventually(t, 6*time.Minute, func() bool { return a.objects.refusals() > 2 }, "the store refuses")
	run := a.until("default:away", db.RecordingProcessing, 4*time.Minute)
	steps, err := a.queue.Of(t.Context(), a.db, run.ID, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range steps {
		if j.Attempts != 0 || j.State == db.JobFailed {
			t.Errorf("%s is %s after %d failures", j.Kind, j.State, j.Attempts)
		}
	}
	a.objects.fail(nil)
	run = a.until("default:away", db.RecordingReady, 9*time.Minute)
	if n := strings.Count(a.content(run), "\n"); n < 150 {
		t.Errorf("%d lines of pictures and sound", n)
	}
	a.emptied()
	a.gone()
}

// A store that never takes the packets keeps no file from being made where
// they are.
func TestWhatCannotBeHandedOverIsMadeWhereItIs(t *testing.T) {
	t.Parallel()
	a := newYard(t, oneMovie)
	a.objects.fail(func(ref string) error {
		if strings.HasPrefix(ref, handover.Prefix) {
			return errors.New("403 forbidden")
		}
		return nil
	})
	b := a.other("n2", sharing)
	a.coming("kept")
	run := a.until("default:kept", db.RecordingReady, 9*time.Minute)
	if n := b.Stats().Failed + a.Stats().Failed; n != 0 || b.Stats().Steps != 0 || len(a.files(run.ID)[kindMovie]) != 1 || a.objects.refusals() == 0 {
		t.Errorf("%d failures, %d steps elsewhere, %d refusals", n, b.Stats().Steps, a.objects.refusals())
	}
	a.emptied()
}

// No byte of a call that nobody flagged, or that nobody answered, comes to the
// store on the way.
func TestWhatIsNotKeptIsNeverHandedOver(t *testing.T) {
	t.Parallel()
	a := newPlace(t, func(p *recording.Plan) { p.Evidence = recording.ModeOnFlag }, func(c *Config) { c.FlagGrace = time.Second })
	var mu sync.Mutex
	var put []string
	a.objects.fail(func(ref string) error {
		mu.Lock()
		defer mu.Unlock()
		put = append(put, ref)
		return nil
	})
	var all []*scene
	for i := range 5 {
		s := a.short(fmt.Sprint("call-", i))
		all = append(all, s)
		if i == 2 {
			a.flag(s.info, "ada")
		}
		s.end(2 * time.Second)
	}
	a.until("default:call-2", db.RecordingReady, 6*time.Minute)
	a.plan.Evidence, a.plan.Composite, a.plan.RecordAlone = recording.ModeDisabled, recording.ModeAutoOn, false
	s := a.session("unanswered", time.Now().Add(-3*time.Second))
	s.play("ada", actor{clip: a.clip("neutral", event.VP8), tone: a.tone(400), to: 2 * time.Second})
	s.end(2 * time.Second)
	all = append(all, s)
	a.gone()
	a.idle()
	a.emptied()
	if runs, err := a.db.NewSelect().Model((*db.RecordingRow)(nil)).Where("cid = ?", "default:unanswered").Count(t.Context()); err != nil || runs != 0 {
		t.Errorf("%d recordings of a call that nobody answered, %v", runs, err)
	}
	mu.Lock()
	defer mu.Unlock()
	for i, s := range all {
		touched := slices.ContainsFunc(put, func(ref string) bool { return strings.Contains(ref, s.info.SessionID) })
		if touched != (i == 2) {
			t.Errorf("call %d of %d was put into the store: %v", i, len(all), touched)
		}
	}
}

// A machine with another master key cannot read what is handed over: it
// leaves it to those who can.
func TestAMachineWithAnotherKeyStepsBack(t *testing.T) {
	t.Parallel()
	other, err := seal.New([]byte(strings.Repeat("x", seal.KeyBytes)))
	if err != nil {
		t.Fatal(err)
	}
	var a, b *world
	tried := make(chan struct{})
	a = newYard(t, oneMovie, func(c *Config) {
		c.begun = func(kind string) {
			if kind == stepChunk {
				<-tried
			}
		}
	})
	b = a.other("n2", sharing, func(c *Config) { c.Seal = other })
	a.coming("locked")
	testkit.Eventually(t, 6*time.Minute, func() bool {
		b.Recorder.mu.Lock()
		defer b.Recorder.mu.Unlock()
		return !b.restUntil.IsZero()
	}, "the other machine steps back")
	close(tried)
	run := a.until("default:locked", db.RecordingReady, 9*time.Minute)
	if by := a.workers(run.ID); by["node n2"] != 0 || b.Stats().Steps != 0 || a.Stats().Failed+b.Stats().Failed != 0 {
		t.Errorf("steps by %v", by)
	}
	a.emptied()
	b.gone()
}

// What a machine that died left in the store, with a row or without, is swept
// away; what is still needed is not.
func TestASweepEmptiesWhatWasLeft(t *testing.T) {
	t.Parallel()
	a := newYard(t, oneMovie)
	put := func(session string) {
		if err := a.objects.Upload(t.Context(), handover.Prefix+session+"/packets/journal", strings.NewReader("x"), ""); err != nil {
			t.Fatal(err)
		}
	}
	run, err := newRun(event.NewID(), "default:x", "kept", "n9", recording.TypeComposite, db.LaneBusiness, a.plan, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	run.State = db.RecordingFailed
	if _, err := a.db.NewInsert().Model(&run).Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	for session, state := range map[string]string{"kept": db.HandoverReady, "over": db.HandoverReady, "ending": db.HandoverEnding, "begun": db.HandoverPutting, "stray": ""} {
		if state != "" {
			row := db.RecordingHandoverRow{SessionID: session, Node: "n9", State: state, Key: "k"}
			row.Files.V = json.RawMessage("[]")
			if _, err := a.db.NewInsert().Model(&row).Exec(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		put(session)
	}
	if err := a.sweepHandovers(t.Context()); err != nil {
		t.Error(err)
	}
	if got := a.inStore(); !slices.Equal(got, []string{handover.Prefix + "kept/packets/journal"}) {
		t.Errorf("left %v", got)
	}
	if _, err := a.db.NewUpdate().Model(&run).Set("state = ?", db.RecordingDiscarded).WherePK().Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.release(t.Context(), "kept"); err != nil {
		t.Error(err)
	}
	a.emptied()
}

// A file that was changed in the store is fetched by nobody.
func TestPacketsThatWereChangedAreNotTaken(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	var once sync.Once
	free := func() { once.Do(func() { close(hold) }) }
	t.Cleanup(free)
	a := newYard(t, oneMovie, func(c *Config) {
		c.begun = func(kind string) {
			if kind != stepPlan {
				<-hold
			}
		}
	})
	s := a.coming("changed")
	a.handedOver(s.info.SessionID)
	i := slices.IndexFunc(a.inStore(), func(k string) bool { return strings.HasSuffix(k, ".rtp") })
	key := a.inStore()[i]
	text, err := a.objects.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := a.objects.Upload(t.Context(), key, bytes.NewReader(text), ""); err != nil {
		t.Fatal(err)
	}
	b := a.other("n2", sharing)
	testkit.Eventually(t, 6*time.Minute, func() bool {
		b.Recorder.mu.Lock()
		defer b.Recorder.mu.Unlock()
		return !b.restUntil.IsZero()
	}, "the other machine leaves it")
	if _, err := b.openPackets(t.Context(), s.info.SessionID); !errors.Is(err, handover.ErrChanged) || errors.Is(err, blob.ErrNotFound) {
		t.Errorf("opened: %v", err)
	}
	free()
	a.until("default:changed", db.RecordingReady, 9*time.Minute)
	a.emptied()
	b.gone()
}

// What another machine made and was damaged in the store is made again, as what
// is not there.
func TestWhatWasMadeAndIsDamagedIsMadeAgain(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	free := sync.OnceFunc(func() { close(hold) })
	t.Cleanup(free)
	var a *world
	a = newYard(t, oneMovie, func(c *Config) {
		c.begun = func(kind string) {
			switch kind {
			case stepChunk, stepSound:
				a.handedOver(a.sessionID())
			case stepJoin:
				<-hold
			}
		}
	})
	s := a.coming("damaged")
	a.handedOver(s.info.SessionID)
	a.untilDone(stepSound, "")
	for _, key := range a.inStore() {
		if !strings.HasSuffix(key, soundName) {
			continue
		}
		if err := a.objects.Upload(t.Context(), key, strings.NewReader("something else"), ""); err != nil {
			t.Fatal(err)
		}
	}
	b := a.other("n2", sharing, func(c *Config) { c.WorkerOnly = true })
	run := a.until("default:damaged", db.RecordingProcessing, 4*time.Minute)
	rows, err := a.queue.Of(t.Context(), a.db, run.ID, stepSound)
	if err != nil || len(rows) != 1 {
		t.Fatalf("%d mixes, %v", len(rows), err)
	}
	j := &job.Job{RecordingJobRow: rows[0]}
	at := &task{r: b.Recorder, job: j, run: run, log: b.log, dir: t.TempDir()}
	if err := at.bring(t.Context(), rows[0]); err != nil {
		t.Errorf("brought: %v", err)
	}
	if _, err := os.Stat(filepath.Join(at.dir, movieDir(0), soundName)); !os.IsNotExist(err) {
		t.Errorf("what is damaged lies here: %v", err)
	}
	if !a.ownStep(t.Context(), j) || b.ownStep(t.Context(), j) {
		t.Error("a step is of the machine that carried the call")
	}
	if !b.canBegin(t.Context(), b.db, run) {
		t.Error("what is handed over can be made again")
	}
	free()
	a.until("default:damaged", db.RecordingReady, 9*time.Minute)
	a.emptied()
	if b.canBegin(t.Context(), b.db, run) {
		t.Error("what is gone can be made again")
	}
}

// What one machine announces wakes the workers of another.
func TestStepsAreAnnounced(t *testing.T) {
	t.Parallel()
	url := testkit.Redis(t)
	join := func(c *Config) {
		one, err := bus.Open(t.Context(), bus.Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = one.Close() })
		c.Bus, c.Handover, c.WorkerOnly = one, true, false
	}
	a := newWorld(t, oneMovie, join)
	b := &Recorder{cfg: a.Recorder.cfg, log: a.Recorder.log, wake: make(chan struct{}, 1), stale: make(chan struct{}, 1)}
	b.cfg.Workers = 1
	ctx, cancel := context.WithCancel(t.Context())
	var over sync.WaitGroup
	over.Go(func() { b.listen(ctx) })
	testkit.Eventually(t, 4*time.Minute, func() bool {
		a.announce(t.Context(), "s") // what came before somebody listens, nobody hears
		select {
		case <-b.wake:
			return true
		default:
			return false
		}
	}, "the other machine wakes")
	cancel()
	over.Wait()
}
