package recorder

import (
	"cmp"
	"math"
	stdslices "slices"
	"strconv"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
)

// sendAll plays what several participants send, in the order of time.
func (s *scene) sendAll(all ...[]timed) {
	s.w.t.Helper()
	var at []timed
	for _, one := range all {
		at = append(at, one...)
	}
	stdslices.SortStableFunc(at, func(a, b timed) int { return cmp.Compare(a.at, b.at) })
	for _, p := range at {
		p.send(s.info.StartedAt.Add(p.at))
	}
}

// span is when a file begins and ends, in seconds of the session, and how long
// a player says that it is.
type fileSpan struct{ from, to, length float64 }

func (s *scene) spans(files []db.RecordingFileRow) []fileSpan {
	var out []fileSpan
	for _, f := range files {
		length, _ := strconv.ParseFloat(f.Media.V.Format.Duration, 64)
		out = append(out, fileSpan{f.StartedAt.Sub(s.info.StartedAt).Seconds(), f.EndedAt.Sub(s.info.StartedAt).Seconds(), length})
	}
	return out
}

// near tells whether files are where they should be, to a tenth of a second.
func near(got []fileSpan, want ...fileSpan) bool {
	return stdslices.EqualFunc(got, want, func(a, b fileSpan) bool {
		return math.Abs(a.from-b.from) < 0.1 && math.Abs(a.to-b.to) < 0.1 && math.Abs(a.length-b.length) < 0.1
	})
}

// The camera is on for four of 24 seconds: the files hold all of the sound,
// those of the evidence as well.
func TestFilesHoldTheSoundOutsideTheCamerasTime(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"auto", "hls"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(p *recording.Plan) {
				p.Individual, p.Evidence, p.Resume = recording.ModeAutoOn, recording.ModeOnFlag, 2*time.Second
				p.IndividualFormats = []string{format}
			})
			s := w.session("voice", time.Now())
			sound := s.enter("ada", actor{tone: w.tone(400), to: 24 * time.Second})
			first := s.enter("ada", actor{clip: w.clip("neutral", event.H264), from: 8 * time.Second, to: 10 * time.Second})
			second := s.enter("ada", actor{clip: w.clip("neutral", event.H264), from: 16 * time.Second, to: 18 * time.Second})
			s.sendAll(sound, first, second)
			w.flag(s.info, "ada")
			s.end(24 * time.Second)
			w.idle()
			var rows []db.RecordingRow
			if err := w.db.NewSelect().Model(&rows).Order("lane").Scan(t.Context()); err != nil || len(rows) != 2 {
				t.Fatalf("%d runs, %v", len(rows), err)
			}
			for _, run := range rows {
				if got := s.spans(w.files(run.ID)[kindVideo]); !near(got, fileSpan{0, 24, 24}) {
					t.Errorf("%s: files are %v", run.Lane, got)
				}
			}
		})
	}
}

// Who goes and comes back within the resume window is in one file, and in
// another when it took longer (KS-11).
func TestWhoComesBackGoesOnInTheSameFile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		resume time.Duration
		second event.Codec
		want   []fileSpan
	}{
		"within":        {180 * time.Second, event.VP8, []fileSpan{{0, 10, 10}}},
		"later":         {time.Second, event.VP8, []fileSpan{{0, 4, 4}, {6, 10, 4}}},
		"another codec": {180 * time.Second, event.VP9, []fileSpan{{0, 4, 4}, {6, 10, 4}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(p *recording.Plan) { p.Individual, p.Resume = recording.ModeAutoOn, c.resume })
			s := w.session("again", time.Now())
			s.play("ada", actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: 4 * time.Second})
			s.play("ada", actor{clip: w.clip("neutral", c.second), tone: w.tone(400), from: 6 * time.Second, to: 10 * time.Second})
			s.end(10 * time.Second)
			run := w.until("default:again", db.RecordingReady, 6*time.Minute)
			if got := s.spans(w.files(run.ID)[kindVideo]); !near(got, c.want...) {
				t.Errorf("files are %v", got)
			}
		})
	}
}
