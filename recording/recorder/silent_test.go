package recorder

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
)

// noMix keeps the sound of a session's runs from being mixed.
func (w *world) noMix(s *scene) {
	w.t.Helper()
	s.settle()
	var ids []string
	err := w.db.NewSelect().Model((*db.RecordingRow)(nil)).Column("id").Where("session_id = ?", s.info.SessionID).Scan(w.t.Context(), &ids)
	if err != nil || len(ids) == 0 {
		w.t.Fatalf("%d runs, %v", len(ids), err)
	}
	for _, id := range ids { // nothing is renamed over a folder
		if err := os.MkdirAll(filepath.Join(w.workDir(id), "movie0", soundName, "x"), 0o700); err != nil {
			w.t.Fatal(err)
		}
	}
}

func TestAMovieIsMadeThoughItsSoundCannotBe(t *testing.T) {
	t.Parallel()
	w := newWorld(t, oneMovie)
	s := w.short("silent")
	w.noMix(s)
	s.end(2 * time.Second)
	run := w.until("default:silent", db.RecordingReady, 9*time.Minute)
	side := w.listed(run)
	if len(side.Videos) != 1 || len(side.Notes) != 1 || side.Notes[0] != noSound {
		t.Errorf("the metadata are %+v", side)
	}
	for _, stream := range w.files(run.ID)[kindMovie][0].Media.V.Streams {
		if stream.CodecType != "video" {
			t.Errorf("the movie has %+v", stream)
		}
	}
}

func TestSoundAloneThatCannotBeMixedIsAFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) { p.Individual = recording.ModeAutoOn })
	s := w.session("sound", time.Now())
	s.play("ada", actor{tone: w.tone(400), to: time.Second})
	w.noMix(s)
	s.end(time.Second)
	w.until("default:sound", db.RecordingFailed, 9*time.Minute)
	if n := len(w.events(event.CallRecordingReady)); n != 0 {
		t.Errorf("%d files are ready", n)
	}
}
