package meter

import (
	"os"
	"testing"
	"time"
)

func TestTreeCountsOwnWork(t *testing.T) {
	t.Parallel()
	before, err := Tree(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for start, x := time.Now(), 0; time.Since(start) < 60*time.Millisecond; x++ { // burn, so that the clock ticks
		_ = x
	}
	after, err := Tree(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if after.CPU <= before.CPU {
		t.Errorf("CPU went from %v to %v", before.CPU, after.CPU)
	}
	if after.PSS < 1<<20 || after.Processes < 1 {
		t.Errorf("usage = %+v", after)
	}
	if _, err := Tree(1 << 30); err == nil {
		t.Error("Tree of no process gave no error")
	}
}

func TestParseStatTakesOddNames(t *testing.T) {
	t.Parallel()
	pid, p, err := parseStat("42 (a) b (c)) S 7 0 0 0 0 0 0 0 0 0 100 50 20 10 0 0\n")
	if err != nil || pid != 42 || p.name != "a) b (c)" || p.parent != 7 || p.cpu != 1500*time.Millisecond || p.waited != 300*time.Millisecond {
		t.Errorf("parseStat = %d %+v %v", pid, p, err)
	}
	for _, bad := range []string{"", "1 S 2", "x (a) S 1 0 0 0 0 0 0 0 0 0 1 1 1 1", "1 (a) S 1"} {
		if _, _, err := parseStat(bad); err == nil {
			t.Errorf("parseStat(%q) gave no error", bad)
		}
	}
}

func TestSummariseIsNearestRank(t *testing.T) {
	t.Parallel()
	var s []time.Duration
	for i := 100; i >= 1; i-- {
		s = append(s, time.Duration(i)*time.Millisecond)
	}
	if got := Summarise(s); got != (Percentiles{50, 95, 99, 100}) {
		t.Errorf("Summarise = %+v", got)
	}
	if got := Summarise([]time.Duration{time.Millisecond}); got != (Percentiles{1, 1, 1, 1}) {
		t.Errorf("Summarise of one = %+v", got)
	}
	if got := Summarise(nil); got.N != 0 {
		t.Errorf("Summarise of none = %+v", got)
	}
}
