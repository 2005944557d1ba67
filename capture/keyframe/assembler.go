package keyframe

import (
	"errors"
	"time"

	"github.com/pion/rtp"

	"stillwatch/internal/event"
)

// Reasons why a frame whose packets are all there is no keyframe.
var (
	errMalformed    = errors.New("malformed keyframe")
	errNoParameters = errors.New("keyframe without parameter sets")
)

// class says what is known of the frame that a packet belongs to.
type class uint8

const (
	unknown class = iota
	delta
	// deltaIfFirst is a delta frame if the packet is the frame's first.
	deltaIfFirst
	key
)

// hint is what one payload tells without its neighbours.
type hint struct {
	class class
	// start says that the packet is provably the first that matters.
	start bool
	// top is the spatial layer that completes the picture; only with start.
	top uint8
	// layer is the packet's spatial layer, layerEnd its last packet.
	layer    uint8
	layerEnd bool
}

// allLayers is a top that no layer reaches: the marker ends the picture.
const allLayers = 0xff

// picture is what a format makes of a whole frame.
type picture struct {
	data          []byte
	width, height int
	layers        int
}

// format knows one codec's payloads.
type format interface {
	// inspect reads a payload of at least one byte. It does not allocate but
	// for parameter sets that are new.
	inspect(payload []byte) hint
	// join makes the coded picture of a frame's payloads, in order.
	join(parts parts) (picture, error)
}

// Assembler finds keyframes among the packets of one RTP stream. Packets may
// come out of order and more than once. It is not safe for concurrent use.
//
// A frame's packets share a timestamp. A keyframe is whole when a packet that
// is provably its first, one that is provably its last, and all sequence
// numbers between them are there. First and last are proven by the payload
// (start bits, marker) or by a neighbour in sequence with another timestamp.
type Assembler struct {
	codec    event.Codec
	cfg      Config
	format   format
	stats    Stats
	win      *window
	ssrc     uint32
	rotation int
	// lastTS is the timestamp of the keyframe that was given last.
	lastTS  uint32
	emitted bool
}

// Stats returns the counts so far.
func (a *Assembler) Stats() Stats { return a.stats }

// SetMaxHeight changes Config.MaxHeight for keyframes that start from now on.
func (a *Assembler) SetMaxHeight(lines int) {
	if f, ok := a.format.(*vp9); ok {
		f.maxHeight = lines
	}
}

// Reset forgets all packets, for a pause in which packets are not seen. What
// was learnt of the stream (parameter sets, rotation) is kept.
func (a *Assembler) Reset() {
	a.win.release()
	a.win = nil
	a.emitted = false
}

// Push takes a packet and its arrival, and gives a keyframe when the packet
// made one whole. p may be reused afterwards. Keyframes come in the order of
// their timestamps; one that becomes whole after a later one is not given.
func (a *Assembler) Push(p *rtp.Packet, at time.Time) (*Keyframe, bool) {
	a.stats.Packets++
	w := a.open(p.SSRC)
	seq, ok := w.place(p.SequenceNumber)
	if !ok {
		a.stats.Late++
		return nil, false
	}
	if w.has(seq) {
		a.stats.Duplicates++
		return nil, false
	}
	w.mark(seq, p.Timestamp)
	a.stats.Incomplete += w.expire(a.cfg.Window)

	before, after := w.neighbours(seq, p.Timestamp)
	whole := a.settleNeighbours(seq, p.Timestamp, before, after)
	if g := a.keep(p, seq, before, after, at); g != nil && g.whole() {
		whole = g
	}
	if whole == nil {
		return nil, false
	}
	return a.give(whole)
}

// Missing appends to dst the sequence numbers that pending frames still lack,
// at most 64, for a NACK.
func (a *Assembler) Missing(dst []uint16) []uint16 {
	if a.win == nil {
		return dst
	}
	return a.win.missing(dst)
}

func (a *Assembler) open(ssrc uint32) *window {
	if a.win != nil && a.ssrc != ssrc {
		a.stats.Incomplete += a.win.incomplete()
		a.Reset()
	}
	if a.win == nil {
		a.win = newWindow()
		a.ssrc = ssrc
	}
	return a.win
}

// settleNeighbours tells the frames before and after the packet where they
// end and start, and returns one that became whole by it.
func (a *Assembler) settleNeighbours(seq, ts uint32, before, after neighbour) *group {
	var whole *group
	if before.seen && before.ts != ts {
		if g := a.win.find(before.ts); g != nil {
			g.setEnd(seq - 1)
			if g.whole() {
				whole = g
			}
		}
	}
	if after.seen && after.ts != ts {
		if g := a.win.find(after.ts); g != nil {
			g.setStart(seq + 1)
			if g.class == delta {
				a.win.settle(g)
			} else if g.whole() {
				whole = g
			}
		}
	}
	return whole
}

// keep puts the packet to its frame. It returns nil if the frame is known not
// to matter.
func (a *Assembler) keep(p *rtp.Packet, seq uint32, before, after neighbour, at time.Time) *group {
	w := a.win
	if w.isSettled(p.Timestamp) {
		return nil
	}
	var h hint
	if len(p.Payload) > 0 { // else padding alone, which fills the sequence
		h = a.format.inspect(p.Payload)
	}
	first := h.start || before.seen && before.ts != p.Timestamp
	g := w.find(p.Timestamp)
	if h.class == delta || h.class == deltaIfFirst && first {
		if g == nil {
			w.settleTimestamp(p.Timestamp)
		} else if g.class != key {
			w.settle(g)
		}
		if g == nil || g.class != key {
			return nil
		}
	}
	if g == nil {
		g = w.add(p.Timestamp, &a.stats.Incomplete)
	}
	if g.bytes()+len(p.Payload) > a.cfg.MaxBytes || len(g.packets) >= MaxWindow {
		a.stats.TooLarge++
		w.settle(g)
		return nil
	}
	a.stats.Incomplete += w.makeRoom(g, len(p.Payload), a.cfg.MaxBytes)
	g.put(p.Payload, seq, h, p.Marker, at)
	if first {
		g.setStart(seq)
	}
	if after.seen && after.ts != p.Timestamp {
		g.setEnd(seq)
	}
	a.readRotation(p, g)
	return g
}

func (a *Assembler) give(g *group) (*Keyframe, bool) {
	ts, rotation := g.ts, a.rotation
	if g.hasRotation {
		rotation = g.rotation
	}
	ps := g.inOrder()
	pic, err := a.format.join(ps)
	first, last := g.arrivals()
	a.win.settle(g)
	switch {
	case errors.Is(err, errNoParameters):
		a.stats.NoParameters++
		return nil, false
	case err != nil || len(pic.data) > a.cfg.MaxBytes:
		a.stats.Malformed++
		return nil, false
	case a.emitted && int32(ts-a.lastTS) < 0:
		a.stats.Late++
		return nil, false
	}
	a.lastTS, a.emitted, a.rotation = ts, true, rotation
	a.stats.Keyframes++
	return &Keyframe{
		Codec: a.codec, Data: pic.data, RTPTimestamp: ts,
		Width: pic.width, Height: pic.height, Rotation: rotation, Layers: max(pic.layers, 1),
		Packets: len(ps.packets), FirstAt: first, LastAt: last,
	}, true
}

// readRotation reads the coordination of video orientation, which stands on
// the last packet of a keyframe at least and holds until it is changed (3GPP
// TS 26.114, section 7.4.5): bits 1 and 0 are quarter turns. The flip bit is
// for mirrored previews and not heeded.
func (a *Assembler) readRotation(p *rtp.Packet, g *group) {
	if a.cfg.RotationExtID == 0 {
		return
	}
	if ext := p.GetExtension(a.cfg.RotationExtID); len(ext) == 1 {
		g.rotation, g.hasRotation = 90*int(ext[0]&3), true
	}
}
