package mjr

import (
	"encoding/binary"
	"time"
)

// packet is what of a packet's header (RFC 3550, section 5.1) is needed here.
type packet struct {
	pt      uint8
	ts      uint32
	payload int // where the payload begins
}

// parseRTP looks at a packet. It answers false for what is none.
func parseRTP(b []byte) (p packet, ok bool) {
	if len(b) < 12 || b[0]>>6 != 2 {
		return p, false
	}
	p = packet{pt: b[1] & 0x7f, ts: binary.BigEndian.Uint32(b[4:]), payload: 12 + 4*int(b[0]&0xf)}
	if b[0]&0x10 != 0 {
		if len(b) < p.payload+4 {
			return p, false
		}
		p.payload += 4 + 4*int(binary.BigEndian.Uint16(b[p.payload+2:]))
	}
	return p, len(b) >= p.payload
}

// stripRED makes a packet of redundant sound (RFC 2198) the packet of its
// newest block, in place. It answers false for what is none.
func stripRED(b []byte, p packet) ([]byte, bool) {
	end := len(b)
	if b[0]&0x20 != 0 { // padding
		pad := int(b[end-1])
		if pad == 0 || pad > end-p.payload {
			return nil, false
		}
		end -= pad
	}
	at, skip := p.payload, 0
	for ; at < end && b[at]&0x80 != 0; at += 4 {
		if at+4 > end {
			return nil, false
		}
		skip += int(binary.BigEndian.Uint16(b[at+2:]) & 0x3ff)
	}
	if at >= end {
		return nil, false
	}
	pt := b[at] & 0x7f
	start := at + 1 + skip
	if start > end {
		return nil, false
	}
	b[0] &^= 0x20
	b[1] = b[1]&0x80 | pt
	n := copy(b[p.payload:], b[start:end])
	return b[:p.payload+n], true
}

// ticker makes arrivals of timestamps, for files that do not tell them. It is
// right as far as packets left the sender when they were due.
type ticker struct {
	rate  int64
	begun bool
	last  uint32
	ticks int64
	most  time.Duration
}

// at is when a packet of the timestamp came, since the first one. It never
// goes back. A jump of more than a minute is taken as no time.
func (t *ticker) at(ts uint32) time.Duration {
	if !t.begun {
		t.begun, t.last = true, ts
		return 0
	}
	d := int64(int32(ts - t.last))
	t.last = ts
	if d > 60*t.rate || d < -60*t.rate {
		d = 0
	}
	t.ticks += d
	t.most = max(t.most, time.Duration(t.ticks)*time.Second/time.Duration(t.rate))
	return min(t.most, maxArrival)
}
