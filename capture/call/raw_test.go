package call

import (
	"bytes"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"

	"stillwatch/capture"
	"stillwatch/internal/event"
)

// keep collects what a tap is given.
type keep struct {
	mu  sync.Mutex
	all [][]byte
}

func (k *keep) add(b []byte, at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !at.IsZero() {
		k.all = append(k.all, bytes.Clone(b))
	}
}

func (k *keep) len() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.all)
}

func TestTapRaw(t *testing.T) {
	t.Parallel()
	r, _ := start(t, Config{})
	_, track, src := join(t, r, "1", "ann")
	var raw keep
	stop := track.TapRaw("", raw.add)
	if !src.open.Load() {
		t.Error("the source is not open")
	}
	var want [][]byte
	for i := range 20 {
		b, err := (&rtp.Packet{
			Header:  rtp.Header{Version: 2, Marker: i%3 == 0, SequenceNumber: uint16(i), SSRC: 5, CSRC: []uint32{9}},
			Payload: bytes.Repeat([]byte{byte(i)}, 1+i*40),
		}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, b)
		src.packets <- bytes.Clone(b)
	}
	eventually(t, "all packets come", func() bool { return raw.len() == len(want) })
	if !slices.EqualFunc(raw.all, want, bytes.Equal) {
		t.Error("the packets are not as they arrived")
	}
	// Both kinds of taps see a packet; each keeps the source open.
	seen := tap(t, track)
	src.put(1)
	eventually(t, "both see a packet", func() bool { return seen.Load() == 1 && raw.len() == len(want)+1 })
	stop()
	stop()
	src.put(2)
	eventually(t, "one sees the next", func() bool { return seen.Load() == 2 })
	if raw.len() != len(want)+1 || !src.open.Load() {
		t.Errorf("%d packets after stop, open %v", raw.len()-len(want)-1, src.open.Load())
	}
}

func TestMutedTracksGiveNothingRaw(t *testing.T) {
	t.Parallel()
	r, _ := start(t, Config{MuteAfter: time.Hour})
	c, track, src := join(t, r, "1", "ann")
	var raw, reports keep
	track.TapRaw("", raw.add)
	track.TapReports("", reports.add)
	track.Report("", []byte{0x80, 200}, time.Now())
	track.Report("nonesuch", []byte{0x80, 200}, time.Now())
	src.put(1)
	eventually(t, "packets flow", func() bool { return raw.len() == 1 && reports.len() == 1 })
	r.Mute("default:1", "ann", camera, time.Time{})
	pass(src)
	track.Report("", []byte{0x80, 200}, time.Now())
	if raw.len() != 1 || reports.len() != 1 || src.open.Load() {
		t.Errorf("%d packets and %d reports of a muted track, open %v", raw.len()-1, reports.len()-1, src.open.Load())
	}
	_, other, _ := join(t, r, "1", "bob")
	var after keep
	other.TapReports("", after.add)
	r.Disconnect("default:1", "bob", "banned")
	other.Report("", []byte{0x80, 200}, time.Now())
	if after.len() != 0 {
		t.Error("a report came after the end")
	}
	c.End("left")
}

func TestReportsDoNotOpen(t *testing.T) {
	t.Parallel()
	r, _ := start(t, Config{})
	_, track, src := join(t, r, "1", "ann")
	var reports keep
	stop := track.TapReports("", reports.add)
	track.Report("", []byte{1, 2, 3}, time.Now())
	if src.open.Load() || reports.len() != 1 || !bytes.Equal(reports.all[0], []byte{1, 2, 3}) {
		t.Errorf("open %v, reports %v", src.open.Load(), reports.all)
	}
	stop()
	track.Report("", []byte{1, 2, 3}, time.Now())
	if reports.len() != 1 {
		t.Error("a report came after stop")
	}
}

// layers is an observer of layers too.
type layers struct{ log }

func (l *layers) LayerAdded(_, rid string) { l.add("layer " + rid) }

func TestMediaObservers(t *testing.T) {
	t.Parallel()
	media := &layers{}
	r, video := start(t, Config{Media: []TrackObserver{media}, MuteAfter: time.Hour})
	seat, err := r.Take(Request{CallType: "default", CallID: "1", UserID: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	c := &fakeConn{seat: seat}
	if err := seat.Attach(c); err != nil {
		t.Fatal(err)
	}
	source := func() *fakeSource {
		src := newSource()
		c.srcs = append(c.srcs, src)
		return src
	}
	mic, err := seat.AddTrack(capture.TrackInfo{Type: event.TrackAudio, AudioLevelExtID: 4}, Codec{}, LayerConfig{Source: source()})
	if err != nil {
		t.Fatal(err)
	}
	cam, err := seat.AddTrack(capture.TrackInfo{Type: event.TrackVideo}, Codec{}, LayerConfig{RID: "h", Order: 1, Source: source()})
	if err != nil {
		t.Fatal(err)
	}
	cam.AddLayer(LayerConfig{RID: "q", Order: 2, Source: source()})
	cam.AddLayer(LayerConfig{RID: "f", Order: 0, Source: source()})
	if got := cam.RIDs(); !slices.Equal(got, []string{"f", "h", "q"}) || cam.Order("q") != 2 || cam.Order("x") != 0 {
		t.Errorf("layers %q", got)
	}
	if got := mic.RIDs(); !slices.Equal(got, []string{""}) || mic.Info().AudioLevelExtID != 4 {
		t.Errorf("layers %q", got)
	}
	r.Mute("default:1", "ann", []event.TrackType{event.TrackAudio}, time.Time{})
	c.End("left")
	cam.AddLayer(LayerConfig{RID: "late", Source: c.srcs[0]})
	want := []string{"track ann", "track ann", "layer q", "layer f", "mute", "untrack", "untrack"}
	eventually(t, "all is told", func() bool { return len(media.all()) >= len(want) })
	if got := media.all(); !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	eventually(t, "the session ends", func() bool { return slices.Contains(video.all(), "end default:1") })
	for _, line := range video.all() {
		if line == "mute" {
			t.Error("the observers of video were told of a microphone")
		}
	}
}

func TestFirstPacketsAreKept(t *testing.T) {
	t.Parallel()
	r, _ := start(t, Config{Media: []TrackObserver{&log{}}})
	_, track, src := join(t, r, "1", "ann")
	if !src.open.Load() {
		t.Error("the source is closed at first")
	}
	seen := tap(t, track)
	for i := range uint16(5) {
		src.put(i)
	}
	eventually(t, "packets come", func() bool { return seen.Load() == 5 })
	var raw, second keep
	track.TapRaw("", raw.add)
	track.TapRaw("", second.add)
	src.put(5)
	eventually(t, "the next comes", func() bool { return raw.len() == 6 && second.len() == 1 })
	for i, b := range raw.all {
		if int(b[3]) != i {
			t.Errorf("packet %d has number %d", i, b[3])
		}
	}
	// Nobody tapped in time: nothing is kept any more, and the source closed.
	_, track, src = join(t, r, "1", "bob")
	src.put(1)
	l := track.layers[0]
	eventually(t, "the packet is kept", func() bool {
		l.early.mu.Lock()
		defer l.early.mu.Unlock()
		if len(l.early.packets) == 1 {
			l.early.until = time.Now().Add(-time.Hour)
		}
		return len(l.early.packets) == 1
	})
	src.put(2)
	eventually(t, "the source closes", func() bool { return !src.open.Load() })
	var late keep
	track.TapRaw("", late.add)
	src.put(3)
	eventually(t, "a packet comes", func() bool { return late.len() > 0 })
	if late.all[0][3] != 3 {
		t.Errorf("packet %d came first, want 3", late.all[0][3])
	}
}
