package recorder

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/synthetic"
	"stillwatch/internal/testkit"
	"stillwatch/recording"
)

// Of the processes that are killed: the environment that makes one of this
// test binary, and how many kills there are (STILLWATCH_KILLS, 12 by default,
// 50 in the nightly run).
const (
	victimEnv = "STILLWATCH_VICTIM"
	killsEnv  = "STILLWATCH_KILLS"
	// machineEnv tells a victim that is another machine of what they share.
	machineEnv = "STILLWATCH_MACHINE"
	// callLength is how long a victim's call lasts.
	callLength = 3500 * time.Millisecond
)

// lane is what a victim records: together they come by every step.
type lane struct {
	name   string
	change func(p *recording.Plan)
	steps  []string
}

var lanes = []lane{
	{"evidence", func(p *recording.Plan) { p.Evidence = recording.ModeOnFlag }, []string{stepPlan, stepChunk, stepSound, stepJoin, stepSplit, stepStore}},
	{"composite", func(p *recording.Plan) { p.Composite = recording.ModeAutoOn }, []string{stepPlan, stepChunk, stepSound, stepJoin, stepStore}},
	{"individual", func(p *recording.Plan) { p.Individual = recording.ModeAutoOn }, []string{stepPlan, stepSound, stepSplit, stepStore}},
	{"raw", func(p *recording.Plan) { p.Raw = recording.ModeAutoOn }, []string{stepPlan, stepDump, stepStore}},
}

// TestVictim is a process that records a call in real time, or takes up what
// an earlier one left, until there is nothing more to do.
func TestVictim(t *testing.T) {
	t.Parallel()
	dir, scene, _ := strings.Cut(os.Getenv(victimEnv), "|")
	if dir == "" {
		return // the tests that kill start it
	}
	name, scene, _ := strings.Cut(scene, "|")
	l := lanes[slices.IndexFunc(lanes, func(l lane) bool { return l.name == name })]
	w := &world{t: t, dir: dir, plan: recording.DefaultPlan()}
	w.plan.Composite, w.plan.Quality, w.plan.RecordAlone = recording.ModeDisabled, "360p", true
	l.change(&w.plan)
	var shared machine
	if scene == "machine" {
		if err := json.Unmarshal([]byte(os.Getenv(machineEnv)), &shared); err != nil {
			t.Fatal(err)
		}
		w.url, w.s3 = shared.URL, shared.S3
	}
	w.open()
	clips := []*synthetic.Clip{tiny(t, "neutral"), tiny(t, "drawing")}
	tones := []*synthetic.Tone{w.tone(400), w.tone(600)}
	w.start(func(c *Config) {
		c.WorkerOnly = scene == "worker"
		if scene == "machine" {
			c.Node, c.Handover = "victim", true
		}
		c.Log = slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	if scene == "scene" {
		s := w.session("k", time.Now())
		fmt.Printf("session %s begins\n", s.info.SessionID)
		if l.name == "evidence" {
			w.flag(s.info, "ada")
		}
		s.live(callLength, actor{clip: clips[0], tone: tones[0], to: callLength}, actor{clip: clips[1], tone: tones[1], to: callLength})
		fmt.Println("session ends")
	}
	w.idle()
	if failed, err := w.db.NewSelect().Model((*db.RecordingRow)(nil)).Where("state = ?", db.RecordingFailed).Exists(t.Context()); err != nil || !failed {
		w.gone() // of what failed all is kept
	}
	fmt.Println("victim is done")
}

// machine is what machines share.
type machine struct {
	URL string
	S3  *testkit.S3
}

func tiny(t *testing.T, picture string) *synthetic.Clip {
	t.Helper()
	c, err := synthetic.MakeClip(t.Context(), filepath.Join("..", "..", "build", "clips"), synthetic.ClipConfig{
		Picture: picture, Codec: event.VP8, Width: 160, Height: 90, Kbps: 60, FPS: 25, Seconds: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// live plays participants as they would come, each packet at its time.
func (s *scene) live(length time.Duration, actors ...actor) {
	s.w.t.Helper()
	var all []timed
	for i, a := range actors {
		all = append(all, s.enter([]string{"ada", "ben"}[i], a)...)
	}
	slices.SortStableFunc(all, func(a, b timed) int { return int(a.at - b.at) })
	for _, p := range all {
		at := s.info.StartedAt.Add(p.at)
		<-time.After(time.Until(at))
		p.send(at)
	}
	s.end(length)
}

// moment is where a process is killed: so long after a line of its log.
type moment struct {
	line  string
	after time.Duration
}

// victim is a call that is recorded by processes which are killed one after
// the other.
type victim struct {
	t    *testing.T
	dir  string
	lane lane
	// lived is how long the call lasted until the first kill.
	lived time.Duration
	id    string   // of the session
	env   []string // besides that of the test
	// hits are the names of what was under way at each kill.
	hits []string
}

// run starts a process, which records a "scene", is a "worker" alone, or takes
// up what is left, "", and kills it at the moment; the line "" is never, and it
// is false when the process was done before.
func (v *victim) run(what string, m moment) (killed bool) {
	v.t.Helper()
	env := v.dir + "|" + v.lane.name + "|" + what
	cmd := exec.Command(os.Args[0], "-test.run=^TestVictim$", "-test.v=false")
	cmd.Env = append(append(os.Environ(), v.env...), victimEnv+"="+env)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		v.t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	var said strings.Builder
	var once sync.Once
	var mu sync.Mutex
	var shots sync.WaitGroup
	now, done := "", false
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		text := lines.Text()
		mu.Lock()
		fmt.Fprintln(&said, text)
		if id, ok := strings.CutPrefix(text, "session "); ok && strings.HasSuffix(id, " begins") {
			v.id, now = strings.TrimSuffix(id, " begins"), "recording"
		}
		if text == "session ends" {
			now = "settling"
		}
		if _, rest, ok := strings.Cut(text, `msg="step begins"`); ok {
			_, rest, _ = strings.Cut(rest, "step=")
			now, _, _ = strings.Cut(rest, " ")
		}
		if strings.Contains(text, `msg="step done"`) && strings.Contains(text, "step="+now+" ") {
			now = "after " + now
		}
		done = done || text == "victim is done"
		mu.Unlock()
		if m.line == "" || !strings.Contains(text, m.line) {
			continue
		}
		began := time.Now()
		once.Do(func() {
			shots.Go(func() {
				<-time.After(m.after)
				mu.Lock()
				defer mu.Unlock()
				if done {
					return
				}
				killed = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) == nil
				if v.lived == 0 {
					v.lived = callLength
					if now == "recording" {
						v.lived = time.Since(began)
					}
				}
				v.hits = append(v.hits, now)
			})
		})
	}
	shots.Wait()
	err = cmd.Wait()
	if !killed && (err != nil || !done) {
		v.t.Fatalf("the process in %s ended by itself: %v\n%s", v.dir, err, tail(said.String(), 6000))
	}
	return killed
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

func TestKilledRecordersLoseLittleAndDoNothingTwice(t *testing.T) {
	t.Parallel()
	kills := 12
	if n, err := strconv.Atoi(os.Getenv(killsEnv)); err == nil {
		kills = n
	}
	if os.Getenv(victimEnv) != "" {
		return
	}
	for _, picture := range []string{"neutral", "drawing"} { // not by all victims at once
		tiny(t, picture)
	}
	var mu sync.Mutex
	sum := map[string]int{}
	var worst time.Duration
	left := kills
	take := func(n int) bool { // -1 gives one back
		mu.Lock()
		defer mu.Unlock()
		if left-n < 0 {
			return false
		}
		left -= n
		return true
	}
	var all sync.WaitGroup
	for n := range 4 {
		all.Go(func() {
			for i := n; ; i += 4 {
				v := &victim{t: t, dir: t.TempDir(), lane: lanes[(i/2)%len(lanes)]}
				what, killed := "scene", true
				for killed && len(v.hits) < 3 && take(1) {
					if killed = v.run(what, v.aim(what == "scene")); !killed {
						take(-1) // it was done first
					}
					what = ""
				}
				if what == "scene" {
					return
				}
				if killed {
					v.run("", moment{})
				}
				lost := v.check()
				mu.Lock()
				worst = max(worst, lost)
				for _, h := range v.hits {
					sum[h]++
				}
				mu.Unlock()
				if t.Failed() {
					return
				}
			}
		})
	}
	all.Wait()
	t.Logf("kills by what was under way: %v; most lost before a kill: %s", sum, worst.Round(time.Millisecond))
}

// aim is a random moment of a process's life.
func (v *victim) aim(scene bool) moment {
	if scene && rand.IntN(2) == 0 {
		return moment{line: "session ", after: time.Duration(rand.Int64N(int64(callLength + settle)))}
	}
	step, within := v.lane.steps[rand.IntN(len(v.lane.steps))], 300*time.Millisecond
	if step == stepPlan || step == stepDump { // which take a few milliseconds
		within = 3 * time.Millisecond
	}
	return moment{line: "step=" + step + " ", after: time.Duration(rand.Int64N(int64(within)))}
}

// check looks at what is left of a call in the end, and returns how much of it
// was lost before the first kill.
func (v *victim) check() (lost time.Duration) {
	v.t.Helper()
	w := &world{t: v.t, dir: v.dir}
	w.open()
	fail := func(format string, args ...any) {
		v.t.Errorf("%s, killed at %v after %s: %s", v.lane.name, v.hits, v.lived, fmt.Sprintf(format, args...))
	}
	var runs []db.RecordingRow
	if err := w.db.NewSelect().Model(&runs).Scan(context.Background()); err != nil {
		v.t.Fatal(err)
	}
	if v.lived < 1200*time.Millisecond && len(v.hits) > 0 && (len(runs) == 0 || runs[0].State == db.RecordingFailed && runs[0].ErrorCode == CodeEmpty) {
		return 0 // nothing had reached the disk yet
	}
	if left := w.left(); len(left) > 0 {
		fail("left: %v", left)
	}
	if len(runs) != 1 || runs[0].State != db.RecordingReady {
		fail("runs: %+v", runs)
		return 0
	}
	files := w.files(runs[0].ID)
	objects := map[string]bool{}
	told := map[string]int{}
	for _, ev := range w.events(event.CallRecordingReady) {
		var body event.RecordingReady
		if err := ev.Decode(&body); err != nil {
			v.t.Fatal(err)
		}
		told[body.CallRecording.IndexID]++
	}
	end := time.Duration(0)
	for kind, rows := range files {
		for _, f := range rows {
			for _, item := range f.Items.V {
				objects[item.Key] = true
				text, err := os.ReadFile(w.path(item.Key))
				if sum := sha256.Sum256(text); err != nil || hex.EncodeToString(sum[:]) != item.Checksum.SHA256 {
					fail("object %s: %v, or another hash", item.Key, err)
				}
			}
			if !slices.Contains([]string{kindMovie, kindVideo, kindAudio, kindRaw}, kind) {
				continue
			}
			if told[f.ID] != 1 {
				fail("%s was told of %d times", f.Filename, told[f.ID])
			}
			delete(told, f.ID)
			if kind == kindRaw {
				end = max(end, v.dumped(f, w.path(f.ObjectKey)))
				continue
			}
			end = max(end, f.EndedAt.Sub(runs[0].StartedAt.Time))
			v.plays(w.path(f.ObjectKey), f)
		}
	}
	if len(told) > 0 {
		fail("told of files that are not there: %v", told)
	}
	err := filepath.WalkDir(filepath.Join(v.dir, "objects"), func(path string, d fs.DirEntry, err error) error {
		key, _ := filepath.Rel(filepath.Join(v.dir, "objects"), path)
		if err == nil && !d.IsDir() && !objects[filepath.ToSlash(key)] {
			fail("stray object %s", key)
		}
		return err
	})
	if err != nil {
		v.t.Fatal(err)
	}
	if n := len(w.events(event.CallRecordingStarted)); n != 1 {
		fail("%d events of the start", n)
	}
	if n := len(w.events(event.CallRecordingStopped)); n != 1 {
		fail("%d events of the stop", n)
	}
	if lost = v.lived - end; lost > 2*time.Second {
		fail("it ends at %s", end)
	}
	return lost
}

// plays decodes a whole file and compares its length with its row.
func (v *victim) plays(path string, f db.RecordingFileRow) {
	v.t.Helper()
	out, err := exec.Command("ffmpeg", "-v", "error", "-xerror", "-i", path, "-f", "null", "-").CombinedOutput()
	if err != nil || len(out) > 0 {
		v.t.Errorf("%s does not play: %v\n%s", f.Filename, err, out)
	}
	length, err := strconv.ParseFloat(f.Media.V.Format.Duration, 64)
	if want := f.EndedAt.Sub(f.StartedAt.Time).Seconds(); err != nil || length < want-0.2 || length > want+0.2 {
		v.t.Errorf("%s lasts %s, want %.2f", f.Filename, f.Media.V.Format.Duration, want)
	}
}

// dumped is when the last packet of a dump came.
func (v *victim) dumped(f db.RecordingFileRow, path string) time.Duration {
	info, err := os.Stat(path)
	if err != nil || info.Size() == 0 {
		v.t.Errorf("%s: %v", f.Filename, err)
	}
	return f.EndedAt.Sub(f.StartedAt.Time)
}

// The chunk of a worker that is killed is done by another, and the movie shows
// no seam.
func TestAKilledWorkersChunkIsTakenOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, oneMovie)
	s := w.shortAt("taken", time.Now().Add(-3*time.Second))
	s.end(2 * time.Second)
	run := w.until("default:taken", db.RecordingProcessing, 4*time.Minute)
	if err := w.Close(); err != nil { // before the first step begins
		t.Fatal(err)
	}
	v := &victim{t: t, dir: w.dir, lane: lanes[1]}
	if !v.run("worker", moment{line: "step=chunk ", after: 50 * time.Millisecond}) {
		t.Fatal("the worker was done before it was killed")
	}
	steps := func() []db.RecordingJobRow {
		all, err := w.queue.Of(t.Context(), w.db, run.ID, stepChunk)
		if err != nil || len(all) == 0 {
			t.Fatalf("%d chunks, %v", len(all), err)
		}
		return all
	}
	var orphans int
	for _, j := range steps() {
		if j.State == db.JobRunning {
			orphans++
		}
	}
	// By this clock the lease of the dead is over.
	w.start(func(c *Config) { c.Now = func() time.Time { return time.Now().Add(30 * time.Second) } })
	w.until("default:taken", db.RecordingReady, 4*time.Minute)
	for _, j := range steps() {
		if j.State != db.JobDone {
			t.Errorf("chunk %d is %s", j.N, j.State)
		}
	}
	movie := w.files(run.ID)[kindMovie]
	if orphans != 1 || len(movie) != 1 || len(w.events(event.CallRecordingReady)) != 1 {
		t.Fatalf("%d orphans, movies %+v", orphans, movie)
	}
	out, err := exec.Command("ffprobe", "-v", "error", "-count_frames", "-select_streams", "v", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0",
		w.path(movie[0].ObjectKey)).Output()
	length := movie[0].EndedAt.Sub(movie[0].StartedAt.Time)
	if n, want := strings.Trim(string(out), ",\n "), fmt.Sprint(int64(length/(40*time.Millisecond))); err != nil || n != want {
		t.Errorf("%s frames of %s, want %s; %v", n, length, want, err)
	}
	v.plays(w.path(movie[0].ObjectKey), movie[0])
	w.gone()
}
