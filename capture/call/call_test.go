package call

import (
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtp"
	"go.uber.org/goleak"

	"stillwatch/capture"
	"stillwatch/internal/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeSource gives the packets that are put into it while it is open.
type fakeSource struct {
	packets chan []byte
	open    atomic.Bool
	plis    atomic.Int64
	nacks   atomic.Int64
	closed  sync.Once

	mu       sync.Mutex
	last     time.Time
	rate     float64
	measured bool
}

func newSource() *fakeSource { return &fakeSource{packets: make(chan []byte, 16), last: time.Now()} }

func (f *fakeSource) Read(p []byte) (int, error) {
	b, ok := <-f.packets
	if !ok {
		return 0, io.EOF
	}
	return copy(p, b), nil
}
func (f *fakeSource) SetOpen(open bool) { f.open.Store(open) }

func (f *fakeSource) LastPacket() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

func (f *fakeSource) Rate() (float64, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rate, f.measured
}
func (f *fakeSource) RequestKeyframe()          { f.plis.Add(1) }
func (f *fakeSource) RequestPackets(s []uint16) { f.nacks.Add(int64(len(s))) }
func (f *fakeSource) close()                    { f.closed.Do(func() { close(f.packets) }) }

func (f *fakeSource) put(seq uint16) {
	b, _ := (&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: seq}, Payload: []byte{1, 2}}).Marshal()
	f.packets <- b
}

// fakeConn is a connection whose sources end with it.
type fakeConn struct {
	seat *Seat
	srcs []*fakeSource
	cut  atomic.Bool
	once sync.Once
}

func (c *fakeConn) Cut() { c.cut.Store(true) }

func (c *fakeConn) End(reason string) {
	c.once.Do(func() {
		for _, s := range c.srcs {
			s.close()
		}
		c.seat.Leave(reason)
	})
}

// log records what observers are told.
type log struct {
	mu    sync.Mutex
	lines []string
}

func (l *log) add(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, s)
}
func (l *log) SessionStarted(s Session)        { l.add("start " + s.CID) }
func (l *log) SessionEnded(s Session)          { l.add("end " + s.CID) }
func (l *log) ParticipantJoined(p Participant) { l.add("join " + p.UserID) }
func (l *log) ParticipantLeft(p Participant, reason string) {
	l.add("leave " + p.UserID + " " + reason)
}
func (l *log) TrackAdded(t capture.Track) { l.add("track " + t.Info().UserID) }
func (l *log) TrackRemoved(string)        { l.add("untrack") }
func (l *log) TrackMuted(_ string, m bool) {
	if m {
		l.add("mute")
	} else {
		l.add("unmute")
	}
}

func (l *log) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

func start(t *testing.T, cfg Config) (*Registry, *log) {
	t.Helper()
	l := &log{}
	cfg.Tracks, cfg.Sessions = []TrackObserver{l}, []SessionObserver{l}
	r := New(cfg)
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r, l
}

// join seats a user with one video track.
func join(t *testing.T, r *Registry, call, user string) (*fakeConn, *Track, *fakeSource) {
	t.Helper()
	seat, err := r.Take(Request{CallType: "default", CallID: call, UserID: user})
	if err != nil {
		t.Fatal(err)
	}
	c := &fakeConn{seat: seat}
	if err := seat.Attach(c); err != nil {
		t.Fatal(err)
	}
	src := newSource()
	c.srcs = append(c.srcs, src)
	track, err := seat.AddTrack(capture.TrackInfo{Type: event.TrackVideo, Codec: event.VP8}, Codec{}, LayerConfig{Source: src})
	if err != nil {
		t.Fatal(err)
	}
	return c, track, src
}

func TestSessionsBeginAndEnd(t *testing.T) {
	t.Parallel()
	r, l := start(t, Config{})
	ann, track, _ := join(t, r, "1", "ann")
	bob, _, _ := join(t, r, "1", "bob")
	if live := r.Live(); len(live) != 1 || len(live[0].Participants) != 2 || len(live[0].Tracks) != 2 {
		t.Errorf("%+v", live)
	}
	i := track.Info()
	if i.ID == "" || i.CID != "default:1" || i.CallType != "default" || i.SessionID == "" || i.UserID != "ann" || i.UserSessionID != ann.seat.ID() {
		t.Errorf("%+v", i)
	}
	ann.End("left")
	bob.End("left")
	want := []string{
		"start default:1", "join ann", "track ann", "join bob", "track bob",
		"untrack", "leave ann left", "untrack", "leave bob left", "end default:1",
	}
	eventually(t, "all is told", func() bool { return len(l.all()) >= len(want) })
	if got := l.all(); !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestGraceKeepsTheSession(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	now.Store(time.Now().UnixNano())
	r, l := start(t, Config{Grace: time.Minute, Now: func() time.Time { return time.Unix(0, now.Load()) }})
	c, _, _ := join(t, r, "1", "ann")
	id := r.Live()[0].Session.ID
	c.End("left")
	c, _, _ = join(t, r, "1", "ann")
	if got := r.Live(); len(got) != 1 || got[0].Session.ID != id {
		t.Errorf("the session did not last: %+v", got)
	}
	now.Add(int64(2 * time.Minute))
	r.look(r.cfg.Now())
	if len(r.Live()) != 1 {
		t.Error("the session ended with someone in it")
	}
	c.End("left")
	now.Add(int64(30 * time.Second))
	r.look(r.cfg.Now())
	if len(r.Live()) != 1 {
		t.Error("the session ended within its grace")
	}
	now.Add(int64(31 * time.Second))
	r.look(r.cfg.Now())
	if len(r.Live()) != 0 {
		t.Error("the session did not end")
	}
	eventually(t, "the end is told", func() bool { return slices.Contains(l.all(), "end default:1") })
}

func TestDisconnectEndsAllOfAUser(t *testing.T) {
	t.Parallel()
	r, _ := start(t, Config{})
	a1, track, src := join(t, r, "1", "ann")
	a2, _, _ := join(t, r, "2", "ann")
	b, _, _ := join(t, r, "1", "bob")
	var got atomic.Int64
	track.Tap("", func(*rtp.Packet, time.Time) { got.Add(1) })
	src.put(1)
	eventually(t, "a packet comes", func() bool { return got.Load() == 1 })
	if n := r.Disconnect("default:1", "ann", "kicked"); n != 1 || !a1.cut.Load() || a2.cut.Load() {
		t.Errorf("disconnected %d", n)
	}
	if !track.Ended() || len(r.Tracks("default:1", "ann")) != 0 {
		t.Error("the track lives on")
	}
	if n := r.Disconnect("", "ann", "banned"); n != 1 || !a2.cut.Load() {
		t.Errorf("disconnected %d", n)
	}
	if n := r.Disconnect("", "ann", "banned"); n != 0 || b.cut.Load() {
		t.Errorf("disconnected %d more", n)
	}
	if n := r.EndCall("default:1", "over"); n != 1 || len(r.Live()) != 0 {
		t.Errorf("ended %d", n)
	}
}

// A ban that is carried out between the question whether a user may come in
// and their connection is not missed.
func TestDisconnectWhileJoining(t *testing.T) {
	t.Parallel()
	r, _ := start(t, Config{})
	seat, err := r.Take(Request{CallType: "default", CallID: "1", UserID: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	if n := r.Disconnect("", "ann", "banned"); n != 0 {
		t.Errorf("disconnected %d", n)
	}
	if err := seat.Attach(&fakeConn{seat: seat}); !errors.Is(err, ErrRemoved) {
		t.Errorf("attach: %v", err)
	}
	if err := seat.Join(); !errors.Is(err, ErrRemoved) {
		t.Errorf("join: %v", err)
	}
	seat.Leave("")
	seat.Leave("")
	if r.Seats() != 0 {
		t.Error("the seat is still taken")
	}
}

func TestSeatsAreBounded(t *testing.T) {
	t.Parallel()
	r, _ := start(t, Config{MaxParticipants: 3, MaxViewers: 4, MaxPerUser: 2, MaxWatched: 3})
	take := func(user string, viewer bool) error {
		_, err := r.Take(Request{CallType: "default", CallID: "1", UserID: user, Viewer: viewer})
		return err
	}
	for _, c := range []struct {
		user   string
		viewer bool
		want   error
	}{
		{"a", false, nil},
		{"a", false, nil},
		{"a", false, ErrTooMany},
		{"b", false, nil},
		{"c", false, ErrFull},
		{"a", true, nil}, // watching is apart from publishing
		{"a", true, nil},
		{"a", true, nil},
		{"a", true, ErrTooMany},
		{"c", true, nil},
		{"d", true, ErrFull},
	} {
		if err := take(c.user, c.viewer); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	_ = r.Close()
	if err := take("e", false); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestTapsOpenTheSource(t *testing.T) {
	t.Parallel()
	r, _ := start(t, Config{})
	c, track, src := join(t, r, "1", "ann")
	var a, b atomic.Int64
	stopA := track.Tap("", func(*rtp.Packet, time.Time) { a.Add(1) })
	stopB := track.Tap("nonesuch", func(*rtp.Packet, time.Time) { b.Add(1) })
	src.put(1)
	eventually(t, "both see a packet", func() bool { return a.Load() == 1 && b.Load() == 1 })
	stopA()
	stopA()
	if !src.open.Load() {
		t.Error("closed while one taps")
	}
	src.put(2)
	eventually(t, "one sees the next", func() bool { return b.Load() == 2 })
	stopB()
	if src.open.Load() || a.Load() != 1 {
		t.Error("open while nobody taps")
	}
	track.RequestKeyframe("")
	track.RequestPackets("", []uint16{1, 2})
	if src.plis.Load() != 1 || src.nacks.Load() != 2 {
		t.Error("requests do not reach the source")
	}
	c.End("left")
}

func TestMutedIsTold(t *testing.T) {
	t.Parallel()
	r, l := start(t, Config{MuteAfter: time.Second})
	_, track, src := join(t, r, "1", "ann")
	now := time.Now()
	set := func(at time.Time) {
		src.mu.Lock()
		defer src.mu.Unlock()
		src.last = at
	}
	r.mu.Lock()
	track.added = now.Add(-time.Minute)
	r.mu.Unlock()
	set(now.Add(-2 * time.Second))
	eventually(t, "mute is told", func() bool { return slices.Contains(l.all(), "mute") && track.Muted() })
	set(now.Add(time.Minute))
	eventually(t, "unmute is told", func() bool { return slices.Contains(l.all(), "unmute") && !track.Muted() })
}

func TestLayersAreInOrder(t *testing.T) {
	t.Parallel()
	r, _ := start(t, Config{})
	c, track, first := join(t, r, "1", "ann")
	track.mu.Lock()
	track.layers[0].cfg.RID = "f"
	track.mu.Unlock()
	rids := func() (out []string) {
		for _, l := range track.Layers() {
			out = append(out, l.RID)
		}
		return out
	}
	h, q := newSource(), newSource()
	c.srcs = append(c.srcs, h, q)
	track.AddLayer(LayerConfig{RID: "h", Order: 1, Source: h})
	track.AddLayer(LayerConfig{RID: "q", Order: 2, Source: q})
	if got := rids(); !slices.Equal(got, []string{"q", "h", "f"}) {
		t.Errorf("by name: %v", got)
	}
	for i, s := range []*fakeSource{first, q, h} { // the names lie
		s.mu.Lock()
		s.rate, s.measured = float64(1+i), true
		s.mu.Unlock()
	}
	if got := rids(); !slices.Equal(got, []string{"f", "q", "h"}) {
		t.Errorf("by rate: %v", got)
	}
}

func TestSubscribe(t *testing.T) {
	t.Parallel()
	r, _ := start(t, Config{})
	join(t, r, "1", "ann")
	l := &log{}
	stop := r.Subscribe("default:1", "ann", l)
	join(t, r, "1", "bob")
	c, _, _ := join(t, r, "1", "ann")
	c.End("left")
	want := []string{"track ann", "track ann", "untrack"}
	eventually(t, "it is told", func() bool { return len(l.all()) == len(want) })
	if got := l.all(); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	stop()
	join(t, r, "1", "ann")
	if len(l.all()) != len(want) {
		t.Error("told after stop")
	}
}

func BenchmarkLayer(b *testing.B) {
	src := &endless{left: b.N}
	src.packet, _ = (&rtp.Packet{
		Header: rtp.Header{Version: 2, Extension: true, ExtensionProfile: 0xBEDE, Extensions: []rtp.Extension{}}, Payload: make([]byte, 1000),
	}).Marshal()
	track := newTrack(nil, capture.TrackInfo{}, Codec{}, time.Now())
	l := newLayer(track, LayerConfig{Source: src})
	track.layers = []*layer{l}
	track.Tap("", func(*rtp.Packet, time.Time) {})
	track.TapRaw("", func([]byte, time.Time) {})
	b.ReportAllocs()
	l.run()
}

type endless struct {
	fakeSource
	packet []byte
	left   int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left--; e.left < 0 {
		return 0, io.EOF
	}
	return copy(p, e.packet), nil
}
