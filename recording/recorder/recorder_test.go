package recorder

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
	"stillwatch/recording"
)

func TestACallBecomesAMovieAndLeavesNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) { p.Composite = recording.ModeAutoOn })
	s := w.session("a", time.Now())
	s.play("ada", actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: 4 * time.Second})
	s.play("ben", actor{clip: w.clip("drawing", event.H264), tone: w.tone(600), from: 40 * time.Millisecond, to: 4 * time.Second})
	s.end(4 * time.Second)
	run := w.until("default:a", db.RecordingReady, 4*time.Minute)
	files := w.files(run.ID)
	if len(files[kindMovie]) != 1 || len(files[kindMetadata]) != 1 || len(files[kindManifest]) != 1 || len(files[kindSheet]) != 2 {
		t.Fatalf("files: %+v", files)
	}
	movie := files[kindMovie][0]
	out, err := exec.Command("ffmpeg", "-v", "error", "-xerror", "-i", w.path(movie.ObjectKey), "-f", "null", "-").CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("the movie does not decode: %v\n%s", err, out)
	}
	if got := movie.Media.V.Format.Duration; got < "3.96" || got > "4.1" {
		t.Errorf("duration %s, want 4", got)
	}
	w.gone()
	for typ, n := range map[string]int{
		event.CallRecordingStarted: 1, event.CallRecordingStopped: 1, event.CallRecordingReady: 1, event.CallRecordingFailed: 0,
	} {
		if got := w.events(typ); len(got) != n {
			t.Errorf("%d events %s, want %d", len(got), typ, n)
		}
	}
	var side struct {
		UUID   string
		Videos []struct{ Filename string }
	}
	text, _ := os.ReadFile(w.path(files[kindMetadata][0].ObjectKey))
	if err := json.Unmarshal(text, &side); err != nil || side.UUID != run.ID || len(side.Videos) != 1 {
		t.Errorf("metadata %s, %v", text, err)
	}
}

func TestOnPostgreSQL(t *testing.T) {
	t.Parallel()
	w := &world{t: t, dir: t.TempDir(), plan: recording.DefaultPlan(), url: testkit.Postgres(t)}
	w.plan.Composite, w.plan.Evidence, w.plan.Quality = recording.ModeOnFlag, recording.ModeOnFlag, "360p"
	w.open()
	w.start()
	s := w.session("pg", time.Now())
	s.play("ada", actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: 2 * time.Second})
	w.flag(s.info, "ada")
	s.end(2 * time.Second)
	w.idle()
	w.gone()
	var rows []db.RecordingRow
	if err := w.db.NewSelect().Model(&rows).Order("lane").Scan(t.Context()); err != nil || len(rows) != 2 {
		t.Fatalf("%d runs, %v", len(rows), err)
	}
	for i, lane := range []string{db.LaneBusiness, db.LaneEvidence} {
		if rows[i].Lane != lane || rows[i].State != db.RecordingReady || len(w.files(rows[i].ID)[kindMovie]) != 1 {
			t.Errorf("run %+v", rows[i])
		}
	}
	if err := w.Desk().Hold(t.Context(), rows[0].ID, "asked for by the police", "mo"); err != nil {
		t.Error(err)
	}
	if err := w.Desk().Delete(t.Context(), w.files(rows[0].ID)[kindMovie][0].ID, "mo"); !errors.Is(err, recording.ErrHeld) {
		t.Errorf("delete what is held: %v", err)
	}
	if err := w.Desk().Delete(t.Context(), w.files(rows[1].ID)[kindMovie][0].ID, "mo"); err != nil {
		t.Error(err)
	}
	if err := w.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestIndividualFilesAreOneSoundAndAVideoEach(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) { p.Individual = recording.ModeAutoOn })
	s := w.session("b", time.Now())
	for i, codec := range []event.Codec{event.VP8, event.VP9, event.H264} {
		s.play(string(rune('a'+i)), actor{clip: w.clip("neutral", codec), tone: w.tone(400 + 100*i), from: time.Duration(i) * time.Second, to: 4 * time.Second})
	}
	s.end(4 * time.Second)
	run := w.until("default:b", db.RecordingReady, 4*time.Minute)
	files := w.files(run.ID)
	if len(files[kindVideo]) != 3 || len(files[kindAudio]) != 1 || len(files[kindMetadata]) != 1 {
		t.Fatalf("files: %+v", files)
	}
	for i, f := range files[kindVideo] {
		want := []string{"webm", "webm", "mp4"}[i]
		if f.Format != want || !strings.HasSuffix(f.Filename, "-"+f.UserID+"."+want) {
			t.Errorf("video %d is %s as %s", i, f.Filename, f.Format)
		}
	}
	if f := files[kindAudio][0]; f.Format != "wav" || !strings.HasPrefix(f.Media.V.Format.Duration, "4") {
		t.Errorf("sound %+v", f)
	}
}

func TestOnFlagKeepsTheFlaggedAndNothingOfTheOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) { p.Evidence = recording.ModeOnFlag })
	const calls = 20
	var marks [][]byte
	var all []*scene
	for i := range calls {
		s := w.session("call-"+string(rune('a'+i)), time.Now())
		clip := *w.clip("neutral", event.VP8)
		// Each call's packets hold bytes that are found nowhere else.
		mark := []byte("mark-of-" + s.info.SessionID)
		clip.Frames = slices.Clone(clip.Frames)
		for n, f := range clip.Frames {
			clip.Frames[n] = append(slices.Clone(f), mark...)
		}
		s.play("user-"+s.info.CallID, actor{clip: &clip, tone: w.tone(400), to: 2 * time.Second})
		marks, all = append(marks, mark), append(all, s)
	}
	for _, i := range []int{4, 17} {
		w.flag(all[i].info, "user-"+all[i].info.CallID)
	}
	for _, s := range all {
		s.end(2 * time.Second)
	}
	for _, i := range []int{4, 17} {
		w.until(all[i].info.CID, db.RecordingReady, 6*time.Minute)
	}
	w.idle()
	w.gone()
	var rows []db.RecordingRow
	if err := w.db.NewSelect().Model(&rows).Scan(t.Context()); err != nil || len(rows) != 2 {
		t.Errorf("%d runs, %v", len(rows), err)
	}
	archives := map[string]bool{}
	err := filepath.WalkDir(w.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for i, mark := range marks {
			flagged := i == 4 || i == 17
			if strings.Contains(path, all[i].info.SessionID) {
				archives[all[i].info.SessionID] = true
				if !flagged {
					t.Errorf("%s is of a call that was not flagged", path)
				}
			}
			if !flagged && strings.Contains(string(text), string(mark)) {
				t.Errorf("%s holds bytes of %s", path, all[i].info.CID)
			}
		}
		return nil
	})
	if err != nil || len(archives) != 2 {
		t.Errorf("%d archives, %v", len(archives), err)
	}
	files := w.files(rows[0].ID)
	if len(files[kindMovie]) != 1 || len(files[kindVideo]) != 1 || len(files[kindAudio]) != 1 || len(files[kindManifest]) != 1 {
		t.Errorf("files of a flagged call: %+v", files)
	}
}

// flag writes what the policy does about somebody.
func (w *world) flag(s Session, user string) {
	w.t.Helper()
	row := db.ActionRow{
		ID: event.NewID(), Kind: string(event.ActionFlag), CID: s.CID, SessionID: s.SessionID, UserID: user, State: db.ActionStateConfirmed,
		Payload: db.JSON[json.RawMessage]{V: json.RawMessage("{}")}, RequestedAt: db.At(s.StartedAt.Add(time.Second)),
	}
	if _, err := w.db.NewInsert().Model(&row).Exec(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}
