package mjr

import (
	"path/filepath"
	"testing"
	"time"

	"stillwatch/recording/media"
	"stillwatch/recording/raw"
)

// What was imported is a call like one that was recorded here: all its
// pictures and packets of sound are there, at their times, and make files.
func TestImportedCallPlays(t *testing.T) {
	t.Parallel()
	dir, out := t.TempDir(), t.TempDir()
	encode(t, "h264").mjr(2, header{First: t0}).save(t, dir, "ann-video.mjr")
	encode(t, "opus").mjr(2, header{First: t0 + 40_000}).save(t, dir, "ann-audio.mjr")
	encode(t, "vp8").mjr(2, header{First: t0 + 500_000}).save(t, dir, "bob-video.mjr")
	wav(t, filepath.Join(dir, "recording-7.wav"))
	to, key := filepath.Join(t.TempDir(), "session"), raw.NewKey()
	res, err := Import(t.Context(), []string{dir}, nil, Options{Dir: to, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	r, err := raw.Open(to, key)
	if err != nil {
		t.Fatal(err)
	}
	s, err := media.Load(r)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Problems()) != 0 || s.Length() != res.Length || len(s.People()) != 3 {
		t.Errorf("%v, %v of %v, %v", s.Problems(), s.Length(), res.Length, s.People())
	}
	for id, want := range map[string]struct{ from, to time.Duration }{
		"ann-camera": {0, time.Second}, "ann-microphone": {40 * time.Millisecond, 1060 * time.Millisecond},
		"bob-camera": {500 * time.Millisecond, 1500 * time.Millisecond}, "mixer-microphone": {0, 2 * time.Second},
	} {
		track, ok := s.Track(id)
		if !ok || len(track.Layers) != 1 || len(track.Layers[0].Spans) != 1 {
			t.Fatalf("%s: %+v", id, track)
		}
		const frame = 50 * time.Millisecond
		if sp := track.Layers[0].Spans[0]; (sp.From-want.from).Abs() > frame || (sp.To-want.to).Abs() > frame {
			t.Errorf("%s: %v, want %v", id, sp, want)
		}
	}
	files, err := s.Remux(t.Context(), media.RemuxOptions{Dir: out, Video: []string{"ann-camera"}, Audio: []string{"ann-microphone"}, Format: "auto"})
	if err != nil || len(files) != 1 || files[0].Pictures != 25 || files[0].Broken != 0 {
		t.Fatalf("%+v, %v", files, err)
	}
	if got := probe(t, files[0].Path, "codec_name,nb_read_frames"); got != "h264,25\nopus,51" {
		t.Errorf("%q", got)
	}
}
