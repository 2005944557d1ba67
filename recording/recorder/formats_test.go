package recorder

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording"
)

func TestTheCodecOfWebMIsThePlans(t *testing.T) {
	t.Parallel()
	for _, codec := range []string{"vp8", "vp9"} {
		w := newWorld(t, func(p *recording.Plan) {
			oneMovie(p)
			p.CompositeFormats, p.WebMCodec, p.ShowNames = []string{"webm"}, codec, true
		})
		w.short(codec).end(2 * time.Second)
		run := w.until("default:"+codec, db.RecordingReady, 2*time.Minute)
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
		files := w.files(w.until("default:"+id, db.RecordingReady, 3*time.Minute).ID)
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
