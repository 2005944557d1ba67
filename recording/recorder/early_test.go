package recorder

import (
	"os"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
	"stillwatch/recording"
)

func TestTheFirstMinuteCanBeWatchedWhileTheRestIsMade(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("renders two minutes of movie")
	}
	w := newWorld(t, func(p *recording.Plan) {
		p.Composite, p.CompositeFormats, p.Quality, p.Layout = recording.ModeAutoOn, []string{"hls", "mp4"}, "360p", "grid"
	}, func(c *Config) { c.Workers = 1 })
	s := w.session("early", time.Now())
	s.play("ada", actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: 130 * time.Second})
	s.play("ben", actor{clip: w.clip("drawing", event.VP8), from: time.Second, to: 130 * time.Second})
	s.end(130 * time.Second)
	var early db.RecordingFileRow
	testkit.Eventually(t, 6*time.Minute, func() bool {
		return w.db.NewSelect().Model(&early).Where("format = 'hls'").Scan(t.Context()) == nil
	}, "the first minute is published")
	var run db.RecordingRow
	if err := w.db.NewSelect().Model(&run).Scan(t.Context()); err != nil || run.State != db.RecordingProcessing {
		t.Fatalf("run %s, %v: the whole was made before the first minute", run.State, err)
	}
	list := w.playlist(early)
	if strings.Contains(list, "#EXT-X-ENDLIST") || strings.Count(list, "#EXTINF") < 10 {
		t.Errorf("early playlist:\n%s", list)
	}
	was := w.segments(early)
	run = w.until("default:early", db.RecordingReady, 6*time.Minute)
	files := w.files(run.ID)[kindMovie]
	if len(files) != 2 {
		t.Fatalf("movies: %+v", files)
	}
	for _, f := range files {
		if f.Format != "hls" {
			continue
		}
		if f.ID != early.ID || f.ObjectKey != early.ObjectKey {
			t.Errorf("the whole is %s at %s, the first minute was %s at %s", f.ID, f.ObjectKey, early.ID, early.ObjectKey)
		}
		list := w.playlist(f)
		if !strings.Contains(list, "#EXT-X-ENDLIST") || strings.Count(list, "#EXTINF") < 20 {
			t.Errorf("playlist:\n%s", list)
		}
		now, sounds := w.segments(f), 0
		for key, body := range was {
			if now[key] != body {
				t.Errorf("%s was published early and is another now", key)
			}
			if strings.Contains(key, "/a-") {
				sounds++
			}
		}
		if sounds < 11 {
			t.Errorf("%d segments of sound were there early, want a minute's", sounds)
		}
	}
}

// segments are the contents of an HLS file's segments, by key.
func (w *world) segments(f db.RecordingFileRow) map[string]string {
	w.t.Helper()
	all := map[string]string{}
	for _, i := range f.Items.V {
		if strings.HasSuffix(i.Key, ".m4s") || strings.HasSuffix(i.Key, ".mp4") {
			body, err := os.ReadFile(w.path(i.Key))
			if err != nil {
				w.t.Fatal(err)
			}
			all[i.Key] = string(body)
		}
	}
	return all
}

// playlist reads the list of pictures of an HLS file, whose segments are links.
func (w *world) playlist(f db.RecordingFileRow) string {
	w.t.Helper()
	for _, i := range f.Items.V {
		if strings.HasSuffix(i.Key, "/play-video.m3u8") {
			text, err := os.ReadFile(w.path(i.Key))
			if err != nil {
				w.t.Fatal(err)
			}
			if !strings.Contains(string(text), "http://127.0.0.1/s/recordings/") {
				w.t.Errorf("segments are no links:\n%s", text)
			}
			return string(text)
		}
	}
	w.t.Fatalf("no playlist of links among %+v", f.Items.V)
	return ""
}
