package capture

import (
	"fmt"
	"testing"
	"time"

	"stillwatch/capture/keyframe"
	"stillwatch/internal/event"
)

func testJob(t *sampled, at time.Duration) *job {
	j := &job{t: t, lack: int(t.lack * 20)}
	j.kf = &keyframe.Keyframe{LastAt: time.Unix(0, 0).Add(at)}
	return j
}

func TestQueueTakesTheFreshestFirst(t *testing.T) {
	t.Parallel()
	q := newQueue(10, time.Second)
	var tracks [4]sampled
	for i := range tracks {
		q.push(testJob(&tracks[i], time.Duration(i)))
	}
	for i := 3; i >= 0; i-- {
		if j, _ := try(q, time.Unix(0, 0)); j.t != &tracks[i] {
			t.Fatalf("not track %d", i)
		}
	}
}

func TestQueueHoldsOneOfATrackAndShedsTheOldest(t *testing.T) {
	t.Parallel()
	q := newQueue(2, time.Second)
	var a, b, c sampled
	first := testJob(&a, 1)
	q.push(first)
	if shed := q.push(testJob(&a, 2)); len(shed) != 1 || shed[0] != first {
		t.Fatalf("shed %v", shed)
	}
	q.push(testJob(&b, 3))
	if shed := q.push(testJob(&c, 4)); len(shed) != 1 || shed[0].t != &a {
		t.Fatalf("shed %v", shed)
	}
}

func TestQueueSparesTheStarved(t *testing.T) {
	t.Parallel()
	q := newQueue(2, time.Second)
	old, b, c := sampled{lack: 0.5}, sampled{}, sampled{}
	q.push(testJob(&old, 1))
	q.push(testJob(&b, 2))
	if shed := q.push(testJob(&c, 3)); len(shed) != 1 || shed[0].t != &b {
		t.Fatal("a starved track was shed")
	}
	if j, _ := try(q, time.Unix(0, 0)); j.t != &old {
		t.Fatal("a starved track does not come first")
	}
}

func TestQueueDropsWhatWaitedTooLong(t *testing.T) {
	t.Parallel()
	q := newQueue(4, time.Second)
	var a, b sampled
	q.push(testJob(&a, 0))
	q.push(testJob(&b, 900*time.Millisecond))
	j, shed := q.pop(func() time.Time { return time.Unix(1, 500e6) })
	if j == nil || j.t != &b || len(shed) != 1 || shed[0].t != &a {
		t.Fatalf("job %v, shed %v", j, shed)
	}
	q.close()
	if j, shed := q.pop(time.Now); j != nil || shed != nil || !q.done() {
		t.Fatal("a closed queue gave something")
	}
	if shed := q.push(testJob(&a, 0)); len(shed) != 1 {
		t.Fatal("a closed queue took something")
	}
}

// TestOverloadIsSpreadFairly has workers that manage half of the frames.
func TestOverloadIsSpreadFairly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.Queue = 4 })
	const tracks = 20
	for i := range tracks {
		w.track(fmt.Sprint(i), nil)
	}
	w.s.SetRecording(call, true, "e", Settings{})
	w.idle = true
	var work func()
	work = func() { // one picture in 200 ms: 10 frames of 20 in 2 s
		if j := w.try(w.s.pictures); j != nil {
			w.s.makePicture(t.Context(), j)
			w.s.store(t.Context(), w.try(w.s.stores))
		}
		w.after(200*time.Millisecond, work)
	}
	work()
	w.run(200 * time.Second)
	least, most := 1000, 0
	for i := range tracks {
		c := w.check(fmt.Sprint(i))
		least, most = min(least, c.Captured), max(most, c.Captured)
	}
	if least < 35 || most > 75 {
		t.Fatalf("tracks have between %d and %d of 100 frames", least, most)
	}
	if st := w.s.Stats(); st.Gaps[event.GapOverload] != st.Missed() || st.Captured < 950 {
		t.Fatalf("%+v", st)
	}
	for _, f := range w.bus.frames {
		if f.CapturedAt.IsZero() {
			t.Fatal("no time")
		}
	}
}
