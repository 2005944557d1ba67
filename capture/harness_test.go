package capture

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"go.uber.org/goleak"

	"stillwatch/capture/still"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world runs a Sampler on a clock of its own, in one goroutine: it steps from
// one moment at which something happens to the next.
type world struct {
	t      testing.TB
	now    time.Time
	s      *Sampler
	events []moment
	bus    *fakeBus
	rows   *fakeRows
	imager *fakeImager
	told   []RecordingEvent
	// idle stops the workers, so that keyframes pile up.
	idle bool
}

type moment struct {
	at time.Time
	do func()
}

func newWorld(t testing.TB, change func(*Config)) *world {
	w := &world{
		t: t, now: time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC),
		bus: &fakeBus{objects: map[string][]byte{}}, rows: &fakeRows{gaps: map[string]db.GapRow{}}, imager: &fakeImager{},
	}
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same course each time
	cfg := Config{
		Node: "n1", Imager: w.imager, Store: w.bus, Publisher: w.bus, Rows: w.rows, Workers: 1,
		Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return w.now }, random: r.Float64,
		OnRecording: func(e RecordingEvent) { w.told = append(w.told, e) },
	}
	if change != nil {
		change(&cfg)
	}
	w.s = NewSampler(cfg)
	return w
}

func (w *world) after(d time.Duration, do func()) {
	w.events = append(w.events, moment{w.now.Add(d), do})
	slices.SortStableFunc(w.events, func(a, b moment) int { return a.at.Compare(b.at) })
}

// run lets d pass.
func (w *world) run(d time.Duration) {
	end := w.now.Add(d)
	for {
		next, ok := w.s.tick(w.now)
		w.work()
		if len(w.events) > 0 && (!ok || w.events[0].at.Before(next)) {
			next, ok = w.events[0].at, true
		}
		if !ok || next.After(end) {
			w.now = end
			return
		}
		if next.After(w.now) {
			w.now = next
		}
		for len(w.events) > 0 && !w.events[0].at.After(w.now) {
			e := w.events[0]
			w.events = w.events[1:]
			e.do()
			w.work()
		}
	}
}

// work does what the workers would.
func (w *world) work() {
	ctx := context.Background()
	for !w.idle {
		if j := w.try(w.s.pictures); j != nil {
			w.s.makePicture(ctx, j)
		} else if j := w.try(w.s.stores); j != nil {
			w.s.store(ctx, j)
		} else {
			break
		}
	}
	w.s.notices.tell(ctx)
}

func (w *world) try(q *queue) *job {
	j, tooOld := try(q, w.now)
	w.s.shed(tooOld, "waited too long")
	return j
}

func try(q *queue, now time.Time) (*job, []*job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.takeLocked(now)
}

// check holds the invariant of the ledger for a track.
func (w *world) check(id string) TrackCounts {
	w.t.Helper()
	c, ok := w.s.Track(id)
	waiting := 0
	if c.Waiting {
		waiting = 1
	}
	if !ok || c.Due != c.Captured+c.Gaps+c.InFlight+waiting {
		w.t.Fatalf("track %s: %+v does not add up", id, c)
	}
	return c
}

// fakeTrack answers requests with a keyframe of one packet.
type fakeTrack struct {
	w        *world
	info     TrackInfo
	layers   []Layer
	answer   time.Duration
	still    bool // every picture is the same
	deaf     bool // requests are not heard, but packets flow
	silent   bool // no packets at all
	sinks    map[string]func(*rtp.Packet, time.Time)
	opened   int
	closed   int
	requests []time.Time
	asked    []string
	seq      uint16
	pictures uint32
}

func (w *world) track(id string, change func(*fakeTrack)) *fakeTrack {
	ft := &fakeTrack{
		w: w, answer: 40 * time.Millisecond, layers: []Layer{{Active: true}},
		sinks: map[string]func(*rtp.Packet, time.Time){},
		info: TrackInfo{
			ID: id, CID: "default:abc", CallType: "default", SessionID: "session", UserID: "user-" + id,
			UserSessionID: "us-" + id, Type: event.TrackVideo, Codec: event.VP8,
		},
	}
	if change != nil {
		change(ft)
	}
	w.s.TrackAdded(ft)
	return ft
}

func (f *fakeTrack) Info() TrackInfo { return f.info }
func (f *fakeTrack) Layers() []Layer { return f.layers }

func (f *fakeTrack) Tap(rid string, sink func(*rtp.Packet, time.Time)) func() {
	f.sinks[rid] = sink
	f.opened++
	stopped := false
	return func() {
		if !stopped {
			stopped = true
			f.closed++
			delete(f.sinks, rid)
		}
	}
}

func (f *fakeTrack) RequestKeyframe(rid string) {
	f.requests = append(f.requests, f.w.now)
	f.asked = append(f.asked, rid)
	switch {
	case f.silent:
	case f.deaf:
		f.w.after(f.answer, func() { f.send(rid, false) })
	default:
		f.w.after(f.answer, func() { f.send(rid, true) })
	}
}

// send sends one picture of a layer, if anyone listens.
func (f *fakeTrack) send(rid string, key bool) {
	if !f.still {
		f.pictures++
	}
	f.seq++
	p := vp8Packet(f.seq, f.pictures, key, 720)
	if sink := f.sinks[rid]; sink != nil {
		sink(p, f.w.now)
	}
}

func vp8Packet(seq uint16, content uint32, key bool, height uint16) *rtp.Packet {
	b := make([]byte, 1+10+4)
	b[0] = 0x10 // start of partition 0
	if !key {
		b[1] = 1
	}
	copy(b[4:], []byte{0x9d, 0x01, 0x2a})
	binary.LittleEndian.PutUint16(b[7:], 1280)
	binary.LittleEndian.PutUint16(b[9:], height)
	binary.BigEndian.PutUint32(b[11:], content)
	return &rtp.Packet{
		Header:  rtp.Header{Version: 2, SSRC: 1, SequenceNumber: seq, Timestamp: uint32(seq) * 3000, Marker: true},
		Payload: b,
	}
}

// fakeImager gives the keyframe's bytes as the picture.
type fakeImager struct {
	mu   sync.Mutex
	err  func(n int) error
	look still.Picture
	reqs []still.Request
}

func (f *fakeImager) Picture(_ context.Context, r still.Request) (still.Picture, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r.Keyframe = slices.Clone(r.Keyframe)
	f.reqs = append(f.reqs, r)
	if f.err != nil {
		if err := f.err(len(f.reqs)); err != nil {
			return still.Picture{}, fmt.Errorf("fake: %w", err)
		}
	}
	p := f.look
	if p.LumaMean == 0 && p.LumaStd == 0 {
		p.LumaMean, p.LumaStd = 100, 40
	}
	p.JPEG, p.Width, p.Height = r.Keyframe, 1280, 720
	p.Tensors = map[int][]byte{224: {1}}
	return p, nil
}

// fakeBus is store, publisher and tensor sink.
type fakeBus struct {
	mu       sync.Mutex
	putErr   error
	pubErr   error
	objects  map[string][]byte
	frames   []event.FrameReady
	gaps     []event.FrameGap
	onFrame  func(event.FrameReady)
	envelope []event.Envelope
}

func (b *fakeBus) Put(_ context.Context, key string, body []byte, _ string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.putErr != nil {
		return b.putErr
	}
	b.objects[key] = body
	return nil
}

func (b *fakeBus) Publish(_ context.Context, topic event.Topic, evs ...event.Envelope) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pubErr != nil {
		return b.pubErr
	}
	for _, e := range evs {
		b.envelope = append(b.envelope, e)
		switch e.Type {
		case event.TypeFrameReady:
			var f event.FrameReady
			if err := e.Decode(&f); err != nil {
				return err
			}
			b.frames = append(b.frames, f)
			if b.onFrame != nil {
				b.onFrame(f)
			}
		case event.TypeFrameGap:
			var g event.FrameGap
			if err := e.Decode(&g); err != nil {
				return err
			}
			b.gaps = append(b.gaps, g)
		default:
			return fmt.Errorf("event %s on %s", e.Type, topic)
		}
	}
	return nil
}

type fakeRows struct {
	mu     sync.Mutex
	frames []db.FrameRow
	gaps   map[string]db.GapRow
	order  []string
}

func (r *fakeRows) PutFrame(row db.FrameRow) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frames = append(r.frames, row)
	return true
}

func (r *fakeRows) PutGap(row db.GapRow) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.gaps[row.ID]; !ok {
		r.order = append(r.order, row.ID)
	}
	r.gaps[row.ID] = row
	return true
}

func (r *fakeRows) gapList() (list []db.GapRow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range r.order {
		list = append(list, r.gaps[id])
	}
	return list
}
