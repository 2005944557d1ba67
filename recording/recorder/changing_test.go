package recorder

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/evidence"
	"stillwatch/internal/synthetic"
	"stillwatch/recording"
	"stillwatch/recording/archive"
	"stillwatch/recording/media"
)

// Who sends pictures of another size each time fills no disk with files, and
// keeps nobody's recording from being made; what was done is said.
func TestPicturesThatChangeWithoutEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) { p.Evidence = recording.ModeOnFlag })
	small, err := synthetic.MakeClip(t.Context(), filepath.Join("..", "..", "build", "clips"), synthetic.ClipConfig{
		Picture: "drawing", Codec: event.VP8, Width: 160, Height: 120, Kbps: 200, FPS: 25,
	})
	if err != nil {
		t.Fatal(err)
	}
	clip := *w.clip("neutral", event.VP8)
	clip.Frames = [][]byte{clip.Frames[0], small.Frames[0]} // both keyframes
	const length, pictures = 3 * time.Second, 75
	s := w.session("changing", time.Now())
	s.play("ada", actor{clip: &clip, tone: w.tone(400), to: length})
	w.flag(s.info, "ada")
	s.end(length)
	run := w.until(s.info.CID, db.RecordingReady, 6*time.Minute)
	files := w.files(run.ID)
	if n := len(files[kindVideo]); n != media.MaxFiles || len(files[kindMovie]) != 1 {
		t.Fatalf("%d files, %d movies", n, len(files[kindMovie]))
	}
	var side archive.Sidecar
	text, err := os.ReadFile(w.path(files[kindMetadata][0].ObjectKey))
	if err == nil {
		err = json.Unmarshal(text, &side)
	}
	if err != nil {
		t.Fatal(err)
	}
	// Behind those of the participant comes the movie.
	last := side.Videos[len(side.Videos)-2]
	if last.Encoded != "h264" || last.Changes != pictures-media.MaxFiles || last.LeftOut != 0 || side.Videos[0].Encoded != "" {
		t.Errorf("metadata: %+v", last)
	}
	if text, err = os.ReadFile(w.path(files[kindManifest][0].ObjectKey)); err != nil {
		t.Fatal(err)
	}
	m, err := evidence.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	for _, e := range m.Entries {
		if e.Kind == "file" && len(e.Note) > 0 {
			told++
		}
	}
	if told != 1 {
		t.Errorf("the manifest tells of %d files that are encoded again", told)
	}
	w.gone()
}
