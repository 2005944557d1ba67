package delivery

import (
	"testing"
	"time"
)

func TestPauseFollowsTheSchedule(t *testing.T) {
	t.Parallel()
	want := []time.Duration{
		5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
	}
	for i, w := range want {
		for _, factor := range []float64{0.8, 1, 1.2} {
			if d, ok := pause(i+1, factor, 0); !ok || d != time.Duration(float64(w)*factor) {
				t.Errorf("after %d with %v: %s, %v", i+1, factor, d, ok)
			}
		}
	}
	if _, ok := pause(10, 1, 0); ok {
		t.Error("an eleventh attempt")
	}
	if d, _ := pause(1, 1, time.Minute); d != time.Minute {
		t.Errorf("Retry-After ignored: %s", d)
	}
	if d, _ := pause(3, 1, time.Minute); d != 30*time.Minute {
		t.Errorf("Retry-After shortened the pause: %s", d)
	}
}

func TestJitterStaysWithinAFifth(t *testing.T) {
	t.Parallel()
	low, high := 1.0, 1.0
	for range 10_000 {
		j := jitter()
		low, high = min(low, j), max(high, j)
	}
	if low < 0.8 || high > 1.2 || low > 0.81 || high < 1.19 {
		t.Errorf("%v to %v", low, high)
	}
}
