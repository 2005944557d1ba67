package call

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtp"

	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

var camera = []event.TrackType{event.TrackVideo}

// tap counts the packets of a track that flow.
func tap(t *testing.T, track *Track) *atomic.Int64 {
	t.Helper()
	var n atomic.Int64
	t.Cleanup(track.Tap("", func(*rtp.Packet, time.Time) { n.Add(1) }))
	return &n
}

// pass puts a packet in and waits until the read loop is done with it: it
// takes no second one before that.
func pass(src *fakeSource) {
	src.packets <- nil // not a packet: never forwarded
	src.put(1)
	for range cap(src.packets) + 1 {
		src.packets <- nil
	}
}

func TestMuteIsForTheTrack(t *testing.T) {
	t.Parallel()
	r, l := start(t, Config{MuteAfter: time.Hour})
	ann, track, src := join(t, r, "1", "ann")
	_, other, otherSrc := join(t, r, "1", "bob")
	seen, others := tap(t, track), tap(t, other)
	src.put(1)
	eventually(t, "a packet flows", func() bool { return seen.Load() == 1 })
	if n := r.Mute("default:1", "ann", []event.TrackType{event.TrackAudio, event.TrackScreenShare}, time.Time{}); n != 0 {
		t.Errorf("%d tracks of kinds that ann does not publish were muted", n)
	}
	if n := r.Mute("default:2", "ann", camera, time.Time{}); n != 0 {
		t.Errorf("%d tracks were muted in a call where nobody is", n)
	}
	if n := r.Mute("default:1", "ann", camera, time.Time{}); n != 1 {
		t.Errorf("muted %d tracks, want 1", n)
	}
	eventually(t, "the sampler is told", func() bool { return slices.Contains(l.all(), "mute") })
	pass(src)
	track.RequestKeyframe("")
	if seen.Load() != 1 || src.open.Load() || src.plis.Load() != 0 {
		t.Errorf("a muted track flows: %d packets, open %v, %d requests", seen.Load(), src.open.Load(), src.plis.Load())
	}
	otherSrc.put(1)
	eventually(t, "bob goes on", func() bool { return others.Load() == 1 })
	// A second mute with an end does not turn the first into one.
	r.Mute("default:1", "ann", camera, r.cfg.Now().Add(time.Nanosecond))
	r.look(r.cfg.Now().Add(time.Minute))
	if !track.silenced.Load() {
		t.Error("a mute for good was lifted")
	}
	_, next, nextSrc := join(t, r, "1", "ann")
	again := tap(t, next)
	nextSrc.put(1)
	eventually(t, "the next track flows", func() bool { return again.Load() == 1 })
	ann.End("left")
}

func TestMuteWithAnEndHoldsForTracksToCome(t *testing.T) {
	t.Parallel()
	clock := testkit.NewClock()
	r, l := start(t, Config{MuteAfter: time.Hour, Now: clock.Now})
	c, track, _ := join(t, r, "1", "ann")
	seen := tap(t, track)
	end := clock.Now().Add(time.Minute)
	if n := r.Mute("default:1", "ann", camera, end); n != 1 {
		t.Errorf("muted %d tracks, want 1", n)
	}
	r.Mute("default:1", "ann", camera, end.Add(-30*time.Second)) // does not shorten it
	c.End("left")                                                // the session is over
	_, next, src := join(t, r, "1", "ann")
	again := tap(t, next)
	pass(src)
	if seen.Load() != 0 || again.Load() != 0 || src.open.Load() {
		t.Error("the track of the next session flows")
	}
	clock.Advance(59 * time.Second)
	r.look(clock.Now())
	if !next.silenced.Load() {
		t.Error("lifted too early")
	}
	clock.Advance(time.Second)
	r.look(clock.Now())
	src.put(2)
	eventually(t, "packets come again", func() bool { return again.Load() == 1 })
	eventually(t, "the sampler is told", func() bool { return slices.Contains(l.all(), "unmute") })
	if n := held(r); n != 0 {
		t.Errorf("%d mutes are remembered for ever", n)
	}
	if n := r.Mute("default:1", "ann", camera, clock.Now()); n != 0 || next.silenced.Load() {
		t.Error("an order whose time is over mutes")
	}
}

func held(r *Registry) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.holds)
}
