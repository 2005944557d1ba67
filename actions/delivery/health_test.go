package delivery

import (
	"testing"
	"time"

	"stillwatch/internal/db"
)

// step is a failure, or a success, so long after the one before.
type step struct {
	after time.Duration
	ok    bool
	want  verdict
}

func TestOnlyFailuresAloneSwitchAHookOff(t *testing.T) {
	t.Parallel()
	const hour = time.Hour
	for name, steps := range map[string][]step{
		"repeated": {
			{0, false, keep},
			{5 * time.Second, false, keep},
			{23 * hour, false, keep},
			{hour, false, warn},
			{hour, false, keep},
			{20 * hour, false, keep},
			{24 * hour, false, keep},
			{24 * hour, false, keep},
			{24 * hour, false, keep},
			{2 * hour, false, keep},
			{2 * hour, false, switchOff},
		},
		"sporadic": {
			{0, false, keep},
			{20 * hour, false, keep},
			{hour, true, keep},
			{hour, false, keep},
			{30 * hour, false, warn},
			{40 * hour, false, keep},
			{40 * hour, false, keep},
			{hour, true, keep},
			{hour, false, keep},
			{40 * hour, false, warn},
		},
		"expired window": {
			{0, false, keep}, {130 * hour, false, keep}, {23 * hour, false, keep}, {130 * hour, false, keep}, {25 * hour, false, warn}, {49 * hour, false, keep},
		},
	} {
		now := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
		var h db.HookHealthRow
		for i, s := range steps {
			now = now.Add(s.after)
			if s.ok {
				h = db.HookHealthRow{} // as a success leaves it
				continue
			}
			var got verdict
			if h, got = failed(h, now, DefaultFailingFor); got != s.want {
				t.Errorf("%s, step %d: verdict %d, want %d (failing since %s, now %s)", name, i, got, s.want, h.FailingSince, now)
			}
		}
	}
}

func TestFailingForOfAHookCounts(t *testing.T) {
	t.Parallel()
	var h Hook
	if d := failingFor(h); d != 120*time.Hour {
		t.Errorf("by default %s", d)
	}
	h.Settings.FailoverConfig = &db.HookFailover{FailingFor: 2}
	start := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
	row, _ := failed(db.HookHealthRow{}, start, failingFor(h))
	if _, got := failed(row, start.Add(2*time.Hour-1), failingFor(h)); got != keep {
		t.Errorf("before the time: %d", got)
	}
	if _, got := failed(row, start.Add(2*time.Hour), failingFor(h)); got != switchOff {
		t.Errorf("at the time: %d", got)
	}
}

func TestThrottleRestsLongerEachTimeUntilASuccess(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
	var th throttle
	busy := Result{Status: 429, Throttled: true}
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		if th.note(busy, now, now); th.until.Sub(now) != want*time.Second {
			t.Errorf("rest %d is %s, want %ds", i, th.until.Sub(now), want)
		}
		th.note(busy, now.Add(-time.Second), now) // one that began before the rest says nothing new
		if th.room(now, 8) != 0 || th.room(th.until, 8) != 1 {
			t.Errorf("room during %d, after %d", th.room(now, 8), th.room(th.until, 8))
		}
		now = th.until
	}
	th.note(Result{Status: 429, Throttled: true, RetryAfter: time.Hour}, now, now)
	if th.until.Sub(now) != time.Hour {
		t.Errorf("Retry-After of an hour gives %s", th.until.Sub(now))
	}
	if th.note(Result{Status: 200}, now, now); th.room(now, 8) != 8 {
		t.Error("a success does not end it")
	}
}
