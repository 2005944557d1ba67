package recorder

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/recording"
)

// TestLongRecordingsAreCut where the plan says so, or else where it is usual,
// and evidence never is.
func TestLongRecordingsAreCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what    string
		formats []string
		slice   time.Duration
		lane    string
		merged  bool
		want    string
	}{
		{"MP4 by default", []string{"mp4"}, 0, db.LaneBusiness, true, "2h0m0s 2h0m0s 2h0m0s 2h0m0s 2h0m0s 2h0m0s 1h0m0s"},
		{"HLS by default", []string{"hls"}, 0, db.LaneBusiness, true, "6h0m0s 6h0m0s 1h0m0s"},
		{"WebM by default", []string{"webm"}, 0, db.LaneBusiness, true, "6h0m0s 6h0m0s 1h0m0s"},
		{"the shorter of two", []string{"hls", "mp4"}, 0, db.LaneBusiness, true, "2h0m0s 2h0m0s 2h0m0s 2h0m0s 2h0m0s 2h0m0s 1h0m0s"},
		{"as the plan says", []string{"hls"}, 5 * time.Hour, db.LaneBusiness, true, "5h0m0s 5h0m0s 3h0m0s"},
		{"longer than MP4 gets", []string{"mp4"}, 5 * time.Hour, db.LaneBusiness, true, "2h0m0s 2h0m0s 2h0m0s 2h0m0s 2h0m0s 2h0m0s 1h0m0s"},
		{"sound where nothing is merged", []string{"mp4"}, 0, db.LaneBusiness, false, "6h0m0s 6h0m0s 1h0m0s"},
		{"evidence", []string{"mp4"}, 0, db.LaneEvidence, true, "13h0m0s"},
		{"evidence against the plan", []string{"mp4"}, time.Hour, db.LaneEvidence, true, "13h0m0s"},
	} {
		plan := recording.DefaultPlan()
		plan.CompositeFormats, plan.Slice = c.formats, c.slice
		k := task{run: db.RecordingRow{Lane: c.lane}, plan: plan, log: slog.Default()}
		got, at := "", time.Minute
		for _, w := range k.windows(time.Minute, time.Minute+13*time.Hour, c.merged) {
			if w.From != at {
				t.Errorf("%s: a file begins at %v, want %v", c.what, w.From, at)
			}
			got, at = got+fmt.Sprint(" ", w.To-w.From), w.To
		}
		if got != " "+c.want {
			t.Errorf("%s: files of%s, want %s", c.what, got, c.want)
		}
	}
	for format, want := range map[string]time.Duration{
		"mp4": 2 * time.Hour, "aac": 2 * time.Hour, "auto": 2 * time.Hour, "flv": 6 * time.Hour, "hls": 6 * time.Hour, "ogg": 6 * time.Hour,
	} {
		k := task{plan: recording.DefaultPlan(), run: db.RecordingRow{Lane: db.LaneBusiness}}
		if got := k.slice(format); got != want {
			t.Errorf("files of %s last %v, want %v", format, got, want)
		}
	}
}
