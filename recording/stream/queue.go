package stream

import (
	"encoding/binary"
	"encoding/json"
	"iter"
	"time"

	"stillwatch/recording/raw"
)

const (
	// chunkBytes is how much is handed to the connection at once.
	chunkBytes = 64 << 10
	// maxSpare is how many chunks wait to be filled again.
	maxSpare = 8
)

// queue holds records that wait for the connection, framed as they go out, in
// chunks. It is guarded by its Sender's mutex.
type queue struct {
	chunks [][]byte // the last one grows
	spare  [][]byte
	held   int // bytes in chunks
	max    int
	seq    uint64 // of the last record
	gap    Gap    // that is not yet told, if Last is set
}

// roomFor makes room for a record of n bytes with its length: nil when too much
// is held. Metadata may go an eighth beyond the bound.
func (q *queue) roomFor(n int, event bool) *[]byte {
	most := q.max
	if event {
		most += q.max / 8
	}
	if q.held+n > most {
		return nil
	}
	if k := len(q.chunks); k == 0 || len(q.chunks[k-1])+n > chunkBytes {
		q.chunks = append(q.chunks, q.fresh(n))
	}
	q.held += n
	return &q.chunks[len(q.chunks)-1]
}

func (q *queue) fresh(n int) []byte {
	if k := len(q.spare); k > 0 && n <= chunkBytes {
		b := q.spare[k-1]
		q.spare = q.spare[:k-1]
		return b
	}
	return make([]byte, 0, max(n, chunkBytes))
}

// media takes a packet; false when it was dropped.
func (q *queue) media(kind Kind, number uint32, at time.Duration, b []byte) bool {
	q.tellGap()
	q.seq++
	n := lengthBytes + 1 + mediaHead + len(b)
	c := q.room(n, false)
	if c == nil {
		q.drop(at, len(b), false)
		return false
	}
	out := binary.BigEndian.AppendUint32(*c, uint32(n-lengthBytes))
	out = append(out, byte(kind))
	out = binary.BigEndian.AppendUint64(out, q.seq)
	out = binary.BigEndian.AppendUint64(out, uint64(at))
	out = binary.BigEndian.AppendUint32(out, number)
	*c = append(out, b...)
	return true
}

// event takes an event; false when it was dropped.
func (q *queue) event(e Event) bool {
	q.tellGap()
	q.seq++
	text, err := json.Marshal(e)
	if err != nil || len(text) > MaxText-seqBytes || !q.text(KindEvent, q.seq, text) {
		q.drop(e.At, 0, true)
		return false
	}
	return true
}

func (q *queue) text(kind Kind, seq uint64, text []byte) bool {
	c := q.room(lengthBytes+1+seqBytes+len(text), true)
	if c == nil {
		return false
	}
	*c = appendNumbered(*c, kind, seq, text)
	return true
}

// room is roomFor, which has nothing to give while a gap is not told: what
// comes behind it has to wait as well.
func (q *queue) room(n int, event bool) *[]byte {
	if q.gap.Last != 0 {
		return nil
	}
	return q.roomFor(n, event)
}

func (q *queue) drop(at time.Duration, size int, event bool) {
	g := &q.gap
	if g.Last == 0 {
		*g = Gap{First: q.seq, From: at}
	}
	g.Last, g.To, g.Bytes = q.seq, max(g.To, at), g.Bytes+uint64(size)
	if event {
		g.Events++
	} else {
		g.Packets++
	}
}

// gapRoom is what has to be free before a gap is told and more is taken, so
// that a receiver that is a little too slow is told of few gaps, not of many.
func (q *queue) gapRoom() int { return q.max / 4 }

// tellGap puts the record of a gap in once there is room again.
func (q *queue) tellGap() {
	if q.gap.Last == 0 || q.held > q.max-q.gapRoom() {
		return
	}
	q.forceGap()
}

// forceGap does so whether there is room or not: at the end.
func (q *queue) forceGap() {
	if q.gap.Last == 0 {
		return
	}
	text, err := json.Marshal(q.gap)
	if err != nil {
		return // numbers always can
	}
	q.gap = Gap{}
	q.seq++
	n := lengthBytes + 1 + seqBytes + len(text)
	q.held += n
	q.chunks = append(q.chunks, appendNumbered(q.fresh(n), KindGap, q.seq, text))
}

// take returns the oldest chunk, nil when nothing waits. give returns its
// memory.
func (q *queue) take() []byte {
	if len(q.chunks) == 0 {
		return nil
	}
	c := q.chunks[0]
	n := copy(q.chunks, q.chunks[1:])
	q.chunks[n] = nil
	q.chunks = q.chunks[:n]
	return c
}

func (q *queue) give(c []byte) {
	q.held -= len(c)
	if len(q.spare) < maxSpare && cap(c) == chunkBytes {
		q.spare = append(q.spare, c[:0])
	}
}

func appendNumbered(dst []byte, kind Kind, seq uint64, text []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(1+seqBytes+len(text)))
	dst = append(dst, byte(kind))
	dst = binary.BigEndian.AppendUint64(dst, seq)
	return append(dst, text...)
}

// appendRecord frames a record without a number.
func appendRecord(dst []byte, kind Kind, payload []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(1+len(payload)))
	dst = append(dst, byte(kind))
	return append(dst, payload...)
}

// recent keeps the records that went out last, to send them again on the next
// connection: what a connection that broke had not delivered is among them.
type recent struct {
	b   []byte
	max int
}

func (r *recent) add(c []byte) {
	if len(r.b)+len(c) > 2*r.max {
		from := 0
		for from < len(r.b) && len(r.b)-from+len(c) > r.max {
			from += lengthBytes + int(binary.BigEndian.Uint32(r.b[from:]))
		}
		r.b = append(r.b[:0], r.b[from:]...)
	}
	r.b = append(r.b, c...)
}

// first is the number of its first record, 0 if there is none.
func (r *recent) first() uint64 {
	if len(r.b) < lengthBytes+1+seqBytes {
		return 0
	}
	return binary.BigEndian.Uint64(r.b[lengthBytes+1:])
}

// entryOf leaves out of a journal's entry what is not for the receiver.
func entryOf(e raw.Entry) (raw.Entry, bool) {
	switch e.Kind {
	case raw.Joined, raw.Left, raw.Removed, raw.Muted, raw.Unmuted:
		return raw.Entry{
			Kind: e.Kind, At: e.At, UserID: e.UserID, UserSessionID: e.UserSessionID, Name: e.Name, Role: e.Role, TrackID: e.TrackID,
		}, true
	case raw.Added, raw.Started, raw.Stopped, raw.Flagged, raw.Lost, raw.Ended:
	}
	return raw.Entry{}, false
}

// lastNumber is that of the last record of a chunk, hasGap tells whether one of
// its records is a gap's.
func lastNumber(chunk []byte) (seq uint64) {
	for r := range records(chunk) {
		seq = binary.BigEndian.Uint64(r[1:])
	}
	return seq
}

func hasGap(chunk []byte) bool {
	for r := range records(chunk) {
		if Kind(r[0]) == KindGap {
			return true
		}
	}
	return false
}

// records are those of a chunk that was framed here, without their lengths.
func records(chunk []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(chunk) > 0 {
			n := lengthBytes + int(binary.BigEndian.Uint32(chunk))
			if !yield(chunk[lengthBytes:n]) {
				return
			}
			chunk = chunk[n:]
		}
	}
}
