package capture

import (
	"fmt"
	"math"
	"testing"
	"time"

	"stillwatch/capture/still"
	"stillwatch/internal/event"
)

// TestTwoHundredTracks runs 200 publishers for five minutes: due moments keep
// their pace, publishers are not asked in step, and every due frame is
// captured or in the ledger.
func TestTwoHundredTracks(t *testing.T) {
	t.Parallel()
	const tracks, interval, length = 200, 2 * time.Second, 300 * time.Second
	w := newWorld(t, nil)
	w.imager.err = func(n int) error {
		if n%37 == 0 {
			return still.ErrUndecodable
		}
		return nil
	}
	all := make([]*fakeTrack, tracks)
	for i := range all {
		all[i] = w.track(fmt.Sprint(i), func(f *fakeTrack) {
			f.silent = i%20 == 3
			f.deaf = i%20 == 7
			f.answer = time.Duration(30+i%60) * time.Millisecond
		})
	}
	w.s.SetRecording(call, true, "e", Settings{})
	w.run(length)

	expected := float64(length / interval)
	accounted := 0
	for _, f := range all {
		c := w.check(f.info.ID)
		accounted += c.Captured + c.Gaps
		if math.Abs(float64(c.Due)-expected) > 1.5 {
			t.Errorf("track %s: %d due in %v", f.info.ID, c.Due, length)
		}
		if f.silent || f.deaf {
			continue
		}
		checkPace(t, f.requests, interval)
	}
	st := w.s.Stats()
	if share := float64(accounted) / (tracks * expected); share < 0.995 || share > 1.005 {
		t.Errorf("%.4f of the due frames are accounted for: %+v", share, st)
	}
	if st.Gaps[event.GapMuted] < 1400 || st.Gaps[event.GapNoKeyframe] < 1400 || st.Gaps[event.GapUndecodable] < 600 {
		t.Errorf("%+v", st)
	}
	if st.Due != st.Captured+st.Missed()+st.InFlight+uint64(st.Waiting) {
		t.Errorf("%+v does not add up", st)
	}
	checkSpread(t, all, interval)
}

// checkPace holds each distance to 10 % of the interval and the mean to 0.1 %.
func checkPace(t *testing.T, asked []time.Time, interval time.Duration) {
	t.Helper()
	for i := 1; i < len(asked); i++ {
		if d := asked[i].Sub(asked[i-1]); math.Abs(d.Seconds()/interval.Seconds()-1) > 0.1 {
			t.Fatalf("%v after the one before", d)
		}
	}
	mean := asked[len(asked)-1].Sub(asked[0]).Seconds() / float64(len(asked)-1)
	if math.Abs(mean/interval.Seconds()-1) > 0.001 {
		t.Errorf("%v apart in the mean", mean)
	}
}

// checkSpread counts requests in steps of 50 ms: they are far from in step.
func checkSpread(t *testing.T, all []*fakeTrack, interval time.Duration) {
	t.Helper()
	const step = 50 * time.Millisecond
	buckets := map[int64]int{}
	total := 0
	for _, f := range all {
		if f.silent || f.deaf {
			continue
		}
		for _, at := range f.requests {
			buckets[at.UnixNano()/int64(step)]++
			total++
		}
	}
	most := 0
	for _, n := range buckets {
		most = max(most, n)
	}
	mean := 180 * float64(step) / float64(interval)
	if float64(most) > 4*mean {
		t.Errorf("%d requests within %v, %.1f in the mean", most, step, mean)
	}
	// and no track is asked at the same moment of its interval each time
	for _, f := range all[:3] {
		var sum, sum2 float64
		for i, at := range f.requests {
			d := at.Sub(f.requests[0]).Seconds() - float64(i)*interval.Seconds()
			sum += d
			sum2 += d * d
		}
		n := float64(len(f.requests))
		if std := math.Sqrt(sum2/n - sum*sum/n/n); std < 0.02*interval.Seconds() {
			t.Errorf("moments shift by %.3f s only", std)
		}
	}
}

func TestPacerStaysOnItsGrid(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
	for _, seconds := range []int{2, 60} {
		interval := time.Duration(seconds) * time.Second
		p := newPacer(now, interval, 0.05, nil)
		if first := p.next(); first.Sub(now) > maxFirst+interval/20 {
			t.Errorf("the first frame is due after %v", first.Sub(now))
		}
		for i := 1; i < 10000; i++ {
			off := p.next().Sub(p.base) - time.Duration(i)*interval
			if off.Abs() > interval/20 {
				t.Fatalf("moment %d is %v off", i, off)
			}
		}
	}
}

// BenchmarkSampler is the sampler's own cost of one captured frame: schedule,
// tap, request, assembly, queue, SHA-256 of a small picture, event, row.
func BenchmarkSampler(b *testing.B) {
	w := newWorld(b, nil)
	for i := range 200 {
		w.track(fmt.Sprint(i), nil)
	}
	w.s.SetRecording(call, true, "e", Settings{})
	b.ReportAllocs()
	for b.Loop() {
		w.run(20 * time.Millisecond) // two of 200 frames in 2 s
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(len(w.bus.frames)), "µs/frame")
}
