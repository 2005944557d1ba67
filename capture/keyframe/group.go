package keyframe

import (
	"cmp"
	"slices"
	"time"
)

// packet is one packet of a frame that is not whole yet.
type packet struct {
	seq    uint32
	off, n uint32
	layer  uint8
	// end is set on the marker, layerEnd on the last packet of a layer.
	end, layerEnd bool
	at            time.Time
}

// group gathers the packets of one timestamp.
type group struct {
	ts      uint32
	class   class
	packets []packet
	data    []byte
	// start and end are the first and last sequence number, 0 while unknown.
	start, end uint32
	// inside counts the packets between them, once both are known.
	inside int
	// top is the spatial layer whose end is the picture's end.
	top uint8
	// first is the packet that says deltaIfFirst, 0 if there is none.
	firstIfDelta uint32
	last         uint32 // highest sequence number
	rotation     int
	hasRotation  bool
}

func (g *group) reset(ts uint32) {
	*g = group{ts: ts, packets: g.packets[:0], data: g.data[:0], top: allLayers}
}

func (g *group) bytes() int { return len(g.data) }

func (g *group) put(payload []byte, seq uint32, h hint, marker bool, at time.Time) {
	p := packet{
		seq: seq, off: uint32(len(g.data)), n: uint32(len(payload)),
		layer: h.layer, end: marker, layerEnd: h.layerEnd, at: at,
	}
	g.data = append(g.data, payload...)
	g.packets = append(g.packets, p)
	g.last = max(g.last, seq)
	if g.start != 0 && g.end != 0 && seq >= g.start && seq <= g.end {
		g.inside++
	}
	if h.class == key {
		g.class = key
	}
	if h.class == deltaIfFirst {
		g.firstIfDelta = seq
	}
	if h.start && h.top != g.top {
		g.top = h.top
		for _, q := range g.packets {
			g.heedEnd(q)
		}
	} else {
		g.heedEnd(p)
	}
}

func (g *group) heedEnd(p packet) {
	if p.end || p.layerEnd && p.layer >= g.top {
		g.setEnd(p.seq)
	}
}

// setStart says which packet is the frame's first. The lowest claim holds.
func (g *group) setStart(seq uint32) {
	if g.start == 0 || seq < g.start {
		g.start = seq
		g.recount()
	}
	if g.firstIfDelta == seq && g.class == unknown {
		g.class = delta
	}
}

// setEnd says which packet is the frame's last. The lowest claim holds.
func (g *group) setEnd(seq uint32) {
	if g.end == 0 || seq < g.end {
		g.end = seq
		g.recount()
	}
}

func (g *group) recount() {
	g.inside = 0
	if g.start == 0 || g.end == 0 {
		return
	}
	for _, p := range g.packets {
		if p.seq >= g.start && p.seq <= g.end {
			g.inside++
		}
	}
}

// whole tells that the group is a keyframe and nothing of it is missing.
func (g *group) whole() bool {
	return g.class == key && g.start != 0 && g.end >= g.start && g.inside == int(g.end-g.start)+1
}

// parts is a whole frame's packets in order.
type parts struct {
	packets []packet
	data    []byte
}

// payload returns the i-th packet's payload, which may be empty.
func (p parts) payload(i int) []byte {
	q := p.packets[i]
	return p.data[q.off : q.off+q.n]
}

// inOrder sorts the packets and returns those of the picture.
func (g *group) inOrder() parts {
	bySeq := func(a, b packet) int { return cmp.Compare(a.seq, b.seq) }
	if !slices.IsSortedFunc(g.packets, bySeq) {
		slices.SortFunc(g.packets, bySeq)
	}
	from, _ := slices.BinarySearchFunc(g.packets, g.start, func(p packet, s uint32) int { return cmp.Compare(p.seq, s) })
	return parts{packets: g.packets[from : from+g.inside], data: g.data}
}

// arrivals returns when the first and the last packet of the picture to
// arrive did so. It is for groups that are in order.
func (g *group) arrivals() (first, last time.Time) {
	for i, p := range g.inOrder().packets {
		if i == 0 || p.at.Before(first) {
			first = p.at
		}
		if i == 0 || p.at.After(last) {
			last = p.at
		}
	}
	return first, last
}
