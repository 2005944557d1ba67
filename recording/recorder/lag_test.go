package recorder

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/synthetic"
	"stillwatch/internal/testkit"
	"stillwatch/recording"
)

// BenchmarkReady measures how long after its end a call of four participants,
// 720p VP8 at 1.5 Mbit/s and sound, can be watched: the first minute, and the
// whole as MP4 and HLS. Run it with
//
//	go test -run '^$' -bench Ready -benchtime 1x -timeout 30m ./recording/recorder
func BenchmarkReady(b *testing.B) {
	for _, length := range []time.Duration{10 * time.Minute} {
		b.Run(fmt.Sprint(length), func(b *testing.B) {
			for b.Loop() {
				early, ready := lag(b, length)
				b.ReportMetric(early.Seconds(), "s-to-first-minute")
				b.ReportMetric(ready.Seconds(), "s-to-all")
				b.ReportMetric(ready.Seconds()/length.Seconds(), "of-length")
			}
		})
	}
}

func lag(b *testing.B, length time.Duration) (early, ready time.Duration) {
	w := newWorld(b, func(p *recording.Plan) {
		p.Composite, p.CompositeFormats, p.Quality, p.Layout = recording.ModeAutoOn, []string{"hls", "mp4"}, "720p", "grid"
	}, func(c *Config) { c.Log = slog.New(slog.DiscardHandler) })
	s := w.session("lag", time.Now())
	for i, picture := range []string{"neutral", "drawing", "sexy", "neutral"} {
		c, err := synthetic.MakeClip(b.Context(), filepath.Join("..", "..", "build", "clips"), synthetic.ClipConfig{Picture: picture, Codec: event.VP8})
		if err != nil {
			b.Fatal(err)
		}
		s.play(fmt.Sprintf("user%d", i), actor{clip: c, tone: w.tone(400 + 100*i), from: time.Duration(i) * 10 * time.Second, to: length})
	}
	end := time.Now()
	s.end(length)
	testkit.Eventually(b, length, func() bool {
		var rows []db.RecordingFileRow
		if err := w.db.NewSelect().Model(&rows).Scan(context.Background()); err != nil {
			return false
		}
		if early == 0 && len(rows) > 0 {
			early = time.Since(end)
		}
		n, err := w.db.NewSelect().Model((*db.RecordingRow)(nil)).Where("state = ?", db.RecordingReady).Count(context.Background())
		return err == nil && n == 1
	}, "the call is ready")
	return early, time.Since(end)
}
