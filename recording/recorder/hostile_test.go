package recorder

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
	"stillwatch/recording/raw"
)

// arrivals are those of the packets of an rtpdump file.
func (w *world) arrivals(key string) (all []time.Duration) {
	w.t.Helper()
	text, err := os.ReadFile(w.path(key))
	if err != nil {
		w.t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(text, []byte("\n"))
	for rest = rest[16:]; len(rest) > 8; rest = rest[binary.BigEndian.Uint16(rest):] {
		all = append(all, time.Duration(binary.BigEndian.Uint32(rest[4:]))*time.Millisecond)
	}
	return all
}

// A raw recording holds what was ordered, though more is kept for the evidence:
// nothing from before its start or after its stop, of nobody who is left out,
// and no pictures where only sound may be recorded.
func TestRawRecordingsHoldNoMoreThanWasOrdered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) {
		p.Raw, p.Evidence, p.Omit, p.AudioOnly = recording.ModeAvailable, recording.ModeOnFlag, []string{"eve"}, true
	})
	ctx, start := t.Context(), time.Now().Add(-10*time.Second)
	s := w.session("window", start)
	s.settle()
	if _, err := w.db.NewUpdate().Model((*db.CallRow)(nil)).Set("current_session_id = ?", s.info.SessionID).Where("cid = ?", s.info.CID).Exec(ctx); err != nil {
		t.Fatal(err)
	}
	s.play("ada", actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: 2 * time.Second})
	id, err := w.Desk().Start(ctx, recording.Order{CID: s.info.CID, Type: recording.TypeRaw, By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.db.NewUpdate().Model((*db.RecordingRow)(nil)).Set("started_at = ?", db.At(start.Add(3*time.Second))).Where("id = ?", id).Exec(ctx); err != nil {
		t.Fatal(err)
	}
	s.play("ada", actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), from: 2 * time.Second, to: 5 * time.Second})
	s.play("eve", actor{clip: w.clip("neutral", event.VP8), tone: w.tone(500), from: 4 * time.Second, to: 6 * time.Second})
	if err := w.Desk().Stop(ctx, s.info.CID, recording.TypeRaw, "ada"); err != nil {
		t.Fatal(err)
	}
	var run db.RecordingRow
	if err := w.db.NewSelect().Model(&run).Where("id = ?", id).Scan(ctx); err != nil {
		t.Fatal(err)
	}
	stopped := run.StoppedAt.Sub(start)
	s.play("ben", actor{tone: w.tone(600), from: stopped + time.Second, to: stopped + 3*time.Second})
	s.end(stopped + 3*time.Second)
	w.until(s.info.CID, db.RecordingReady, 4*time.Minute)
	files := w.files(id)[kindRaw]
	if len(files) != 1 || files[0].UserID != "ada" || files[0].TrackType != string(event.TrackAudio) {
		t.Fatalf("files %+v", files)
	}
	all := w.arrivals(files[0].ObjectKey)
	if len(all) < 90 || all[0] < 3*time.Second || all[len(all)-1] > 5*time.Second {
		t.Errorf("%d packets from %v on", len(all), all[:min(len(all), 1)])
	}
	w.gone()
}

// What the settings leave out of recordings is no way out of the evidence.
func TestEvidenceLeavesNobodyOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) {
		p.Evidence, p.Omit, p.AudioOnly = recording.ModeOnFlag, []string{"ada"}, true
	})
	s := w.session("omitted", time.Now())
	s.play("ada", actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: 2 * time.Second})
	w.flag(s.info, "ada")
	s.end(2 * time.Second)
	run := w.until(s.info.CID, db.RecordingReady, 4*time.Minute)
	files := w.files(run.ID)
	if len(files[kindMovie]) != 1 || len(files[kindVideo]) != 1 || files[kindVideo][0].UserID != "ada" {
		t.Errorf("files %+v", files)
	}
}

// A flag that is about an earlier session keeps nothing of this one.
func TestAFlagOfAnEarlierSessionIsNotOfThisOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) { p.Evidence = recording.ModeOnFlag })
	s := w.session("again", time.Now())
	s.play("ada", actor{tone: w.tone(400), to: time.Second})
	told := func(session string) int64 {
		t.Helper()
		ev := event.New(event.TypeActionRequested, s.info.CID, time.Now(), event.ActionRequested{
			ActionID: event.NewID(), Kind: event.ActionFlag, CID: s.info.CID, SessionID: session, UserID: "ada",
		})
		if err := w.flagSubscription().Handler(t.Context(), ev); err != nil {
			t.Fatal(err)
		}
		s.settle()
		n, err := w.db.NewSelect().Model((*db.RecordingRow)(nil)).Where("cid = ?", s.info.CID).Count(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := told(event.NewID()); n != 0 {
		t.Errorf("%d runs by the flag of another session", n)
	}
	if n := told(s.info.SessionID); n != 1 {
		t.Errorf("%d runs by its own flag", n)
	}
	s.end(time.Second)
	w.until(s.info.CID, db.RecordingReady, 4*time.Minute)
}

// row writes a run of a call that is made for it.
func (w *world) row(id, state string, change func(r *db.RecordingRow)) db.RecordingRow {
	w.t.Helper()
	run, err := newRun(event.NewID(), "default:"+id, event.NewID(), "n1", recording.TypeComposite, db.LaneBusiness, w.plan, time.Now().Add(-time.Hour))
	if err != nil {
		w.t.Fatal(err)
	}
	run.State = state
	if change != nil {
		change(&run)
	}
	if _, err := w.db.NewInsert().Model(&run).Exec(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return run
}

func (w *world) now(run db.RecordingRow) db.RecordingRow {
	w.t.Helper()
	if err := w.db.NewSelect().Model(&run).WherePK().Scan(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return run
}

// What a process left that was killed once all was stored is removed: it is
// not encrypted.
func TestWorkThatNobodyGoesOnWithIsRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(*recording.Plan) {})
	kept := map[string]bool{}
	for _, state := range []string{db.RecordingReady, db.RecordingDiscarded, db.RecordingFailed} {
		run := w.row("left", state, nil)
		kept[run.ID] = state == db.RecordingFailed
	}
	kept[event.NewID()] = false
	for id := range kept {
		if err := os.MkdirAll(filepath.Join(w.workDir(id), "movie0"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	w.start() // the next process removes it at once
	w.eventually(func() bool { left, _ := os.ReadDir(filepath.Join(w.dir, "recordings", "work")); return len(left) == 1 }, "work is removed")
	for id, want := range kept {
		if _, err := os.Stat(w.workDir(id)); (err == nil) != want {
			t.Errorf("work of %s: %v", id, err)
		}
	}
}

// A folder whose writer was killed before the first packet came is no riddle.
func TestAFolderWithoutPacketsGoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(*recording.Plan) {})
	for range 2 { // the second is torn
		id := event.NewID()
		if err := raw.SaveKey(w.rawDir(id), raw.NewKey(), w.cfg.Seal); err != nil {
			t.Fatal(err)
		}
		if len(w.left()) > 1 {
			if err := os.Truncate(filepath.Join(w.rawDir(id), "key"), 5); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.takeUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.gone()
}

// A run that was ordered while its session ended, or whose call is gone, ends.
func TestRunsThatNothingWillEndAreEnded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(*recording.Plan) {})
	late := w.row("late", db.RecordingOn, nil)
	armed := w.row("nowhere", db.RecordingOn, func(r *db.RecordingRow) { r.SessionID = "" })
	w.makeCall("waiting")
	waiting := w.row("waiting", db.RecordingOn, func(r *db.RecordingRow) { r.SessionID = "" })
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.eventually(func() bool { return w.now(late).State == db.RecordingFailed }, "a run without a session fails")
	if got := w.now(armed).State; got != db.RecordingDiscarded {
		t.Errorf("armed for a call that is gone: %s", got)
	}
	if got := w.now(waiting).State; got != db.RecordingOn {
		t.Errorf("armed for a call that is to come: %s", got)
	}
}

// What became of a file that was published early holds for the whole of it.
func TestTheWholeGoesTheWayOfItsBeginning(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		early            func(f *db.RecordingFileRow)
		held, erased     bool
		deleted, overdue bool
		hold             db.Bool
		readies          int
	}{
		"nothing": {early: func(*db.RecordingFileRow) {}, readies: 1},
		"deleted": {early: func(f *db.RecordingFileRow) { f.DeletedAt = db.At(time.Now()) }, deleted: true, readies: 1},
		"held":    {early: func(*db.RecordingFileRow) {}, held: true, hold: true, readies: 1},
		"erased":  {early: func(*db.RecordingFileRow) {}, erased: true, overdue: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(p *recording.Plan) { p.KeepMovies = time.Hour })
			ctx := t.Context()
			run := w.row("early", db.RecordingProcessing, func(r *db.RecordingRow) { r.StoppedAt = db.At(time.Now()) })
			file := db.RecordingFileRow{
				ID: event.NewID(), RecordingID: run.ID, CID: run.CID, SessionID: run.SessionID, Kind: kindMovie, Format: "hls", ExpiresAt: db.At(time.Now().Add(time.Hour)),
			}
			early := file
			c.early(&early)
			rows := []any{&early}
			if c.held {
				rows = append(rows, &db.RecordingHoldRow{ID: event.NewID(), RecordingID: run.ID, PlacedAt: db.At(time.Now())})
			}
			if c.erased {
				task := &db.TaskRow{ID: event.NewID(), Kind: db.TaskDeleteCall, Object: run.CID, CreatedAt: db.At(time.Now())}
				task.Result.V = map[string]any{}
				rows = append(rows, task)
			}
			for _, row := range rows {
				if _, err := w.db.NewInsert().Model(row).Exec(ctx); err != nil {
					t.Fatal(err)
				}
			}
			task := &task{r: w.Recorder, run: run}
			if err := task.readPlan(); err != nil {
				t.Fatal(err)
			}
			if err := w.db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error { return task.finish(ctx, tx, []stored{{row: file}}) }); err != nil {
				t.Fatal(err)
			}
			got := w.files(run.ID)[kindMovie][0]
			if got.DeletedAt.IsZero() == c.deleted || got.Hold != c.hold || got.ExpiresAt.Before(time.Now()) != c.overdue {
				t.Errorf("deleted %s, hold %t, expires %s", got.DeletedAt, got.Hold, got.ExpiresAt)
			}
			if n := len(w.events(event.CallRecordingReady)); n != c.readies {
				t.Errorf("told of %d times", n)
			}
		})
	}
}

// fileOf writes a file, with its object if it is of our store.
func (w *world) fileOf(storage, key string, expires time.Time) db.RecordingFileRow {
	w.t.Helper()
	run := w.row("files", db.RecordingReady, nil)
	f := db.RecordingFileRow{
		ID: event.NewID(), RecordingID: run.ID, CID: run.CID, Kind: kindVideo, Storage: storage, ObjectKey: key, ExpiresAt: db.At(expires),
	}
	f.Items.V = []event.RecordingItem{{Key: key}}
	if _, err := w.db.NewInsert().Model(&f).Exec(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	if storage == "" {
		if err := w.objects.Upload(w.t.Context(), key, bytes.NewReader([]byte(key)), ""); err != nil {
			w.t.Fatal(err)
		}
	}
	return f
}

// A store that is away for good keeps no other's files from going.
func TestADeadStoreKeepsNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(*recording.Plan) {}, func(c *Config) { c.DeleteExternal = true })
	w.objects.fail(func(ref string) error {
		if strings.Contains(ref, "dead") {
			return answer(http.StatusServiceUnavailable)
		}
		return nil
	})
	past := time.Now().Add(-time.Minute)
	for i := range sweepPage + 1 {
		w.fileOf("dead", fmt.Sprint("file", i), past)
	}
	f := w.fileOf("", "alive", past.Add(time.Second))
	if err := w.Sweep(t.Context()); err == nil {
		t.Error("the dead store is not told of")
	}
	if _, err := os.Stat(w.path(f.ObjectKey)); err == nil {
		t.Error("what expired is still there")
	}
}

// An object that two files share goes with the last of them.
func TestASharedObjectGoesWithTheLast(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(*recording.Plan) {})
	a, b := w.fileOf("", "shared", time.Time{}), w.fileOf("", "shared", time.Time{})
	for i, f := range []db.RecordingFileRow{a, b} {
		if err := w.Desk().Delete(t.Context(), f.ID, "ada"); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(w.path("shared")); (err == nil) != (i == 0) {
			t.Errorf("after %d deletions: %v", i+1, err)
		}
	}
}

// The slices of a movie as HLS lie in folders of their own, whatever the
// template says.
func TestSlicesOfHLSDoNotReplaceOneAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) {
		oneMovie(p)
		p.CompositeFormats, p.Slice, p.Filename = []string{"hls"}, 2*time.Second, "movie"
	})
	s := w.session("slices", time.Now())
	s.play("ada", actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: 4 * time.Second})
	s.end(4 * time.Second)
	run := w.until(s.info.CID, db.RecordingReady, 4*time.Minute)
	taken := map[string]string{}
	movies := w.files(run.ID)[kindMovie]
	for _, f := range movies {
		for _, item := range f.Items.V {
			if by := taken[item.Key]; by != "" {
				t.Errorf("%s is of %s and of %s", item.Key, by, f.ID)
			}
			taken[item.Key] = f.ID
		}
	}
	if len(movies) != 2 {
		t.Errorf("%d movies", len(movies))
	}
}

// Who would be blurred in the movie has no file of their own where the call is
// split.
func TestBystandersOfASplitCallAreHeardOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) {
		oneMovie(p)
		p.Split, p.BlurBystanders = true, true
	})
	s := w.session("split", time.Now())
	for _, user := range []string{"ada", "ben"} {
		s.play(user, actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: 2 * time.Second})
	}
	w.flag(s.info, "ada")
	s.end(2 * time.Second)
	files := w.files(w.until(s.info.CID, db.RecordingReady, 4*time.Minute).ID)
	if v := files[kindVideo]; len(v) != 1 || v[0].UserID != "ada" {
		t.Errorf("pictures %+v", v)
	}
	heard := map[string]bool{}
	for _, f := range files[kindAudio] {
		heard[f.UserID] = true
	}
	if !heard["ben"] {
		t.Errorf("sound of %v", heard)
	}
}

// A file that was changed in the store is not made another one of.
func TestAFileThatWasChangedIsNotCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, oneMovie)
	f := w.movie("changed", 2*time.Second)
	text, err := os.ReadFile(w.path(f.ObjectKey))
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(w.path(f.ObjectKey), text, 0o600); err != nil {
		t.Fatal(err)
	}
	id, err := w.Desk().Trim(t.Context(), recording.TrimOrder{File: f.ID, To: time.Second, By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	w.state(id, db.RecordingFailed, time.Minute)
}

// A plan that cannot be read when a call begins is read later.
func TestAPlanIsReadWhenItCanBe(t *testing.T) {
	t.Parallel()
	var away atomic.Bool
	away.Store(true)
	w := newWorld(t, oneMovie, func(c *Config) {
		plan := c.Plan
		c.Plan = func(s json.RawMessage, d db.RecordingDecision) (recording.Plan, error) {
			if away.Load() {
				return recording.Plan{}, errors.New("away")
			}
			return plan(s, d)
		}
	})
	s := w.session("away", time.Now())
	s.settle()
	away.Store(false)
	l := w.Recorder.session(s.info.SessionID)
	for range 6 {
		l.do(l.roll)
	}
	s.play("ada", actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: 2 * time.Second})
	s.end(2 * time.Second)
	w.until(s.info.CID, db.RecordingReady, 4*time.Minute)
}

// Who came before the recording began is in its journal.
func TestWhoWasThereBeforeAStartIsKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) { p.Composite = recording.ModeAvailable })
	start := time.Now().Add(-5 * time.Second)
	s := w.session("before", start)
	w.Joined(s.info.SessionID, "us-gone", "gone", "user", start)
	w.Left(s.info.SessionID, "us-gone", "gone", start.Add(time.Second))
	w.Joined(s.info.SessionID, "us-ada", "ada", "user", start.Add(2*time.Second))
	s.settle()
	if _, err := w.db.NewUpdate().Model((*db.CallRow)(nil)).Set("current_session_id = ?", s.info.SessionID).Where("cid = ?", s.info.CID).Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Desk().Start(t.Context(), recording.Order{CID: s.info.CID, Type: recording.TypeComposite, By: "ada"}); err != nil {
		t.Fatal(err)
	}
	s.settle()
	var came []string
	w.eventually(func() bool {
		came = nil
		reader, err := w.openRaw(s.info.SessionID)
		if err != nil {
			return false
		}
		for _, e := range reader.Entries() {
			if e.Kind == raw.Joined {
				came = append(came, fmt.Sprint(e.UserID, " ", e.At))
			}
		}
		return len(came) > 0
	}, "somebody is in the journal")
	if len(came) != 1 || came[0] != "ada 2s" {
		t.Errorf("who came: %v", came)
	}
	s.end(6 * time.Second)
}

// What failed long ago and is tried again, or held, at the moment of its end
// stays.
func TestWhatIsTriedAgainIsNotDropped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(*recording.Plan) {})
	for _, run := range []db.RecordingRow{w.row("again", db.RecordingProcessing, nil), w.row("held", db.RecordingFailed, nil)} {
		if run.State == db.RecordingFailed {
			if err := w.Desk().Hold(t.Context(), run.ID, "a case", "ada"); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.MkdirAll(w.workDir(run.ID), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := w.dropFailed(t.Context(), run); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(w.workDir(run.ID)); err != nil || w.now(run).State != run.State {
			t.Errorf("%s: %v, %s", run.CID, err, w.now(run).State)
		}
	}
}
