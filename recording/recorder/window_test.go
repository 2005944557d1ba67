package recorder

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
)

// started orders a recording of a live session, as if it had been that long
// after its beginning.
func (w *world) started(s *scene, after time.Duration) string {
	w.t.Helper()
	_, err := w.db.NewUpdate().Model((*db.CallRow)(nil)).Set("current_session_id = ?", s.info.SessionID).Where("cid = ?", s.info.CID).Exec(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	id, err := w.Desk().Start(w.t.Context(), recording.Order{CID: s.info.CID, Type: recording.TypeComposite, By: "ada"})
	if err != nil {
		w.t.Fatal(err)
	}
	at := db.At(s.info.StartedAt.Add(after))
	if _, err := w.db.NewUpdate().Model((*db.RecordingRow)(nil)).Set("started_at = ?", at).Where("id = ?", id).Exec(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return id
}

// Who left before the recording began, or is not shown, does not make the call
// too large for a movie.
func TestMixLimitCountsThoseWhoAreShown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) {
		p.Composite, p.Evidence, p.MixLimit, p.Omit = recording.ModeAvailable, recording.ModeOnFlag, 2, []string{"mo"}
	})
	s := w.session("window", time.Now())
	for _, user := range []string{"early", "too"} {
		s.play(user, actor{clip: w.clip("neutral", event.VP8), to: time.Second})
	}
	id := w.started(s, 2*time.Second)
	for _, user := range []string{"ada", "ben", "mo"} {
		s.play(user, actor{clip: w.clip("neutral", event.VP8), from: 2 * time.Second, to: 4 * time.Second})
	}
	s.end(4 * time.Second)
	w.until("default:window", db.RecordingReady, 4*time.Minute)
	files := w.files(id)
	if len(files[kindMovie]) != 1 || len(files[kindVideo]) != 0 {
		t.Errorf("files of two with mix_limit 2: %d movies, %d videos", len(files[kindMovie]), len(files[kindVideo]))
	}
}

func TestALastSliceShorterThanAPictureIsNoSlice(t *testing.T) {
	t.Parallel()
	const slice, length = 2 * time.Second, 2995 * time.Millisecond
	w := newWorld(t, func(p *recording.Plan) { p.Composite, p.Slice = recording.ModeAvailable, slice })
	s := w.session("tiny", time.Now())
	s.settle()
	const from = length - slice - 5*time.Millisecond
	id := w.started(s, from)
	s.play("ada", actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: length})
	s.end(length)
	w.until("default:tiny", db.RecordingReady, 4*time.Minute)
	if movies := w.files(id)[kindMovie]; len(movies) != 1 {
		t.Errorf("%d movies, want one", len(movies))
	}
}

func TestWindowsAreAllOfARecording(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		from := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "from"))
		length := time.Duration(rapid.Int64Range(0, int64(10*time.Minute)).Draw(t, "length"))
		if rapid.Bool().Draw(t, "nearly whole slices") {
			length = length.Truncate(time.Minute) + time.Duration(rapid.Int64Range(0, int64(2*shortest)).Draw(t, "rest"))
		}
		const slice = time.Minute
		all := cutWindows(from, from+length, slice)
		at := from
		for i, w := range all {
			if w.From != at || w.To < w.From || w.Length() >= slice+shortest {
				t.Fatalf("window %d of %v", i, all)
			}
			if len(all) > 1 && w.Length() < shortest {
				t.Fatalf("window %d of %v lasts %s", i, all, w.Length())
			}
			if i < len(all)-1 && w.Length() != slice {
				t.Fatalf("window %d of %v is no whole slice", i, all)
			}
			at = w.To
		}
		if at != from+length {
			t.Fatalf("%v of %s", all, length)
		}
	})
}
