package recorder

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
	"stillwatch/recording/archive"
)

// listed checks that a run's metadata names each of its files once, with the
// window that the file has, and none outside of the whole.
func (w *world) listed(run db.RecordingRow) archive.Sidecar {
	w.t.Helper()
	files := w.files(run.ID)
	if len(files[kindMetadata]) != 1 {
		w.t.Fatalf("%d files of metadata of %s", len(files[kindMetadata]), run.Type)
	}
	text, err := os.ReadFile(w.path(files[kindMetadata][0].ObjectKey))
	if err != nil {
		w.t.Fatal(err)
	}
	var side archive.Sidecar
	if err := json.Unmarshal(text, &side); err != nil {
		w.t.Fatal(err)
	}
	var all []archive.SidecarFile
	user := map[string]string{}
	if side.Audio != nil {
		all = append(all, *side.Audio)
	}
	for _, f := range side.Videos {
		all, user[f.Filename] = append(all, f.SidecarFile), f.UserID
	}
	for _, f := range side.Sounds {
		all, user[f.Filename] = append(all, f.SidecarFile), f.UserID
	}
	byName := map[string]archive.SidecarFile{}
	for _, f := range all {
		if _, twice := byName[f.Filename]; twice {
			w.t.Errorf("%s is listed twice", f.Filename)
		}
		byName[f.Filename] = f
		if time.Time(f.StartTime).Before(time.Time(side.StartTime)) || time.Time(f.StopTime).After(time.Time(side.StopTime)) {
			w.t.Errorf("%s is from %v to %v, the whole from %v to %v", f.Filename, f.StartTime, f.StopTime, side.StartTime, side.StopTime)
		}
	}
	n := 0
	for _, kind := range []string{kindMovie, kindVideo, kindAudio} {
		for _, row := range files[kind] {
			n++
			f, ok := byName[row.ObjectKey]
			if !ok {
				w.t.Errorf("the %s %s is not listed", kind, row.ObjectKey)
				continue
			}
			if user[row.ObjectKey] != row.UserID || f.SizeBytes != row.Size {
				w.t.Errorf("%s is listed as %+v of %q", row.ObjectKey, f, user[row.ObjectKey])
			}
			if off := time.Time(f.StartTime).Sub(row.StartedAt.Time).Abs(); off > time.Millisecond {
				w.t.Errorf("%s is listed as beginning %s off", row.ObjectKey, off)
			}
			if off := time.Time(f.StopTime).Sub(row.EndedAt.Time).Abs(); off > time.Millisecond {
				w.t.Errorf("%s is listed as ending %s off", row.ObjectKey, off)
			}
		}
	}
	if n != len(byName) {
		w.t.Errorf("%d files are listed, there are %d", len(byName), n)
	}
	return side
}

func TestMetadataNameEveryFileOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) {
		p.Composite, p.Individual, p.Slice = recording.ModeAutoOn, recording.ModeAutoOn, 2*time.Second
	})
	s := w.session("listed", time.Now())
	s.play("ada", actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: 3 * time.Second})
	s.play("ben", actor{tone: w.tone(600), to: 3 * time.Second})
	s.end(3 * time.Second)
	var runs []db.RecordingRow
	w.eventually(func() bool {
		runs = nil
		err := w.db.NewSelect().Model(&runs).Where("state = ?", db.RecordingReady).Scan(t.Context())
		return err == nil && len(runs) == 2
	}, "both are ready")
	for _, run := range runs {
		side := w.listed(run)
		if run.Type == recording.TypeComposite && len(side.Videos) != 2 {
			t.Errorf("%d movies are listed of two slices", len(side.Videos))
		}
		for _, f := range w.files(run.ID)[kindAudio] {
			bens := strings.Contains(f.Filename, "-ben") && strings.HasPrefix(f.Filename, "rec-"+f.StartedAt.UTC().Format("20060102-150405"))
			if bens != (f.UserID == "ben") {
				t.Errorf("the sound of %q is called %s", f.UserID, f.Filename)
			}
		}
	}
	kinds := map[string]int{}
	for _, e := range w.events(event.CallRecordingReady) {
		var body event.RecordingReady
		if err := e.Decode(&body); err != nil {
			t.Fatal(err)
		}
		f := body.CallRecording
		kinds[strings.Join([]string{f.Kind, f.UserID, string(f.TrackType)}, " ")]++
	}
	for _, what := range []string{"movie  ", "audio  ", "video ada " + string(event.TrackVideo), "audio ben " + string(event.TrackAudio)} {
		if kinds[what] == 0 {
			t.Errorf("nothing is told of %q in %v", what, kinds)
		}
	}
}
