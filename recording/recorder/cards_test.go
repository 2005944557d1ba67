package recorder

import (
	"encoding/json"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
	"stillwatch/recording/composite"
)

// shown is the plan of a run's only movie.
func (w *world) shown(runID string) *composite.Movie {
	w.t.Helper()
	var rows []db.RecordingJobRow
	err := w.db.NewSelect().Model(&rows).Where("recording_id = ?", runID).Where("kind = ?", stepPlan).Scan(w.t.Context())
	if err != nil || len(rows) != 1 {
		w.t.Fatalf("%d plans, %v", len(rows), err)
	}
	var all movies
	if err := json.Unmarshal(rows[0].Result.V, &all); err != nil || len(all.Movies) != 1 {
		w.t.Fatalf("%d movies, %v", len(all.Movies), err)
	}
	return all.Movies[0]
}

// at is the chunk of a movie that shows a moment.
func at(t *testing.T, m *composite.Movie, d time.Duration) composite.Chunk {
	t.Helper()
	for _, c := range m.Chunks {
		if d >= c.From && d < c.To {
			return c
		}
	}
	t.Fatalf("nothing shows %s of %s", d, m.Length())
	return composite.Chunk{}
}

func TestWhoOnlySpeaksIsACard(t *testing.T) {
	t.Parallel()
	w := newWorld(t, oneMovie)
	s := w.session("cards", time.Now())
	s.play("ada", actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: 2 * time.Second})
	s.play("ben", actor{tone: w.tone(600), to: 2 * time.Second})
	s.end(2 * time.Second)
	run := w.until("default:cards", db.RecordingReady, 4*time.Minute)
	tiles := at(t, w.shown(run.ID), time.Second).Tiles
	if len(tiles) != 2 {
		t.Fatalf("%d tiles of two people: %+v", len(tiles), tiles)
	}
	if tiles[0].StreamID == "" || tiles[1].StreamID != "" || tiles[1].Name != "ben" || tiles[0].Rect.Overlaps(tiles[1].Rect) {
		t.Errorf("tiles are %+v, want ada's camera and a card of ben", tiles)
	}
}

func TestACameraThatIsTurnedOffBecomesACard(t *testing.T) {
	t.Parallel()
	w := newWorld(t, oneMovie)
	s := w.session("off", time.Now())
	const off, on, length = 2 * time.Second, 4 * time.Second, 6 * time.Second
	all := s.enter("ada", actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: length})
	camera := "us-ada0-v"
	muted := false
	for _, p := range all {
		if hide := p.at >= off && p.at < on; hide != muted {
			muted = hide
			w.TrackMuted(s.info.SessionID, camera, hide, s.info.StartedAt.Add(p.at))
		}
		p.send(s.info.StartedAt.Add(p.at))
	}
	s.play("ben", actor{clip: w.clip("drawing", event.VP8), tone: w.tone(600), to: length})
	s.end(length)
	run := w.until("default:off", db.RecordingReady, 4*time.Minute)
	movie := w.shown(run.ID)
	for moment, camera := range map[time.Duration]bool{time.Second: true, 3 * time.Second: false, 5500 * time.Millisecond: true} {
		tiles := at(t, movie, moment).Tiles
		if len(tiles) != 2 || tiles[0].Name != "ada" || (tiles[0].StreamID != "") != camera || tiles[1].StreamID == "" {
			t.Errorf("at %s: %+v", moment, tiles)
		}
	}
}

// A movie that can be the camera's pictures as they are still is.
func TestOnesPicturesAreCopiedBesideTheCard(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) {
		oneMovie(p)
		p.Quality, p.CompositeFormats = "portrait-320x180", []string{composite.WebM}
	})
	s := w.session("alone", time.Now())
	w.Joined(s.info.SessionID, "us-ada0", "ada", "user", s.info.StartedAt)
	s.play("ada", actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), from: 400 * time.Millisecond, to: 2 * time.Second})
	s.end(2 * time.Second)
	run := w.until("default:alone", db.RecordingReady, 4*time.Minute)
	if c := w.shown(run.ID).Chunks; len(c) != 1 || !c[0].Copy {
		t.Errorf("chunks are %+v, want one that is copied", c)
	}
}
