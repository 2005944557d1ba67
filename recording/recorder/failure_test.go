package recorder

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"stillwatch/internal/blob"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/seal"
	"stillwatch/internal/testkit"
	"stillwatch/recording"
	"stillwatch/recording/archive"
)

// answer is what a store says.
type answer int

func (a answer) Error() string       { return fmt.Sprintf("the store answers %d", int(a)) }
func (a answer) HTTPStatusCode() int { return int(a) }

func oneMovie(p *recording.Plan) { p.Composite = recording.ModeAutoOn }

// short plays a call of two, which ends after two seconds.
func (w *world) short(id string) *scene {
	w.t.Helper()
	return w.shortAt(id, time.Now())
}

func (w *world) shortAt(id string, start time.Time) *scene {
	w.t.Helper()
	a := actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: 2 * time.Second}
	b := actor{clip: w.clip("drawing", event.H264), tone: w.tone(600), to: 2 * time.Second}
	s := w.session(id, start)
	s.play("ada", a)
	s.play("ben", b)
	return s
}

// failure waits for the one failure of a run and looks at what was told of it.
func (w *world) failure(cid string, code int) (db.RecordingRow, event.RecordingFailed) {
	w.t.Helper()
	run := w.until(cid, db.RecordingFailed, 6*time.Minute)
	var body event.RecordingFailed
	all := w.events(event.CallRecordingFailed)
	if len(all) != 1 {
		w.t.Fatalf("%d events of failure", len(all))
	}
	if err := all[0].Decode(&body); err != nil {
		w.t.Fatal(err)
	}
	if run.ErrorCode != code || body.Error.Code != code || body.EgressID != run.ID || body.CallCID != cid {
		w.t.Errorf("run %+v\ntold %+v, want code %d", run, body, code)
	}
	if n := len(w.events(event.CallRecordingReady)); n > 0 {
		w.t.Errorf("%d events of files of what failed", n)
	}
	if files := w.files(run.ID); len(files) > 0 {
		w.t.Errorf("files of what failed: %+v", files)
	}
	if strings.Contains(body.Error.Message, w.dir) || strings.Contains(body.Error.Message, "/") {
		w.t.Errorf("the message tells of paths: %s", body.Error.Message)
	}
	return run, body
}

// kept fails unless the packets of a session are there and can be read.
func (w *world) kept(s *scene) {
	w.t.Helper()
	reader, err := w.openRaw(s.info.SessionID)
	if err != nil {
		w.t.Fatalf("the packets are not kept: %v", err)
	}
	for _, st := range reader.Streams() {
		for _, err := range reader.Packets(st.ID) {
			if err != nil {
				w.t.Errorf("packets of %s: %v", st.UserID, err)
			}
		}
	}
}

// heals tries a run again that failed, and fails unless that makes its files.
func (w *world) heals(run db.RecordingRow) map[string][]db.RecordingFileRow {
	w.t.Helper()
	if err := w.Retry(w.t.Context(), run.ID); err != nil {
		w.t.Fatal(err)
	}
	w.until(run.CID, db.RecordingReady, 6*time.Minute)
	files := w.files(run.ID)
	if n := len(w.events(event.CallRecordingReady)); n == 0 {
		w.t.Error("nobody is told of the files")
	}
	w.gone()
	return files
}

func TestAStoreThatIsAwayIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, oneMovie)
	w.objects.fail(func(string) error { return answer(http.StatusServiceUnavailable) })
	s := w.short("away")
	s.end(2 * time.Second)
	run := w.until("default:away", db.RecordingProcessing, 4*time.Minute)
	testkit.Eventually(t, 4*time.Minute, func() bool { return w.objects.refusals() >= 4 }, "tried more than once")
	w.kept(s)
	w.objects.fail(nil)
	w.until("default:away", db.RecordingReady, 4*time.Minute)
	if files := w.files(run.ID); len(files[kindMovie]) != 1 || len(w.events(event.CallRecordingReady)) != 1 || len(w.events(event.CallRecordingFailed)) != 0 {
		t.Errorf("files %+v", files)
	}
	w.gone()
}

// storeAway is how long the store of TestARealStoreThatAnswers503 is away at
// least, set by the nightly run (STILLWATCH_STORE_AWAY=5m); else it is away
// until six requests were refused, with the same pauses between tries.
func storeAway(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("STILLWATCH_STORE_AWAY")
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The lease of a step that is done is not renewed any more, which ends the
// step's context: what the run was made of goes all the same.
func TestWhatARunWasMadeOfGoesAfterItsLease(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) {})
	run, err := newRun(event.NewID(), "default:x", event.NewID(), "n1", recording.TypeComposite, db.LaneBusiness, w.plan, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{w.workDir(run.ID), w.rawDir(run.SessionID)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	(&task{r: w.Recorder, run: run, log: w.log}).leave(ctx)
	if left := w.left(); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

// A real store behind a proxy that answers 503 for a while: the packets are
// kept, and when it is back each file is stored once and told of once.
func TestARealStoreThatAnswers503(t *testing.T) {
	t.Parallel()
	s3 := testkit.MinIO(t)
	to, err := url.Parse(s3.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	var down atomic.Bool
	var refused atomic.Int64
	pass := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host // it is signed
	}}
	proxy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if down.Load() {
			refused.Add(1)
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		pass.ServeHTTP(rw, r)
	}))
	t.Cleanup(proxy.Close)
	w := &world{t: t, dir: t.TempDir(), plan: recording.DefaultPlan()}
	w.plan.Quality, w.plan.RecordAlone = "360p", true
	oneMovie(&w.plan)
	s3.Endpoint = proxy.URL
	w.s3 = &s3
	w.open()
	w.start()
	down.Store(true)
	s := w.short("s3")
	s.end(2 * time.Second)
	testkit.Eventually(t, 6*time.Minute, func() bool { return refused.Load() >= 1 }, "the store was asked")
	since, away := time.Now(), storeAway(t)
	testkit.Eventually(t, away+6*time.Minute, func() bool { return refused.Load() >= 6 && time.Since(since) >= away }, "the store was asked again and again")
	w.kept(s)
	if run := w.until("default:s3", db.RecordingProcessing, 4*time.Minute); len(w.files(run.ID)) != 0 {
		t.Errorf("files while the store is away: %+v", w.files(run.ID))
	}
	lasted := time.Since(since)
	down.Store(false)
	run := w.until("default:s3", db.RecordingReady, 6*time.Minute)
	objects := map[string]int{}
	for kind, files := range w.files(run.ID) {
		for _, f := range files {
			for _, item := range f.Items.V {
				objects[item.Key]++
				if o, err := w.objects.Stat(t.Context(), item.Key); err != nil || o.Size != item.Size {
					t.Errorf("%s: object %+v, %v; want %d bytes", kind, o, err, item.Size)
				}
			}
		}
	}
	var keys []string
	err = w.own.List(t.Context(), "", func(key string) error {
		if keys = append(keys, key); objects[key] != 1 {
			t.Errorf("%s is in the store and of %d files", key, objects[key])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ready, failed := len(w.events(event.CallRecordingReady)), len(w.events(event.CallRecordingFailed))
	if len(w.files(run.ID)[kindMovie]) != 1 || len(keys) != len(objects) || ready != 1 || failed != 0 {
		t.Errorf("%d movies; %d objects of %d; %d told ready, %d failed", len(w.files(run.ID)[kindMovie]), len(keys), len(objects), ready, failed)
	}
	w.gone()
	t.Logf("the store answered 503 for %s: %d requests were refused, the packets were kept, then %d objects were stored, each once; %d event of a file ready, %d of a failure",
		lasted.Round(time.Second), refused.Load(), len(keys), ready, failed)
}

func TestAStoreThatRefusesIsReplacedByTheBackup(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) { p.Composite = recording.ModeAvailable })
	w.makeCall("backup")
	// Nobody is there yet: the recorder is armed. The storage was taken out of
	// the settings since.
	id, err := w.Desk().Start(t.Context(), recording.Order{CID: "default:backup", Type: recording.TypeComposite, Storage: "gone", By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	w.short("backup").end(2 * time.Second)
	run := w.until("default:backup", db.RecordingReady, 4*time.Minute)
	files := w.files(run.ID)
	if run.ID != id || len(files[kindMovie]) != 1 || files[kindMovie][0].Storage != "" {
		t.Errorf("run %s, want %s; files %+v", run.ID, id, files)
	}
	if _, err := os.Stat(w.path(files[kindMovie][0].ObjectKey)); err != nil {
		t.Error(err)
	}
}

func TestAStoreThatRefusesForEverIsAFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t, oneMovie)
	// The movie gets in, what belongs beside it does not: nothing is told.
	w.objects.fail(func(ref string) error {
		if strings.Contains(ref, "metadata") {
			return answer(http.StatusForbidden)
		}
		return nil
	})
	s := w.short("refused")
	s.end(2 * time.Second)
	run, body := w.failure("default:refused", CodeStore)
	if body.Error.Message == "" || body.Format != "mp4" {
		t.Errorf("told %+v", body)
	}
	w.kept(s)
	w.objects.fail(nil)
	files := w.heals(run)
	if len(files[kindMovie]) != 1 || len(w.events(event.CallRecordingReady)) != 1 {
		t.Errorf("files %+v", files)
	}
	w.onlyThese(files)
}

// onlyThese fails on objects that no file has.
func (w *world) onlyThese(files ...map[string][]db.RecordingFileRow) {
	w.t.Helper()
	want := map[string]bool{}
	for _, kinds := range files {
		for _, rows := range kinds {
			for _, f := range rows {
				for _, item := range f.Items.V {
					want[w.path(item.Key)] = true
				}
			}
		}
	}
	err := filepath.WalkDir(filepath.Join(w.dir, "objects"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !want[path] {
			w.t.Errorf("stray object %s", path)
		}
		return err
	})
	if err != nil {
		w.t.Error(err)
	}
}

func TestPacketsUnderAnotherMasterKeyAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, oneMovie)
	s := w.shortAt("key", time.Now().Add(-3*time.Second))
	if err := w.Close(); err != nil { // in the middle of the call
		t.Fatal(err)
	}
	other, err := seal.New([]byte(strings.Repeat("x", seal.KeyBytes)))
	if err != nil {
		t.Fatal(err)
	}
	right := w.Recorder.cfg.Seal
	w.start(func(c *Config) { c.Seal = other })
	run, _ := w.failure("default:key", CodePackets)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	w.start(func(c *Config) { c.Seal = right })
	w.kept(s)
	if files := w.heals(run); len(files[kindMovie]) != 1 {
		t.Errorf("files %+v", files)
	}
}

// A spool of an unflagged call that cannot be read now may be of a flagged one.
func TestWhatCannotBeReadIsNotDestroyed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) { p.Evidence = recording.ModeOnFlag })
	s := w.short("spool")
	w.flag(s.info, "ada")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	other, err := seal.New([]byte(strings.Repeat("x", seal.KeyBytes)))
	if err != nil {
		t.Fatal(err)
	}
	right := w.Recorder.cfg.Seal
	w.start(func(c *Config) { c.Seal = other })
	if err := w.decide(t.Context(), s.info.SessionID, true); !errors.Is(err, seal.ErrOtherKey) {
		t.Fatal(err)
	}
	if err := errors.Join(w.Sweep(t.Context()), w.Close()); err != nil {
		t.Fatal(err)
	}
	w.start(func(c *Config) { c.Seal = right })
	w.until("default:spool", db.RecordingReady, 4*time.Minute)
	w.gone()
}

// What cannot be read is decided over where the database knows the session:
// what was not flagged goes, and what was fails with its packets kept.
func TestWhatCannotBeReadIsDecidedOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) { p.Evidence = recording.ModeOnFlag })
	plain, flagged := w.session("plain", time.Now().Add(-time.Minute)), w.session("flagged", time.Now().Add(-time.Minute))
	for _, s := range []*scene{plain, flagged} {
		s.play("ada", actor{tone: w.tone(400), to: time.Second})
		row := db.SessionRow{ID: s.info.SessionID, CID: s.info.CID, Node: "n1", StartedAt: db.At(s.info.StartedAt), EndedAt: db.At(s.info.StartedAt.Add(time.Second))}
		if _, err := w.db.NewInsert().Model(&row).Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w.flag(flagged.info, "ada")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*scene{plain, flagged} { // damaged in place
		path := filepath.Join(w.rawDir(s.info.SessionID), "journal")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text[len(text)/2] ^= 1
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.start()
	run := w.until(flagged.info.CID, db.RecordingFailed, 6*time.Minute)
	if run.ErrorCode != CodePackets || !flagged.spools() {
		t.Errorf("run %+v, packets kept: %t", run, flagged.spools())
	}
	testkit.Eventually(t, 4*time.Minute, func() bool { return !plain.spools() }, "packets that nobody needs are gone")
}

func TestACallWithoutSoundIsASilentMovie(t *testing.T) {
	t.Parallel()
	w := newWorld(t, oneMovie)
	a := actor{clip: w.clip("neutral", event.VP8), to: time.Second}
	s := w.session("silent", time.Now())
	s.play("ada", a)
	s.end(time.Second)
	run := w.until("default:silent", db.RecordingReady, 4*time.Minute)
	files := w.files(run.ID)
	if len(files[kindMovie]) != 1 || hasStream(files[kindMovie][0], "audio") || !hasStream(files[kindMovie][0], "video") {
		t.Errorf("files %+v", files)
	}
	w.gone()
}

func TestTheShortestCalls(t *testing.T) {
	t.Parallel()
	const length = 300 * time.Millisecond
	t.Run("with a keyframe", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, oneMovie)
		a := actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: length}
		s := w.session("tiny", time.Now())
		s.play("ada", a)
		s.end(length)
		run := w.until("default:tiny", db.RecordingReady, 4*time.Minute)
		movie := w.files(run.ID)[kindMovie]
		if len(movie) != 1 {
			t.Fatalf("movies %+v", movie)
		}
		told := movie[0].EndedAt.Sub(movie[0].StartedAt.Time).Seconds()
		if l := lasts(t, movie[0]); told < 0.3 || l < told-0.05 || l > told+0.1 {
			t.Errorf("a movie of %.3f s lasts %.3f s", told, l)
		}
		w.gone()
	})
	t.Run("without one", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, oneMovie)
		clip := *w.clip("neutral", event.VP8)
		clip.Frames = clip.Frames[1:20]
		s := w.session("keyless", time.Now())
		s.play("ada", actor{clip: &clip, to: length})
		s.end(length)
		run, _ := w.failure("default:keyless", CodeEmpty)
		w.kept(s)
		// Another try does not help, and tells so.
		if err := w.Retry(t.Context(), run.ID); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, 4*time.Minute, func() bool { return len(w.events(event.CallRecordingFailed)) == 2 }, "told again")
	})
	t.Run("with nobody", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, oneMovie)
		s := w.session("empty", time.Now())
		s.settle()
		s.end(length)
		w.failure("default:empty", CodeEmpty)
		w.kept(s)
	})
	t.Run("that nobody answered", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, func(p *recording.Plan) { oneMovie(p); p.RecordAlone = false })
		a := actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: length}
		s := w.session("alone", time.Now())
		s.play("ada", a)
		s.end(length)
		w.idle()
		w.gone()
		for _, typ := range []string{event.CallRecordingStarted, event.CallRecordingStopped, event.CallRecordingFailed} {
			if n := len(w.events(typ)); n != 0 {
				t.Errorf("%d events %s", n, typ)
			}
		}
	})
}

// A run that is stopped at once is shorter than a picture lasts.
func TestARunOfAMoment(t *testing.T) {
	t.Parallel()
	w := newWorld(t, oneMovie)
	s := w.short("moment")
	if err := w.Desk().Stop(t.Context(), "default:moment", recording.TypeComposite, "ada"); err != nil {
		t.Fatal(err)
	}
	run := w.until("default:moment", db.RecordingProcessing, 4*time.Minute)
	run.StoppedAt = db.At(run.StartedAt.Add(8 * time.Millisecond)) // its first step has not begun
	if _, err := w.db.NewUpdate().Model(&run).Column("stopped_at").WherePK().Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.until("default:moment", db.RecordingReady, 4*time.Minute)
	if movie := w.files(run.ID)[kindMovie]; len(movie) != 1 || movie[0].Media.V.Format.Duration > "0.5" {
		t.Errorf("movies %+v", movie)
	}
	w.kept(s) // the call goes on
	s.end(2 * time.Second)
	w.gone()
}

// mounted puts a small file system at a folder of the recorder.
func mounted(t *testing.T, dir, size string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size+",mode=700"); err != nil {
		t.Skipf("cannot mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
}

func TestNoRoomForTheFilesThatAreMade(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	work := filepath.Join(dir, "work")
	mounted(t, work, "100k")
	w := newWorld(t, oneMovie, func(c *Config) { c.Dir = dir })
	s := w.short("full")
	s.end(2 * time.Second)
	run, body := w.failure("default:full", CodeDisk)
	if !strings.Contains(run.Error, "bytes are left") || !strings.Contains(body.Error.Message, "bytes are left") {
		t.Errorf("it is not said how much room there was: %s; told %s", run.Error, body.Error.Message)
	}
	w.kept(s)
	if err := syscall.Mount("tmpfs", work, "tmpfs", syscall.MS_REMOUNT, "size=100m"); err != nil {
		t.Fatal(err)
	}
	if files := w.heals(run); len(files[kindMovie]) != 1 {
		t.Errorf("files %+v", files)
	}
}

func TestNoRoomForPackets(t *testing.T) {
	t.Parallel()
	for _, full := range []string{"disk", "bound"} {
		t.Run(full, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if full == "disk" {
				mounted(t, filepath.Join(dir, "raw"), "200k")
			}
			w := newWorld(t, oneMovie, func(c *Config) {
				c.Dir = dir
				if full == "bound" {
					c.SpoolBytes = 300 << 10
				}
			})
			length := 10 * time.Second
			clip := *w.clip("neutral", event.VP8)
			if full == "bound" { // more than waits for room
				clip.Frames = slices.Clone(clip.Frames)
				for i, f := range clip.Frames {
					clip.Frames[i] = append(slices.Clone(f), make([]byte, 30<<10)...)
				}
			}
			s := w.session(full, time.Now())
			for _, p := range s.enter("ada", actor{clip: &clip, tone: w.tone(400), to: length}) { // faster than they are written
				p.send(s.info.StartedAt.Add(p.at))
			}
			if full == "disk" { // all waits until the end
				s.end(length)
			}
			testkit.Eventually(t, 4*time.Minute, func() bool { return len(w.events(event.CallRecordingFailed)) == 1 }, "the loss is told of")
			var body event.RecordingFailed
			if err := w.events(event.CallRecordingFailed)[0].Decode(&body); err != nil || body.Error.Code != CodeLost {
				t.Errorf("told %+v, %v", body, err)
			}
			s.end(length)
			run := w.until("default:"+full, db.RecordingReady, 6*time.Minute)
			if files := w.files(run.ID); len(files[kindMovie]) != 1 {
				t.Errorf("files %+v", files)
			}
			if n := len(w.events(event.CallRecordingFailed)); n != 1 {
				t.Errorf("%d failures told of", n)
			}
		})
	}
}

func TestFailuresHaveCodes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		code int
	}{
		{errors.New("x"), CodeOther},
		{fmt.Errorf("a: %w", errEmpty), CodeEmpty},
		{fmt.Errorf("a: %w", errPackets), CodePackets},
		{fmt.Errorf("a: %w", syscall.ENOSPC), CodeDisk},
		{&archive.Error{Class: archive.Ours, Err: syscall.ENOSPC}, CodeDisk},
		{fmt.Errorf("a: %w", archive.ErrStoreDown), CodeStore},
		{&archive.Error{Class: archive.Destinations, Err: blob.ErrBadKey}, CodeStore},
		{errLost, CodeLost},
		{&archive.Error{Class: archive.Ours, Err: fmt.Errorf("%w: it has expired", archive.ErrKey)}, CodeKey},
		{context.DeadlineExceeded, CodeOther},
	} {
		if got := codeOf(c.err); got != c.code {
			t.Errorf("%v has code %d, want %d", c.err, got, c.code)
		}
		if publicText(c.err) == "" {
			t.Errorf("%v has no text", c.err)
		}
	}
}
