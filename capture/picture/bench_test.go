//go:build cgo && linux

package picture

import (
	"testing"

	"stillwatch/capture/still"
)

// BenchmarkPicture reports the children's processor time per picture, the
// floor on the same keyframes, and their ratio.
func BenchmarkPicture(b *testing.B) {
	for _, codec := range codecs {
		b.Run(string(codec), func(b *testing.B) {
			var frames [][]byte
			for _, picture := range []string{"drawing", "hentai", "neutral", "porn", "sexy"} {
				frames = append(frames, keyframe(b, media{codec: codec, picture: picture, kbps: 1500}))
			}
			p := newPool(b, Config{})
			floor, err := Floor(b.Context(), codec, frames, 720, nil, 10)
			if err != nil {
				b.Fatal(err)
			}
			mustPicture(b, p, still.Request{Codec: codec, Keyframe: frames[0], MaxHeight: 720})
			before := p.Stats()
			for i := 0; b.Loop(); i++ {
				mustPicture(b, p, still.Request{Codec: codec, Keyframe: frames[i%len(frames)], MaxHeight: 720})
			}
			after := p.Stats()
			perFrame := (after.CPU - before.CPU).Seconds() / float64(after.Pictures-before.Pictures)
			b.ReportMetric(perFrame*1e3, "cpu-ms/picture")
			b.ReportMetric(floor.Seconds()*1e3, "floor-ms/picture")
			b.ReportMetric(perFrame/floor.Seconds(), "x-floor")
			b.ReportMetric(float64(len(frames[0])), "keyframe-bytes")
		})
	}
}
