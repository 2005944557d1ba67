package recorder

import (
	"slices"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
)

// Of who publishes for the ear alone no picture is in a business file, whatever
// its type; evidence is of everything.
func TestThePictureOfWhoIsRecordedByEarIsEvidenceAlone(t *testing.T) {
	t.Parallel()
	for _, evidence := range []bool{true, false} {
		w := newWorld(t, func(p *recording.Plan) {
			p.Individual, p.Raw = recording.ModeAutoOn, recording.ModeAutoOn
			if evidence {
				p.Evidence = recording.ModeOnFlag
			}
		})
		s := w.session("ear", time.Now())
		s.play("ada", actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: 2 * time.Second, record: event.RecordAudio})
		s.play("bob", actor{clip: w.clip("drawing", event.VP8), tone: w.tone(600), to: 2 * time.Second, record: event.RecordVideo})
		if !evidence {
			reader, err := w.openRaw(s.info.SessionID)
			if err != nil {
				t.Fatal(err)
			}
			for _, st := range reader.Streams() {
				if st.LeftOut() {
					t.Errorf("packets of %s of %s are written for nobody", st.Type, st.UserID)
				}
			}
		}
		w.flag(s.info, "ada")
		s.end(2 * time.Second)
		w.idle()
		var rows []db.RecordingRow
		if err := w.db.NewSelect().Model(&rows).Scan(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := map[string][]string{}
		for _, row := range rows {
			if row.State != db.RecordingReady {
				t.Fatalf("run %+v", row)
			}
			for kind, files := range w.files(row.ID) {
				for _, f := range files {
					if f.UserID != "" {
						kinds := []string{kind}
						if kind == kindRaw {
							kinds = []string{f.TrackType}
						}
						for _, st := range f.Media.V.Streams {
							kinds = append(kinds, st.CodecType)
						}
						got[row.Lane+" "+row.Type] = append(got[row.Lane+" "+row.Type], f.UserID+" "+strings.Join(kinds, "+"))
					}
				}
			}
		}
		want := map[string][]string{
			"business individual": {"ada audio+audio", "bob video+video"},
			"business raw":        {"ada TRACK_TYPE_AUDIO", "bob TRACK_TYPE_VIDEO"},
		}
		if evidence {
			want["evidence composite"] = []string{"ada video+video+audio", "bob video+video+audio"}
		}
		for lane, files := range got {
			slices.Sort(files)
			if !slices.Equal(files, want[lane]) {
				t.Errorf("%s: %q, want %q", lane, files, want[lane])
			}
		}
		if len(got) != len(want) {
			t.Errorf("runs: %v", got)
		}
	}
}
