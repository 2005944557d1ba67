package recorder

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
)

// A movie that is HLS alone has its pictures too, and those that show nobody
// say so in their names.
func TestMoviesOfHLSHavePictures(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) {
		p.Composite, p.CompositeFormats = recording.ModeAutoOn, []string{"hls"}
	})
	s := w.session("hls", time.Now())
	s.play("ada", actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: 3 * time.Second})
	s.end(3 * time.Second)
	files := w.files(w.until("default:hls", db.RecordingReady, 6*time.Minute).ID)
	for _, kind := range []string{kindPicture, kindSheet} {
		if len(files[kind]) != 2 {
			t.Fatalf("%d files of %s", len(files[kind]), kind)
		}
		for _, f := range files[kind] {
			if f.Size == 0 || strings.HasSuffix(f.Filename, "-"+kind+"-blurred.jpg") != (f.TrackType == "blurred") {
				t.Errorf("%s of %s: %+v", f.Filename, f.TrackType, f)
			}
		}
	}
}

// Evidence shows pictures whole, as those of a phone that is held upright.
func TestEvidenceShowsPicturesWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) { p.Composite, p.Evidence = recording.ModeAutoOn, recording.ModeOnFlag })
	s := w.session("whole", time.Now())
	s.play("ada", actor{clip: w.clip("neutral", event.VP8), to: 2 * time.Second})
	w.flag(s.info, "ada")
	s.end(2 * time.Second)
	w.idle()
	runs := w.runs("default:whole")
	if len(runs) != 2 {
		t.Fatalf("runs: %+v", runs)
	}
	for _, run := range runs {
		rows, err := w.queue.Of(t.Context(), w.db, run.ID, stepPlan)
		var all movies
		if err != nil || len(rows) != 1 || json.Unmarshal(rows[0].Result.V, &all) != nil || len(all.Movies) != 1 {
			t.Fatalf("%d plans, %v", len(rows), err)
		}
		for _, c := range all.Movies[0].Chunks {
			for _, tile := range c.Tiles {
				if tile.Whole != (run.Lane == db.LaneEvidence) {
					t.Errorf("%s: %+v", run.Lane, tile)
				}
			}
		}
	}
}
