package recorder

import (
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
)

// changed tells of new settings of a call, as the bus would.
func (w *world) changed(s *scene) {
	w.t.Helper()
	ev := event.New(event.CallUpdated, s.info.CID, time.Now(), struct{}{})
	if err := w.settingsSubscription().Handler(w.t.Context(), ev); err != nil {
		w.t.Fatal(err)
	}
	s.settle()
}

// taken tells which tracks of a session are written.
func (s *scene) taken() map[string]bool {
	s.w.t.Helper()
	out := map[string]bool{}
	l := s.w.Recorder.session(s.info.SessionID)
	l.do(func() {
		for id, t := range l.tracks {
			out[id] = t.taken[""]
		}
	})
	s.settle()
	return out
}

func TestAnOrderIsOfTheSettingsOfItsMoment(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) { p.Composite, p.AudioOnly = recording.ModeAvailable, true })
	s := w.session("stale", time.Now())
	s.settle()
	w.plan.AudioOnly = false
	id := w.started(s, 0)
	s.play("ada", actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: 2 * time.Second})
	s.end(2 * time.Second)
	w.until("default:stale", db.RecordingReady, 4*time.Minute)
	if tiles := at(t, w.shown(id), time.Second).Tiles; len(tiles) != 1 || tiles[0].StreamID == "" {
		t.Errorf("tiles are %+v, want ada's camera", tiles)
	}
}

func TestChangedSettingsReachACallThatRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) { p.Composite = recording.ModeAvailable })
	s := w.session("change", time.Now())
	s.enter("ada", actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: time.Second})
	want := func(when string, video, audio bool) {
		t.Helper()
		if got := s.taken(); got["us-ada0-v"] != video || got["us-ada0-a"] != audio {
			t.Errorf("%s: %v is written, want pictures %v, sound %v", when, got, video, audio)
		}
	}
	want("before anything asks for packets", false, false)
	w.plan.Evidence = recording.ModeOnFlag
	w.changed(s)
	want("with evidence on", true, true)
	w.plan.Evidence, w.plan.PreRoll, w.plan.AudioOnly = recording.ModeDisabled, time.Second, true
	w.changed(s)
	want("with sound alone", false, true)
	w.plan.AudioOnly = false
	w.started(s, 0)
	want("with a run of all", true, true)
	w.plan.AudioOnly = true
	w.changed(s)
	want("with a run that began before", true, true)
	if err := w.Desk().Stop(t.Context(), s.info.CID, recording.TypeComposite, "ada"); err != nil {
		t.Fatal(err)
	}
	want("after it", false, true)
	s.end(time.Second)
}
