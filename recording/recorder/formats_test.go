package recorder

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
	"stillwatch/recording/archive"
)

func TestTheCodecOfWebMIsThePlans(t *testing.T) {
	t.Parallel()
	for _, codec := range []string{"vp8", "vp9"} {
		w := newWorld(t, func(p *recording.Plan) {
			oneMovie(p)
			p.CompositeFormats, p.WebMCodec, p.ShowNames = []string{"webm"}, codec, true
		})
		w.short(codec).end(2 * time.Second)
		run := w.until("default:"+codec, db.RecordingReady, 6*time.Minute)
		movie := w.files(run.ID)[kindMovie][0]
		var got []string
		for _, s := range movie.Media.V.Streams {
			got = append(got, s.CodecName)
		}
		if !slices.Contains(got, codec) || movie.Format != "webm" {
			t.Errorf("%s as %s has %v, want %s", movie.Filename, movie.Format, got, codec)
		}
	}
}

// TestIndividualFilesAreCounted: one sound of all, a video each and one JSON of
// metadata, however many there are and whatever the sound's format; and beside
// them the manifest, and nothing else.
func TestIndividualFilesAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) { p.Individual = recording.ModeAutoOn })
	for _, c := range []struct {
		people        int
		format, codec string
		rate          int
	}{{2, "wav", "pcm_s16le", 48000}, {3, "wav-8bit", "pcm_u8", 16000}, {9, "wav", "pcm_s16le", 48000}, {10, "wav-8bit", "pcm_u8", 16000}} {
		w.plan.SoundFormat = c.format
		id := fmt.Sprint("count-", c.people)
		s := w.session(id, time.Now())
		for i := range c.people {
			s.play(fmt.Sprint("user-", i), actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: time.Second})
		}
		s.end(time.Second)
		files := w.files(w.until("default:"+id, db.RecordingReady, 9*time.Minute).ID)
		got := map[string]int{}
		for kind, all := range files {
			got[kind] = len(all)
		}
		if want := (map[string]int{kindVideo: c.people, kindAudio: 1, kindMetadata: 1, kindManifest: 1}); !maps.Equal(got, want) {
			t.Errorf("%d people left %v, want %v", c.people, got, want)
			continue
		}
		sound := files[kindAudio][0]
		if st := sound.Media.V.Streams; sound.Format != c.format || len(st) != 1 || st[0].CodecName != c.codec || st[0].SampleRate != c.rate {
			t.Errorf("%d people: the sound is %s of %+v", c.people, sound.Format, st)
		}
	}
}

// TestMetadataTellsWhoSentWhenAndASharedScreenIsAFile: ada comes twice, with a
// camera, and shares her screen in between.
func TestMetadataTellsWhoSentWhenAndASharedScreenIsAFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) { p.Individual = recording.ModeAutoOn })
	start := time.Now()
	s := w.session("twice", start)
	camera := actor{clip: w.clip("neutral", event.VP8), tone: w.tone(400), to: time.Second}
	s.play("ada", camera)
	s.play("ada", actor{clip: w.clip("drawing", event.H264), screen: true, from: 1500 * time.Millisecond, to: 3 * time.Second})
	camera.from, camera.to = 4*time.Second, 5*time.Second
	s.play("ada", camera)
	s.end(5 * time.Second)
	run := w.until("default:twice", db.RecordingReady, 6*time.Minute)
	files := w.files(run.ID)
	screens := 0
	for _, f := range files[kindVideo] {
		if f.TrackType == string(event.TrackScreenShare) {
			screens++
			if st := f.Media.V.Streams; f.Format != "mp4" || len(st) != 1 || st[0].CodecName != "h264" || f.UserID != "ada" {
				t.Errorf("the screen's file is %s of %s: %+v", f.Format, f.UserID, st)
			}
			if l := lasts(t, f); l < 1.4 || l > 1.6 {
				t.Errorf("the screen's file lasts %.2f s, want 1.5", l)
			}
		}
	}
	if screens != 1 || len(files[kindVideo]) < 2 {
		t.Errorf("%d files of screens among %d videos, want 1 beside the camera's", screens, len(files[kindVideo]))
	}
	text, err := os.ReadFile(w.path(files[kindMetadata][0].ObjectKey))
	if err != nil {
		t.Fatal(err)
	}
	var side archive.Sidecar
	if err := json.Unmarshal(text, &side); err != nil || side.CallCID != "default:twice" || side.SessionID != s.info.SessionID {
		t.Errorf("metadata of %s, %s: %v", side.CallCID, side.SessionID, err)
	}
	got := map[string]string{}
	for _, track := range side.Tracks {
		for _, seg := range track.Segments {
			from, to := time.Time(seg.StartTime).Sub(start), time.Time(seg.StopTime).Sub(start)
			got[track.UserID+" "+track.TrackType] += fmt.Sprintf("%d-%d ", from.Round(500*time.Millisecond).Milliseconds(), to.Round(500*time.Millisecond).Milliseconds())
		}
	}
	want := map[string]string{
		"ada TRACK_TYPE_VIDEO": "0-1000 4000-5000 ", "ada TRACK_TYPE_AUDIO": "0-1000 4000-5000 ", "ada TRACK_TYPE_SCREEN_SHARE": "1500-3000 ",
	}
	if !maps.Equal(got, want) {
		t.Errorf("segments %v, want %v\n%s", got, want, text)
	}
}

func TestOpusIsOggByAnotherName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *recording.Plan) {
		p.Individual, p.IndividualFormats = recording.ModeAutoOn, []string{"opus", "ogg"}
	})
	w.short("opus").end(2 * time.Second)
	files := w.files(w.until("default:opus", db.RecordingReady, 6*time.Minute).ID)
	got := map[string]int{}
	for _, f := range files[kindAudio] {
		got[f.Format+" "+filepath.Ext(f.ObjectKey)+" "+f.Media.V.Format.Name+" "+f.Media.V.Streams[0].CodecName]++
	}
	if want := (map[string]int{"opus .opus ogg opus": 2, "ogg .ogg ogg opus": 2, "wav .wav wav pcm_s16le": 1}); !maps.Equal(got, want) {
		t.Errorf("sound as %v, want %v", got, want)
	}
}

// The sound of a movie is of 16 bits also where it has to be mixed again.
func TestAMoviesSoundIsMixedAgainAsBefore(t *testing.T) {
	t.Parallel()
	var w *world
	w = newWorld(t, func(p *recording.Plan) { oneMovie(p); p.SoundFormat = "wav-8bit" }, func(c *Config) {
		c.KeepWork = true
		c.begun = func(kind string) {
			if kind != stepJoin {
				return
			}
			sounds, err := filepath.Glob(filepath.Join(w.dir, "recordings", "work", "*", movieDir(0), soundName))
			if err != nil || len(sounds) != 1 || os.Remove(sounds[0]) != nil {
				t.Errorf("sounds %v, %v", sounds, err)
			}
		}
	})
	s := w.short("bits")
	s.end(2 * time.Second)
	run := w.until("default:bits", db.RecordingReady, 4*time.Minute)
	head, err := os.ReadFile(filepath.Join(w.workDir(run.ID), movieDir(0), soundName))
	if err != nil || len(head) < 36 || binary.LittleEndian.Uint16(head[34:]) != 16 {
		t.Errorf("sound of %d bytes, %v", len(head), err)
	}
}
