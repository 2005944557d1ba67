package capture

import (
	"errors"
	"testing"
	"time"

	"stillwatch/capture/still"
	"stillwatch/internal/event"
)

// TestEveryMissedFrameHasItsReason drives a track through each way to miss.
func TestEveryMissedFrameHasItsReason(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		track  func(*fakeTrack)
		world  func(*world)
		reason event.GapReason
		detail string
	}{
		"silent":      {track: func(f *fakeTrack) { f.silent = true }, reason: event.GapMuted, detail: "no packets"},
		"muted":       {world: func(w *world) { w.s.TrackMuted("a", true) }, reason: event.GapMuted, detail: "muted"},
		"deaf":        {track: func(f *fakeTrack) { f.deaf = true }, reason: event.GapNoKeyframe, detail: "publisher sent none"},
		"black":       {world: func(w *world) { w.imager.look = still.Picture{LumaMean: 1, LumaStd: 0.5} }, reason: event.GapBlack},
		"undecodable": {world: func(w *world) { w.imager.err = always(still.ErrUndecodable) }, reason: event.GapUndecodable, detail: "keyframe is undecodable"},
		"too large":   {world: func(w *world) { w.imager.err = always(still.ErrTooLarge) }, reason: event.GapUndecodable, detail: "keyframe is too large"},
		"crash":       {world: func(w *world) { w.imager.err = always(still.ErrCrashed) }, reason: event.GapCrashed, detail: "picture worker crashed"},
		"deadline":    {world: func(w *world) { w.imager.err = always(still.ErrDeadline) }, reason: event.GapCrashed, detail: "picture worker exceeded its deadline"},
		"busy":        {world: func(w *world) { w.imager.err = always(still.ErrBusy) }, reason: event.GapOverload, detail: "picture queue is full"},
		"store":       {world: func(w *world) { w.bus.putErr = errors.New("disk full") }, reason: event.GapStorage, detail: "object store failed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			w.track("a", tc.track)
			if tc.world != nil {
				tc.world(w)
			}
			w.s.SetRecording(call, true, "e", Settings{})
			w.run(20 * time.Second)
			c := w.check("a")
			w.s.SetRecording(call, false, "", Settings{})
			w.run(0)
			gaps := w.rows.gapList()
			if len(gaps) != 1 || c.Captured != 0 || len(w.bus.frames) != 0 {
				t.Fatalf("gaps %+v, counts %+v", gaps, c)
			}
			g := gaps[0]
			if g.Reason != string(tc.reason) || g.Detail != tc.detail || g.Due != c.Gaps || g.CID != call || g.UserID != "user-a" {
				t.Fatalf("gap %+v, counts %+v", g, c)
			}
			if d := g.ToAt.Sub(g.FromAt.Time); d < 14*time.Second || d > 20*time.Second {
				t.Fatalf("gap of %v", d)
			}
			if n := len(w.bus.gaps); n != 2 || w.bus.gaps[0].Due != 1 || w.bus.gaps[1].Due != c.Gaps {
				t.Fatalf("events %+v", w.bus.gaps)
			}
		})
	}
}

func always(err error) func(int) error { return func(int) error { return err } }

func TestMutedTracksAreNotAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	f := w.track("a", nil)
	w.s.SetRecording(call, true, "e", Settings{})
	w.run(10 * time.Second)
	w.s.TrackMuted("a", true)
	before, taps := len(f.requests), f.opened
	w.run(10 * time.Second)
	if len(f.requests) != before || f.opened != taps {
		t.Fatal("a muted track was asked")
	}
	w.s.TrackMuted("a", false)
	w.run(10 * time.Second)
	c := w.check("a")
	if c.Captured < 9 || c.Gaps < 4 {
		t.Fatalf("%+v", c)
	}
}

// TestSilenceAroundDueMomentsHidesNothing: a publisher who falls silent
// whenever a frame is due is looked at when they send again.
func TestSilenceAroundDueMomentsHidesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	f := w.track("a", nil)
	w.s.SetRecording(call, true, "e", Settings{IntervalSeconds: 10})
	w.run(3 * time.Second)
	first := w.check("a")
	for range 20 { // silent from 1 s before each due moment until 1 s after
		due := w.s.tracks["a"].due
		w.run(due.Add(-time.Second).Sub(w.now))
		f.silent = true
		w.s.TrackMuted("a", true)
		w.run(2 * time.Second)
		f.silent = false
		w.s.TrackMuted("a", false)
		w.run(6 * time.Second)
	}
	c := w.check("a")
	if seen := c.Captured - first.Captured; seen < 15 || seen > 21 {
		t.Fatalf("seen %d times in 20 intervals: %+v", seen, c)
	}
}

// TestFrozenCamera: equal to the last bit for long is frozen, and a screen
// share never is.
func TestFrozenCamera(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.FrozenAfter = 5 })
	frozen := func(f *fakeTrack) { f.still = true }
	f := w.track("a", frozen)
	w.track("b", func(f *fakeTrack) { frozen(f); f.info.Type = event.TrackScreenShare })
	w.track("c", nil)
	w.s.SetRecording(call, true, "e", Settings{})
	w.run(40 * time.Second)
	if c := w.check("a"); c.Captured != 5 || w.s.Stats().Gaps[event.GapFrozen] != uint64(c.Gaps) {
		t.Fatalf("camera %+v", c)
	}
	for _, id := range []string{"b", "c"} {
		if c := w.check(id); c.Gaps != 0 {
			t.Fatalf("track %s %+v", id, c)
		}
	}
	f.still = false
	before, _ := w.s.Track("a")
	w.run(10 * time.Second)
	if c := w.check("a"); c.Captured < before.Captured+4 {
		t.Fatalf("thawed camera %+v", c)
	}
}

// TestPublishFailureKeepsTheRow: what is stored must be swept one day.
func TestPublishFailureKeepsTheRow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.bus.pubErr = errors.New("bus is away")
	w.track("a", nil)
	w.s.SetRecording(call, true, "e", Settings{})
	w.run(10 * time.Second)
	c := w.check("a")
	if c.Captured != 0 || len(w.rows.frames) != len(w.bus.objects) || len(w.rows.frames) == 0 {
		t.Fatalf("%+v, %d rows, %d objects", c, len(w.rows.frames), len(w.bus.objects))
	}
}

// TestAlternatingGapsAreSeparateEntries: entries merge only in a row.
func TestAlternatingGapsAreSeparateEntries(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.imager.err = func(n int) error {
		return []error{still.ErrUndecodable, still.ErrUndecodable, still.ErrCrashed, nil}[n%4]
	}
	w.track("a", nil)
	w.s.SetRecording(call, true, "e", Settings{})
	w.run(80 * time.Second)
	c := w.check("a")
	due := 0
	for i, g := range w.rows.gapList() {
		due += g.Due
		if i > 0 && g.Due != 2 && g.Reason == string(event.GapUndecodable) && i < c.Gaps/3 {
			t.Fatalf("entry %d: %+v", i, g)
		}
	}
	if due != c.Gaps || len(w.rows.gapList()) < c.Gaps/2 {
		t.Fatalf("%d missed, %d in the ledger", c.Gaps, due)
	}
}
