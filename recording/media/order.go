package media

import (
	"time"

	"github.com/pion/rtp"
)

const (
	// ringSize is how many sequence numbers the window spans at most.
	ringSize = 1024
	// maxHeld and maxWait are how many packets, and how much newer ones, a
	// missing packet is waited for.
	maxHeld = 512
	maxWait = time.Second
	// maxHeldBytes bounds what the window keeps.
	maxHeldBytes = 8 << 20
	// maxDropout is how far the sequence may jump ahead without being taken for
	// a new one, as in RFC 3550, appendix A.1.
	maxDropout = 3000
	// maxMisorder is how far behind a packet is late, not out of all sequence.
	maxMisorder = 1024
)

// packet is an RTP packet in the window.
type packet struct {
	ext     uint64 // sequence number, extended
	at      time.Duration
	ssrc    uint32
	ts      uint32
	marker  bool
	payload []byte
	// rotation is in degrees plus one, 0 when not told; level is of RFC 6464
	// with its voice bit, plus one.
	rotation, level int16
	used            bool
}

// verdict is what became of a packet.
type verdict uint8

const (
	taken  verdict = iota
	late           // came again, or when its place had passed
	stray          // out of all sequence: kept aside, may be the first of a new one
	anew           // the second of a new sequence: drain, then begin
	tooFar         // drain a little, then place again
)

// order puts packets in sequence. A missing one is waited for while less than
// maxWait of newer ones came, and given up then.
type order struct {
	started bool
	ssrc    uint32
	next    uint64 // to be released next; before that, the lowest there is
	high    uint64 // highest seen
	held    int
	bytes   int
	newest  time.Duration // latest arrival
	since   time.Duration // newest when the wait for next began
	waiting bool
	any     bool
	ring    [ringSize]packet
	aside   packet // the last stray one; used if there is one
}

// place says what is to become of a packet, without keeping it.
func (o *order) place(h *rtp.Header) (uint64, verdict) {
	if !o.any {
		return 1<<32 | uint64(h.SequenceNumber), taken
	}
	if h.SSRC != o.ssrc {
		return 0, o.judgeStray(h)
	}
	diff := int64(int16(h.SequenceNumber - uint16(o.high)))
	ext := uint64(int64(o.high) + diff)
	switch {
	case diff > maxDropout || diff < -maxMisorder:
		return 0, o.judgeStray(h)
	case o.started && ext < o.next:
		return 0, late
	case !o.started && (ext+maxHeld <= o.high || ext >= o.next+maxHeld):
		return ext, tooFar
	case ext >= o.next+ringSize:
		return ext, tooFar
	case o.ring[ext%ringSize].used && o.ring[ext%ringSize].ext == ext:
		return ext, late
	}
	return ext, taken
}

// judgeStray takes two packets near each other for a new sequence.
func (o *order) judgeStray(h *rtp.Header) verdict {
	a := &o.aside
	if d := int16(h.SequenceNumber - uint16(a.ext)); a.used && a.ssrc == h.SSRC && d != 0 && d > -64 && d < 64 {
		return anew
	}
	return stray
}

// put keeps a packet at its place, or aside.
func (o *order) put(p *rtp.Packet, ext uint64, v verdict, at time.Duration, i streamInfo) {
	slot := &o.ring[ext%ringSize]
	if v == stray {
		slot, ext = &o.aside, uint64(p.SequenceNumber)
	} else {
		if !o.any {
			o.any, o.ssrc, o.high, o.next = true, p.SSRC, ext, ext
		}
		o.high = max(o.high, ext)
		if !o.started {
			o.next = min(o.next, ext)
		}
		o.newest = max(o.newest, at)
		o.held++
		o.bytes += len(p.Payload)
	}
	slot.ext, slot.at, slot.ssrc, slot.ts, slot.marker, slot.used = ext, at, p.SSRC, p.Timestamp, p.Marker, true
	slot.payload = append(slot.payload[:0], p.Payload...)
	slot.rotation, slot.level = i.extensions(&p.Header)
}

// begin forgets the sequence so far and takes the packet aside as the first
// of a new one. The window is drained before.
func (o *order) begin() {
	newest := o.newest
	aside := o.aside
	o.started, o.any, o.waiting = false, true, false
	o.ssrc = aside.ssrc
	aside.ext |= 1 << 32
	o.high, o.next = aside.ext, aside.ext
	slot := &o.ring[aside.ext%ringSize]
	o.aside, *slot = *slot, aside
	o.aside.used = false
	o.newest = max(newest, aside.at)
	o.held, o.bytes = 1, len(aside.payload)
}

// pop returns the next packet in sequence, nil when it is to be waited for or
// nothing is left; gap says that others before it are missing. With drain
// nothing is waited for. The packet is valid until the next put.
func (o *order) pop(drain bool) (p *packet, gap bool) {
	if o.held == 0 {
		return nil, false
	}
	full := drain || o.held >= maxHeld || o.bytes > maxHeldBytes
	if !o.started {
		if !o.waiting {
			o.waiting, o.since = true, o.newest
		}
		if !full && o.newest-o.since <= maxWait {
			return nil, false
		}
		o.started, o.waiting = true, false
	}
	if !o.at(o.next) {
		if !o.waiting {
			o.waiting, o.since = true, o.newest
		}
		if !full && o.newest-o.since <= maxWait {
			return nil, false
		}
		gap = true
		for !o.at(o.next) {
			o.next++
		}
	}
	o.waiting = false
	p = &o.ring[o.next%ringSize]
	p.used = false
	o.next++
	o.held--
	o.bytes -= len(p.payload)
	return p, gap
}

func (o *order) at(ext uint64) bool {
	p := &o.ring[ext%ringSize]
	return p.used && p.ext == ext
}

// oldest returns the earliest arrival of what is held and of p.
func (o *order) oldest(p *packet) time.Duration {
	at := p.at
	for ext, n := o.next, o.held; n > 0 && ext <= o.high; ext++ {
		if o.at(ext) {
			at = min(at, o.ring[ext%ringSize].at)
			n--
		}
	}
	return at
}
