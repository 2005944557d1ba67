package slices

import (
	"errors"
	"testing"
	"time"

	"stillwatch/recording"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	for format, most := range map[string]time.Duration{"hls": 720, "flv": 720, "mp4": 120, "aac": 120, "webm": 720, "auto": 120} {
		for _, minutes := range []time.Duration{0, 1, 2, 119, 120, 121, 719, 720, 721} {
			err := Check(format, minutes*time.Minute)
			if (err == nil) != (minutes <= most) {
				t.Errorf("%s of %d min: %v", format, minutes, err)
			}
		}
		for _, bad := range []time.Duration{-1, 1, 59 * time.Second, most*time.Minute + 1} {
			var want *RangeError
			if err := Check(format, bad); !errors.As(err, &want) {
				t.Errorf("%s of %v: %v", format, bad, err)
			}
		}
	}
}

func TestLongProfile(t *testing.T) {
	t.Parallel()
	if err := Long.Check("mp4", 6*time.Hour); err != nil {
		t.Error(err)
	}
	if Long.Check("mp4", 6*time.Hour+1) == nil || Standard.Check("mp4", 6*time.Hour) == nil {
		t.Error("MP4 has no bound")
	}
	for p, want := range map[Profile][2]time.Duration{Standard: {2 * time.Hour, 6 * time.Hour}, Long: {6 * time.Hour, 6 * time.Hour}} {
		if p.Default("mp4") != want[0] || p.Default("hls") != want[1] {
			t.Errorf("%d: %v, %v", p, p.Default("mp4"), p.Default("hls"))
		}
	}
}

func TestCheckResume(t *testing.T) {
	t.Parallel()
	for s, ok := range map[time.Duration]bool{-1: false, 0: true, 180: true, 1800: true, 1801: false} {
		if err := CheckResume(s * time.Second); (err == nil) != ok {
			t.Errorf("%d s: %v", s, err)
		}
	}
	err := CheckResume(1801 * time.Second)
	if err == nil || err.Error() != "resume must be 0s to 30m0s, not 30m1s" {
		t.Error(err)
	}
}

func TestSettingsCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		s  Settings
		p  Profile
		ok bool
	}{
		{Settings{}, Standard, true},
		{Settings{Slice: 2 * time.Hour, Period: 10 * time.Hour, Resume: DefaultResume}, Standard, true},
		{Settings{Slice: 6 * time.Hour}, Standard, false},
		{Settings{Slice: 6 * time.Hour}, Long, true},
		{Settings{Period: -1}, Standard, false},
		{Settings{Resume: MaxResume + 1}, Standard, false},
	} {
		if err := c.s.Check(c.p, "mp4"); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// The plan's bounds are the same.
func TestBoundsAreThePlans(t *testing.T) {
	t.Parallel()
	if recording.MaxResume != MaxResume || recording.DefaultPlan().Resume != DefaultResume {
		t.Errorf("resume: %v, %v", recording.MaxResume, recording.DefaultPlan().Resume)
	}
	for _, format := range recording.IndividualFormats {
		if got, want := recording.LongestSlice(format), Standard.Longest(format); got != want {
			t.Errorf("%s: %v and %v", format, got, want)
		}
	}
}
