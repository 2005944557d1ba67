package media_test

import (
	"testing"
	"time"

	"stillwatch/recording/media"
)

// BenchmarkLoad reads a minute of VP8 at 600 kbit/s; ns/op ÷ 60 is what a
// second of a stream costs.
func BenchmarkLoad(b *testing.B) {
	for _, codec := range []string{media.VP8, media.H264, media.AV1, media.Opus} {
		b.Run(codec, func(b *testing.B) {
			s := anySent(b, codec)
			one := s.units
			for time.Duration(len(s.units))*s.step < time.Minute {
				s.units = append(s.units, one...)
			}
			src := newMemory()
			packets := s.packets()
			src.add(s.info("a", "u"), packets)
			n := 0
			for _, p := range packets {
				n += len(p.Data)
			}
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				src.load(b)
			}
		})
	}
}
