package capture

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"stillwatch/capture/still"
	"stillwatch/internal/event"
)

const call = "default:abc"

func TestFramesOfARecordedCall(t *testing.T) {
	t.Parallel()
	var timing []FrameTiming
	w := newWorld(t, func(c *Config) { c.OnFrame = func(f FrameTiming) { timing = append(timing, f) } })
	f := w.track("a", nil)
	w.run(10 * time.Second)
	if len(w.bus.frames) != 0 || f.opened != 0 {
		t.Fatal("frames of a call that is not recorded")
	}
	w.s.SetRecording(call, true, "egress", Settings{})
	w.run(60 * time.Second)
	if n := len(w.bus.frames); n < 29 || n > 31 {
		t.Fatalf("%d frames in 60 s at 2 s", n)
	}
	c := w.check("a")
	if c.Captured != len(w.bus.frames) || c.Gaps != 0 {
		t.Fatalf("%+v", c)
	}
	if f.opened != f.closed || len(f.requests) != c.Due {
		t.Fatalf("opened %d, closed %d, asked %d times for %d frames", f.opened, f.closed, len(f.requests), c.Due)
	}
	for i, fr := range w.bus.frames {
		checkFrame(t, w, i, fr)
	}
	if tm := timing[3]; tm.Answer != 40*time.Millisecond || tm.Frame.FrameID != w.bus.frames[3].FrameID {
		t.Fatalf("timing %+v", tm)
	}
	w.s.SetRecording(call, false, "", Settings{})
	before := len(f.requests)
	w.run(10 * time.Second)
	if len(f.requests) != before {
		t.Fatal("asked after the recording stopped")
	}
	want := []RecordingKind{RecordingStarted, RecordingStopped}
	for i, e := range w.told {
		if e.Kind != want[i] || e.EgressID != "egress" || e.CID != call {
			t.Fatalf("told %+v", w.told)
		}
	}
	if len(w.told) != 2 {
		t.Fatalf("told %+v", w.told)
	}
}

func checkFrame(t *testing.T, w *world, i int, fr event.FrameReady) {
	t.Helper()
	jpeg, row := w.bus.objects[fr.ObjectKey], w.rows.frames[i]
	sum := sha256.Sum256(jpeg)
	switch {
	case len(jpeg) == 0 || fr.SHA256 != hex.EncodeToString(sum[:]) || fr.Bytes != len(jpeg):
		t.Fatalf("object of %+v", fr)
	case fr.UserID != "user-a" || fr.TrackID != "a" || fr.EgressID != "egress" || fr.Node != "n1" || fr.CID != call:
		t.Fatalf("whose frame is %+v", fr)
	case !strings.HasPrefix(fr.ObjectKey, "frames/2026-01-05/") || !strings.HasSuffix(fr.ObjectKey, "/session/"+fr.FrameID+".jpg"):
		t.Fatalf("key %s", fr.ObjectKey)
	case row.ID != fr.FrameID || !row.CapturedAt.Equal(fr.CapturedAt) || row.ExpiresAt.Sub(fr.CapturedAt) != 14*24*time.Hour:
		t.Fatalf("row %+v", row)
	}
}

func TestIntervalsAndQualities(t *testing.T) {
	t.Parallel()
	for _, quality := range Qualities() {
		for _, seconds := range []int{2, 5, 60} {
			w := newWorld(t, nil)
			w.track("a", nil)
			w.s.SetRecording(call, true, "e", Settings{IntervalSeconds: seconds, Quality: quality})
			w.run(20 * time.Duration(seconds) * time.Second)
			if n := len(w.bus.frames); n < 19 || n > 21 {
				t.Errorf("%d s: %d frames in 20 intervals", seconds, n)
			}
			want, _ := ParseQuality(quality)
			if got := w.imager.reqs[0].MaxHeight; got != want {
				t.Errorf("%s: height %d", quality, got)
			}
		}
	}
}

func TestSettingsChangeInPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.track("a", nil)
	w.s.SetRecording(call, true, "e", Settings{IntervalSeconds: 2, Quality: "720p"})
	w.run(20 * time.Second)
	w.s.SetRecording(call, true, "e", Settings{IntervalSeconds: 10, Quality: "360p"})
	before := len(w.bus.frames)
	w.run(100 * time.Second)
	if n := len(w.bus.frames) - before; n < 9 || n > 11 {
		t.Fatalf("%d frames in 100 s at 10 s", n)
	}
	if len(w.told) != 1 {
		t.Fatalf("a change of settings is no new recording: %+v", w.told)
	}
	w.check("a")
}

// TestOneKeyframePerSlot counts what is decoded against what is due.
func TestOneKeyframePerSlot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	f := w.track("a", nil)
	w.s.SetRecording(call, true, "e", Settings{})
	w.run(time.Second)
	var flood func()
	flood = func() { // keyframes all the time, asked for or not
		f.send("", true)
		w.after(30*time.Millisecond, flood)
	}
	flood()
	w.run(40 * time.Second)
	c := w.check("a")
	if len(w.imager.reqs) != c.Due || c.Due > 22 {
		t.Fatalf("%d decoded, %+v", len(w.imager.reqs), c)
	}
}

func TestSlowAnswersAreAskedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	f := w.track("a", func(f *fakeTrack) { f.answer = 900 * time.Millisecond })
	w.s.SetRecording(call, true, "e", Settings{})
	w.run(30 * time.Second)
	if c := w.check("a"); c.Gaps != 0 || c.Captured < 14 {
		t.Fatalf("%+v", c)
	}
	for i := 1; i < len(f.requests); i++ {
		if d := f.requests[i].Sub(f.requests[i-1]); d < 300*time.Millisecond {
			t.Fatalf("asked again after %v", d)
		}
	}
}

// TestNaturalKeyframesAreTaken has a publisher that does not hear requests
// and sends a keyframe every 2.5 s.
func TestNaturalKeyframesAreTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	f := w.track("a", func(f *fakeTrack) { f.deaf = true })
	w.s.SetRecording(call, true, "e", Settings{})
	var beat func()
	beat = func() {
		f.send("", true)
		w.after(2500*time.Millisecond, beat)
	}
	beat()
	w.run(150 * time.Second)
	c, st := w.check("a"), w.s.Stats()
	if st.Natural == 0 {
		t.Fatalf("none was natural: %+v", st)
	}
	if c.Captured < 52 { // of 60 that were sent
		t.Fatalf("%+v, %+v", c, st)
	}
}

func TestKeyframeThatOthersAskedForIsShared(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.Jitter = -1 })
	f := w.track("a", nil)
	w.s.SetRecording(call, true, "e", Settings{IntervalSeconds: 10})
	w.run(5 * time.Second)
	w.s.KeyframeExpected("a")
	if len(f.sinks) != 0 {
		t.Fatal("the tap opened long before the frame is due")
	}
	due := w.s.tracks["a"].due
	w.run(due.Sub(w.now) - time.Second)
	asked, opened := len(f.requests), f.opened
	w.s.KeyframeExpected("a")
	if f.opened != opened+1 {
		t.Fatal("the tap did not open")
	}
	f.send("", true)
	w.run(2 * time.Second)
	if len(w.bus.frames) != 2 || len(f.requests) != asked || f.opened != f.closed {
		t.Fatalf("%d frames, %d requests more, %d open", len(w.bus.frames), len(f.requests)-asked, f.opened-f.closed)
	}
	w.check("a")
}

func TestLowestLayerThatReachesTheHeight(t *testing.T) {
	t.Parallel()
	layers := []Layer{{"q", 320, 180, true}, {"h", 640, 360, true}, {"f", 1280, 720, true}}
	unknown := []Layer{{RID: "q", Active: true}, {RID: "h", Active: true}, {RID: "f", Active: true}}
	low := slices.Clone(layers)
	low[2].Active = false
	none := []Layer{{RID: "q"}, {RID: "h"}}
	begun := []Layer{{RID: "f", Active: true}, {RID: "q", Active: true}, {RID: "h", Active: true}}
	for i, tc := range []struct {
		layers []Layer
		known  map[string]int
		height int
		want   string
	}{
		{layers, nil, 360, "h"},
		{layers, nil, 100, "q"},
		{layers, nil, 480, "f"},
		{layers, nil, 1080, "f"},
		{low, nil, 720, "h"},
		{unknown, nil, 360, "f"},
		{unknown, map[string]int{"f": 720}, 360, "h"},
		{unknown, map[string]int{"f": 720, "h": 350}, 360, "f"},
		{begun, map[string]int{"f": 720, "q": 180, "h": 360}, 360, "h"},
		{none, nil, 360, "h"},
		{nil, nil, 360, ""},
	} {
		if got := chooseLayer(tc.layers, tc.known, tc.height); got != tc.want {
			t.Errorf("case %d: layer %q, want %q", i, got, tc.want)
		}
	}
}

// TestLargerLayersAreLookedAtToo: a low layer that would do must not be all
// that is ever seen of what others watch.
func TestLargerLayersAreLookedAtToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	f := w.track("a", func(f *fakeTrack) {
		f.layers = []Layer{{"q", 320, 180, true}, {"h", 1280, 720, true}, {"x", 1280, 720, false}, {"f", 1280, 720, true}, {"g", 1280, 720, true}}
	})
	w.s.SetRecording(call, true, "e", Settings{})
	w.run(400 * time.Second)
	n := map[string]int{}
	for _, rid := range f.asked {
		n[rid]++
	}
	if c := w.check("a"); c.Gaps > 0 || n["q"] > 0 || n["x"] > 0 || n["h"] < 130 || n["h"] > 170 || n["f"] < 15 || n["g"] < 15 {
		t.Fatalf("asked %v, %+v", n, c)
	}
}

func TestLayerThatStopsIsLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	f := w.track("a", func(f *fakeTrack) {
		f.layers = []Layer{{"q", 320, 180, true}, {"f", 1280, 720, true}}
	})
	w.s.SetRecording(call, true, "e", Settings{})
	w.run(10 * time.Second)
	f.layers[1].Active = false
	w.run(10 * time.Second)
	if f.asked[0] != "f" || f.asked[len(f.asked)-1] != "q" || f.opened != f.closed {
		t.Fatalf("asked %v", f.asked)
	}
	if c := w.check("a"); c.Layer != "q" {
		t.Errorf("the latest frame is said to be of layer %q, want q", c.Layer)
	}
}

func TestUnknownCodecIsAGap(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.track("a", func(f *fakeTrack) { f.info.Codec = "H265" })
	w.s.SetRecording(call, true, "e", Settings{})
	w.run(10 * time.Second)
	if c := w.check("a"); c.Gaps != c.Due || c.Due < 4 {
		t.Fatalf("%+v", c)
	}
}

func TestAMachineThatSleptOwnsUpToIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.track("a", nil)
	w.s.SetRecording(call, true, "e", Settings{})
	w.run(10 * time.Second)
	w.now = w.now.Add(20 * time.Second)
	w.run(10 * time.Second)
	c := w.check("a")
	if c.Due < 19 || c.Due > 21 || w.s.Stats().Gaps[event.GapOverload] < 8 {
		t.Fatalf("%+v, %+v", c, w.s.Stats())
	}
}

func TestRemovedTracksLeaveNothingOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	f := w.track("a", func(f *fakeTrack) { f.silent = true })
	g := w.track("b", nil)
	w.s.SetRecording(call, true, "e", Settings{})
	w.run(9 * time.Second)
	w.s.TrackRemoved("a")
	w.s.StopCall(call)
	w.run(10 * time.Second)
	if f.opened != f.closed || g.opened != g.closed {
		t.Fatal("a tap is open")
	}
	if st := w.s.Stats(); st.Tracks != 0 || st.Taps != 0 || st.Sampled != 0 || st.Due != st.Captured+st.Missed() {
		t.Fatalf("%+v", st)
	}
}

func TestFailedRecordingIsToldOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	failing := true
	w.imager.err = func(int) error {
		if failing {
			return still.ErrUndecodable
		}
		return nil
	}
	w.track("a", nil)
	w.track("b", nil)
	w.s.SetRecording(call, true, "e", Settings{})
	w.run(5 * time.Second)
	if len(w.told) != 1 {
		t.Fatalf("told too early: %+v", w.told)
	}
	w.run(20 * time.Second)
	if len(w.told) != 2 || w.told[1].Kind != RecordingFailed || w.told[1].Reason != event.GapUndecodable {
		t.Fatalf("told %+v", w.told)
	}
	failing = false
	w.run(4 * time.Second)
	failing = true
	w.run(20 * time.Second)
	if len(w.told) != 3 || w.told[2].Kind != RecordingFailed {
		t.Fatalf("told %+v", w.told)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	for _, bad := range []Settings{
		{IntervalSeconds: 1}, {IntervalSeconds: 61}, {IntervalSeconds: -1}, {Quality: "999p"}, {Quality: "720"}, {Quality: "720P"},
	} {
		err := bad.Check()
		if err == nil || !strings.Contains(err.Error(), "allowed") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	for _, good := range []Settings{{}, {IntervalSeconds: 2, Quality: "360p"}, {IntervalSeconds: 60, Quality: "1440p"}, {Quality: "420p"}} {
		if err := good.Check(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	if err := CheckInterval(0); err == nil {
		t.Error("0 s is allowed")
	}
	if h, err := ParseQuality("420p"); h != 420 || err != nil {
		t.Errorf("420p is %d, %v", h, err)
	}
	_, err := ParseQuality("999p")
	if got, want := fmt.Sprint(err), `quality is "999p", allowed is 360p, 420p, 480p, 720p, 1080p, 1440p`; got != want {
		t.Errorf("%s", got)
	}
}
