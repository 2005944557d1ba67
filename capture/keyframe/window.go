package keyframe

import (
	"slices"
	"sync"
)

const (
	// ringSize is how many sequence numbers are remembered; a power of two.
	ringSize = 4096
	// maxGroups bounds the frames that are pending at a time.
	maxGroups = 8
	// maxSettled bounds the timestamps remembered as not mattering.
	maxSettled = 16
	// maxMissing bounds one list of missing packets.
	maxMissing = 64
	// keepBytes is how large a buffer may be to be used again.
	keepBytes = 1 << 20
)

// slot remembers a packet that arrived.
type slot struct{ seq, ts uint32 }

// neighbour is what is known of the packet next in sequence.
type neighbour struct {
	seen bool
	ts   uint32
}

// window holds what an Assembler remembers while packets flow. Sequence
// numbers are extended to 32 bits (RFC 3550, appendix A.1) and never 0.
type window struct {
	ring    [ringSize]slot
	highest uint32
	// odd is the number expected after a packet out of all sequence.
	odd       uint16
	oddSeen   bool
	groups    []*group
	spare     []*group
	settled   [maxSettled]uint32
	nSettled  int
	atSettled int
}

var windows = sync.Pool{New: func() any { return new(window) }}

func newWindow() *window {
	w := windows.Get().(*window)
	w.clear()
	return w
}

// release gives the window back for others to use. A nil window is fine.
func (w *window) release() {
	if w != nil {
		windows.Put(w)
	}
}

func (w *window) clear() {
	for _, g := range w.groups {
		w.free(g)
	}
	clear(w.ring[:])
	w.highest, w.oddSeen = 0, false
	w.groups = w.groups[:0]
	w.nSettled, w.atSettled = 0, 0
}

// place extends a sequence number. It answers false for packets that are too
// old, and for a jump that a second packet has not confirmed (RFC 3550,
// appendix A.1).
func (w *window) place(seq uint16) (uint32, bool) {
	if w.highest == 0 {
		w.highest = 1<<17 | uint32(seq)
		return w.highest, true
	}
	d := int32(int16(seq - uint16(w.highest)))
	if d > ringSize/2 || d < -ringSize/2 {
		if !w.oddSeen || seq != w.odd {
			w.odd, w.oddSeen = seq+1, true
			return 0, false
		}
		// the sender started anew; a distance that no old number can be near to
		w.clear()
		w.highest = 1<<17 | uint32(seq)
		return w.highest, true
	}
	ext := uint32(int64(w.highest) + int64(d))
	if d > 0 {
		w.highest = ext
	}
	w.oddSeen = false
	return ext, true
}

func (w *window) has(seq uint32) bool { return w.ring[seq%ringSize].seq == seq }

func (w *window) mark(seq, ts uint32) { w.ring[seq%ringSize] = slot{seq, ts} }

// neighbours returns the packets before and after in sequence.
func (w *window) neighbours(seq, ts uint32) (before, after neighbour) {
	if s := w.ring[(seq-1)%ringSize]; s.seq == seq-1 {
		before = neighbour{true, s.ts}
	}
	if s := w.ring[(seq+1)%ringSize]; s.seq == seq+1 {
		after = neighbour{true, s.ts}
	}
	return before, after
}

func (w *window) find(ts uint32) *group {
	for _, g := range w.groups {
		if g.ts == ts {
			return g
		}
	}
	return nil
}

// add makes room for a frame and counts the keyframe that had to go for it.
func (w *window) add(ts uint32, incomplete *uint64) *group {
	if len(w.groups) == maxGroups {
		*incomplete += w.dropOldest(nil)
	}
	var g *group
	if n := len(w.spare); n > 0 {
		g, w.spare = w.spare[n-1], w.spare[:n-1]
	} else {
		g = new(group)
	}
	g.reset(ts)
	w.groups = append(w.groups, g)
	return g
}

func (w *window) free(g *group) {
	if cap(g.data) > keepBytes {
		g.data = nil
	}
	w.spare = append(w.spare, g)
}

// settle drops a frame for good: its packets do not matter any more.
func (w *window) settle(g *group) {
	w.settleTimestamp(g.ts)
	if i := slices.Index(w.groups, g); i >= 0 {
		w.groups = slices.Delete(w.groups, i, i+1)
		w.free(g)
	}
}

func (w *window) settleTimestamp(ts uint32) {
	w.settled[w.atSettled] = ts
	w.atSettled = (w.atSettled + 1) % maxSettled
	w.nSettled = min(w.nSettled+1, maxSettled)
}

func (w *window) isSettled(ts uint32) bool {
	for _, s := range w.settled[:w.nSettled] {
		if s == ts {
			return true
		}
	}
	return false
}

// expire drops the frames that have waited too long and counts the keyframes
// among them.
func (w *window) expire(packets int) (incomplete uint64) {
	for i := 0; i < len(w.groups); {
		g := w.groups[i]
		if w.highest-g.last <= uint32(packets) {
			i++
			continue
		}
		if g.class == key {
			incomplete++
		}
		w.settle(g)
	}
	return incomplete
}

// makeRoom drops the oldest frames but keep until n more bytes fit.
func (w *window) makeRoom(keep *group, n, maxBytes int) (incomplete uint64) {
	for {
		total := n
		for _, g := range w.groups {
			total += g.bytes()
		}
		if total <= maxBytes || len(w.groups) == 1 {
			return incomplete
		}
		incomplete += w.dropOldest(keep)
	}
}

func (w *window) dropOldest(keep *group) (incomplete uint64) {
	var oldest *group
	for _, g := range w.groups {
		if g != keep && (oldest == nil || g.last < oldest.last) {
			oldest = g
		}
	}
	if oldest == nil {
		return 0
	}
	if oldest.class == key {
		incomplete = 1
	}
	w.settle(oldest)
	return incomplete
}

// incomplete counts the keyframes that are pending.
func (w *window) incomplete() (n uint64) {
	for _, g := range w.groups {
		if g.class == key {
			n++
		}
	}
	return n
}

// missing lists the gaps from the first pending frame on. Numbers right
// before that frame count when a packet before them is known.
func (w *window) missing(dst []uint16) []uint16 {
	low := uint32(0)
	for _, g := range w.groups {
		for _, p := range g.packets {
			if low == 0 || p.seq < low {
				low = p.seq
			}
		}
	}
	if low == 0 {
		return dst
	}
	for back := uint32(1); back <= maxMissing; back++ {
		if w.has(low - back) {
			low -= back
			break
		}
	}
	room := maxMissing
	for seq := low; seq != w.highest && room > 0; seq++ {
		if !w.has(seq) {
			dst = append(dst, uint16(seq))
			room--
		}
	}
	return dst
}
