package telemetry

import (
	"bytes"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestNewLoggerHonoursLevelAndFormat(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	log, err := NewLogger(&b, "warn", "json")
	if err != nil {
		t.Fatal(err)
	}
	log.Info("quiet")
	log.Warn("loud", "n", 1)
	if got := b.String(); strings.Contains(got, "quiet") || !strings.Contains(got, `"n":1`) {
		t.Errorf("log = %q", got)
	}
}

func TestNewLoggerRefusesUnknown(t *testing.T) {
	t.Parallel()
	if _, err := NewLogger(nil, "loud", "text"); err == nil {
		t.Error("took level loud")
	}
	if _, err := NewLogger(nil, "info", "xml"); err == nil {
		t.Error("took format xml")
	}
}

func TestCounterAndGaugeReadWhenScraped(t *testing.T) {
	t.Parallel()
	r := NewRegistry()
	v := 1.0
	Counter(r, "frames_total", "Frames.", nil, func() float64 { return v })
	Gauge(r, "tracks", "Tracks.", nil, func() float64 { return 2 * v })
	v = 5
	want := "# HELP stillwatch_frames_total Frames.\n# TYPE stillwatch_frames_total counter\nstillwatch_frames_total 5\n" +
		"# HELP stillwatch_tracks Tracks.\n# TYPE stillwatch_tracks gauge\nstillwatch_tracks 10\n"
	if err := testutil.GatherAndCompare(r, strings.NewReader(want), "stillwatch_frames_total", "stillwatch_tracks"); err != nil {
		t.Error(err)
	}
}
