package raw

import "sync"

const (
	// pieceBytes is how large a piece becomes at most, in bytes of plain text.
	pieceBytes = 256 << 10
	// maxHeld bounds what one stream may hold in memory while the disk does
	// not take it, in bytes: 20 s at 1.6 Mbit/s.
	maxHeld = 4 << 20
	// smallBuffer is the size a buffer begins with.
	smallBuffer = 4 << 10
)

// chunk becomes a piece. b begins with room for the piece's header.
type chunk struct {
	b           []byte
	first, last uint32
	packets     int
	sealed      bool
}

// queue holds what was not yet given to the disk.
type queue struct {
	mu    sync.Mutex
	open  []chunk // the last one grows
	spare []byte
	held  int    // bytes here and at the disk's side
	last  uint32 // when the last packet came
	ended bool   // nothing is taken any more
	lost  lost
}

// lost counts packets that were not kept.
type lost struct {
	packets  uint64
	from, to uint32
}

func (l *lost) add(packets int, ms uint32) {
	if l.packets == 0 {
		l.from = ms
	}
	l.packets += uint64(packets)
	l.to = ms
}

// roomLocked finds where n bytes are to be appended; nil when too much is held
// already. fresh tells that the chunk before is complete.
func (q *queue) roomLocked(n int, ms uint32) (c *chunk, fresh bool) {
	if q.held+n > maxHeld {
		return nil, false
	}
	if k := len(q.open); k == 0 || len(q.open[k-1].b)+n > pieceHead+pieceBytes {
		b := q.spare
		if q.spare = nil; b == nil {
			b = make([]byte, pieceHead, smallBuffer)
		}
		q.open = append(q.open, chunk{b: b[:pieceHead], first: ms})
		fresh = k > 0
	}
	q.held += n
	c = &q.open[len(q.open)-1]
	c.last = ms
	c.packets++
	return c, fresh
}

// take moves what is held to dst, and tells whether nothing will follow.
func (q *queue) take(dst []chunk) ([]chunk, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	dst = append(dst, q.open...)
	clear(q.open)
	q.open = q.open[:0]
	return dst, q.ended
}

// written gives a chunk's memory back.
func (q *queue) written(c chunk) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.held -= len(c.b) - pieceHead - tagBytes
	if cap(c.b) > cap(q.spare) {
		q.spare = c.b[:0]
	}
}

func (q *queue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
}

func (q *queue) losses(reset bool) lost {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lost
	if reset {
		q.lost = lost{}
	}
	return l
}
