package whep

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"

	"stillwatch/capture/call"
	"stillwatch/internal/event"
)

// writer is where packets go to the viewer.
type writer interface {
	WriteRTP(p *rtp.Packet) error
}

// forwarder sends one track to one viewer. Sequence numbers and timestamps go
// on without a break when the layer or the track behind it changes; pictures
// begin with a keyframe.
type forwarder struct {
	out         writer
	clockRate   int64
	rid         string // the layer asked for
	rotationOut uint8
	cut         atomic.Bool

	mu      sync.Mutex
	track   *call.Track // nil after it ended
	kind    event.TrackType
	codec   call.Codec
	layer   string // the layer that is tapped
	stop    func()
	since   time.Time // when it was chosen
	waiting bool      // for a keyframe
	rewrite rewriter
}

func newForwarder(t *call.Track, out writer, rid string) *forwarder {
	c := t.Codec()
	return &forwarder{
		out: out, clockRate: int64(c.ClockRate), rid: rid,
		track: t, kind: t.Info().Type, codec: c,
	}
}

// start taps the track. Starting again does nothing.
func (f *forwarder) start() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.track != nil && f.stop == nil && !f.cut.Load() {
		f.tapLocked(f.chooseLocked())
	}
}

// chooseLocked is the layer asked for, or the largest that flows.
func (f *forwarder) chooseLocked() string {
	layers := f.track.Layers()
	best := ""
	for i, l := range layers {
		if f.rid != "" && l.RID == f.rid && l.Active {
			return l.RID
		}
		if i == 0 || l.Active {
			best = l.RID
		}
	}
	return best
}

func (f *forwarder) tapLocked(rid string) {
	if f.stop != nil {
		f.stop()
	}
	f.layer, f.since, f.waiting = rid, time.Now(), f.track.Video()
	f.rewrite.restart()
	track := f.track
	rotationIn := track.Info().RotationExtID
	f.stop = track.Tap(rid, func(p *rtp.Packet, at time.Time) { f.forward(track, rid, rotationIn, p, at) })
	if f.waiting {
		track.RequestKeyframe(rid)
	}
}

// forward sends a packet on. It is called by the read loop of one layer, or of
// two for a moment while the layer changes.
func (f *forwarder) forward(track *call.Track, rid string, rotationIn uint8, p *rtp.Packet, at time.Time) {
	if f.cut.Load() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.track != track || f.layer != rid {
		return
	}
	if f.waiting {
		if !startsKeyframe(track.Info().Codec, p.Payload) {
			return
		}
		f.waiting = false
	}
	out := rtp.Packet{Header: rtp.Header{Version: 2, Marker: p.Marker}, Payload: p.Payload}
	var ok bool
	out.SequenceNumber, out.Timestamp, ok = f.rewrite.next(p, at, f.clockRate)
	if !ok {
		return
	}
	if f.rotationOut != 0 && rotationIn != 0 {
		if ext := p.GetExtension(rotationIn); len(ext) > 0 {
			_ = out.SetExtension(f.rotationOut, ext) // fails only for ids out of range
		}
	}
	_ = f.out.WriteRTP(&out) // fails only while the connection closes
}

func (f *forwarder) requestKeyframe() {
	f.mu.Lock()
	track, rid := f.track, f.layer
	f.mu.Unlock()
	if track != nil && !f.cut.Load() {
		track.RequestKeyframe(rid)
	}
}

// settle is how long a layer is kept before a larger one takes its place.
const settle = 5 * time.Second

// look asks again for a keyframe that did not come, leaves a layer that fell
// silent, and takes a better one that came.
func (f *forwarder) look() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.track == nil || f.stop == nil || f.cut.Load() {
		return
	}
	if rid := f.chooseLocked(); rid != f.layer && (!f.activeLocked() || time.Since(f.since) > settle) {
		f.tapLocked(rid)
	} else if f.waiting {
		f.track.RequestKeyframe(f.layer)
	}
}

func (f *forwarder) activeLocked() bool {
	for _, l := range f.track.Layers() {
		if l.RID == f.layer {
			return l.Active && (f.rid == "" || f.rid == f.layer)
		}
	}
	return false
}

func (f *forwarder) shows(t *call.Track) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.track == t
}

// take shows a new track if the old one ended and was of the same kind.
func (f *forwarder) take(t *call.Track) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.track != nil || f.cut.Load() || t.Info().Type != f.kind || t.Codec() != f.codec {
		return false
	}
	f.track = t
	return true
}

// drop forgets the track if it has the id.
func (f *forwarder) drop(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.track != nil && f.track.Info().ID == id {
		f.releaseLocked()
	}
}

// dropEnded forgets the track if it has ended.
func (f *forwarder) dropEnded() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.track != nil && f.track.Ended() {
		f.releaseLocked()
	}
}

func (f *forwarder) close() {
	f.cut.Store(true)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.releaseLocked()
}

func (f *forwarder) releaseLocked() {
	if f.stop != nil {
		f.stop()
	}
	f.track, f.stop = nil, nil
}
