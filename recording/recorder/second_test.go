package recorder

import (
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
)

// A call begins when it is answered: so does its movie, and so it is told.
func TestACallIsRecordedFromItsSecondParticipantOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) { oneMovie(p); p.RecordAlone = false })
	start := time.Now()
	s := w.session("second", start)
	const joins = time.Second
	s.play("ada", actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: 3 * time.Second})
	if n := len(w.events(event.CallRecordingStarted)); n != 0 {
		t.Errorf("%d starts are told of a call that nobody has answered", n)
	}
	s.play("ben", actor{clip: w.clip("drawing", event.H264), tone: w.tone(600), from: joins, to: 3 * time.Second})
	s.end(3 * time.Second)
	run := w.until("default:second", db.RecordingReady, 4*time.Minute)
	movie := w.files(run.ID)[kindMovie][0]
	for what, got := range map[string]time.Duration{"run": run.StartedAt.Sub(start), "movie": movie.StartedAt.Sub(start)} {
		if off := (got - joins).Abs(); off > 50*time.Millisecond {
			t.Errorf("the %s begins at %s, want %s", what, got, joins)
		}
	}
	var body event.RecordingState
	all := w.events(event.CallRecordingStarted)
	if len(all) != 1 || all[0].Decode(&body) != nil || (body.CreatedAt.Sub(start)-joins).Abs() > 50*time.Millisecond {
		t.Errorf("%d starts are told of, the last of %s", len(all), body.CreatedAt.Sub(start))
	}
	// Its packets were there before: it begins with ada's picture.
	if tiles := at(t, w.shown(run.ID), 0).Tiles; len(tiles) == 0 || tiles[0].StreamID == "" {
		t.Errorf("it begins with %+v", tiles)
	}
}
