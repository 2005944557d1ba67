package recorder

import (
	"slices"
	"testing"
	"time"

	"stillwatch/internal/db"
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
