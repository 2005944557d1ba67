package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"

	"stillwatch/capture/keyframe/keyframetest"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// liveTrack plays a real coded clip from a goroutine of its own, round and
// round, as fast as it may: each request makes it send its keyframe with the
// pictures before and after it.
type liveTrack struct {
	info TrackInfo
	clip keyframetest.Clip
	ask  chan struct{}

	mu    sync.Mutex
	sinks map[int]func(*rtp.Packet, time.Time)
	next  int
}

func newLiveTrack(id string, clip keyframetest.Clip) *liveTrack {
	return &liveTrack{
		info: TrackInfo{ID: id, CID: call, CallType: "default", UserID: "u", SessionID: "s", Type: event.TrackVideo, Codec: clip.Codec},
		clip: clip, ask: make(chan struct{}, 1), sinks: map[int]func(*rtp.Packet, time.Time){},
	}
}

func (l *liveTrack) Info() TrackInfo { return l.info }
func (l *liveTrack) Layers() []Layer { return []Layer{{Active: true}} }

func (l *liveTrack) Tap(_ string, sink func(*rtp.Packet, time.Time)) func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	id := l.next
	l.sinks[id] = sink
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.sinks, id)
	}
}

func (l *liveTrack) RequestKeyframe(string) {
	select {
	case l.ask <- struct{}{}:
	default:
	}
}

func (l *liveTrack) open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.sinks)
}

// play answers requests until ctx ends.
func (l *liveTrack) play(ctx context.Context) {
	seq, round := uint16(0), uint32(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.ask:
		}
		groups := l.clip.Packets(seq, 1200)
		for _, p := range slices.Concat(groups[l.clip.GOP-1:]...) {
			p.Timestamp += round * 90000
			l.mu.Lock()
			var sinks []func(*rtp.Packet, time.Time)
			for _, s := range l.sinks {
				sinks = append(sinks, s)
			}
			l.mu.Unlock()
			for _, s := range sinks {
				s(p, time.Now())
			}
			seq = p.SequenceNumber + 1
		}
		round++
	}
}

// TestRealStreams runs the whole Sampler on streams of all codecs: what the
// imager gets is what the encoder made, and the tap closes.
func TestRealStreams(t *testing.T) {
	t.Parallel()
	imager := &fakeImager{}
	frames := make(chan event.FrameReady, 64)
	bus := &fakeBus{objects: map[string][]byte{}, onFrame: func(f event.FrameReady) { frames <- f }}
	rows := &fakeRows{gaps: map[string]db.GapRow{}}
	s := NewSampler(Config{
		Imager: imager, Store: bus, Publisher: bus, Rows: rows, Workers: 2,
		random: func() float64 { return 0.02 }, Jitter: -1, // the first frame is due at once
	})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var playing sync.WaitGroup
	tracks := map[string]*liveTrack{}
	for _, codec := range []event.Codec{event.VP8, event.VP9, event.H264, event.AV1} {
		l := newLiveTrack(string(codec), keyframetest.Encode(t, keyframetest.Spec{Codec: codec}))
		tracks[l.info.ID] = l
		playing.Go(func() { l.play(ctx) })
		s.TrackAdded(l)
	}
	s.SetRecording(call, true, "e", Settings{})
	seen := map[string]bool{}
	deadline := time.After(30 * time.Second)
	for len(seen) < len(tracks) {
		select {
		case f := <-frames:
			seen[f.TrackID] = true
			l := tracks[f.TrackID]
			bus.mu.Lock()
			body := bus.objects[f.ObjectKey]
			bus.mu.Unlock()
			if want := l.clip.Keyframe(l.clip.GOP); !bytes.Equal(body, want) {
				t.Errorf("%s: %d bytes, want %d", f.TrackID, len(body), len(want))
			}
		case <-deadline:
			t.Fatalf("only %v, %+v", seen, s.Stats())
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	stop()
	playing.Wait()
	for id, l := range tracks {
		if n := l.open(); n != 0 {
			t.Errorf("%s: %d taps are open", id, n)
		}
	}
	if st := s.Stats(); st.Due != st.Captured+st.Missed() || st.InFlight != 0 {
		t.Errorf("%+v does not add up", st)
	}
}

// TestLifecycle: Close before Start is fine, Start after Close is not, and
// calls in between do no harm.
func TestLifecycle(t *testing.T) {
	t.Parallel()
	bus := &fakeBus{objects: map[string][]byte{}}
	cfg := Config{Imager: &fakeImager{}, Store: bus, Publisher: bus, Rows: &fakeRows{gaps: map[string]db.GapRow{}}}
	s := NewSampler(cfg)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err == nil {
		t.Fatal("started after it was closed")
	}
	s.SetRecording(call, true, "e", Settings{})
	s.TrackMuted("nobody", true)
	s.TrackRemoved("nobody")
	s.KeyframeExpected("nobody")
	s.StopCall(call)
	if err := NewSampler(Config{}).Start(t.Context()); err == nil {
		t.Fatal("started without an imager")
	}
}

// TestChurn adds, mutes, removes and switches from many goroutines while
// frames flow; it is for the race detector and for locks in the wrong order.
func TestChurn(t *testing.T) {
	t.Parallel()
	bus := &fakeBus{objects: map[string][]byte{}}
	s := NewSampler(Config{
		Imager: &fakeImager{}, Store: bus, Publisher: bus, Rows: &fakeRows{gaps: map[string]db.GapRow{}},
		Workers: 2, Queue: 1, random: func() float64 { return 0 }, Jitter: -1,
	})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	clip := keyframetest.Encode(t, keyframetest.Spec{Codec: event.VP8})
	ctx, stop := context.WithCancel(t.Context())
	var playing, churning sync.WaitGroup
	for i := range 8 {
		l := newLiveTrack(fmt.Sprint(i), clip)
		playing.Go(func() { l.play(ctx) })
		churning.Go(func() {
			for n := range 200 {
				s.TrackAdded(l)
				s.SetRecording(call, n%5 != 0, fmt.Sprint("e", n%3), Settings{IntervalSeconds: 2 + n%2})
				s.TrackMuted(l.info.ID, n%3 == 0)
				s.KeyframeExpected(l.info.ID)
				if s.Stats().Tracks < 1 && n == 0 {
					panic(errors.New("a track is missing"))
				}
				s.TrackRemoved(l.info.ID)
			}
		})
	}
	churning.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	stop()
	playing.Wait()
	if st := s.Stats(); st.Due != st.Captured+st.Missed()+uint64(st.Waiting) || st.InFlight != 0 {
		t.Fatalf("%+v does not add up", st)
	}
}
