package raw

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
)

// output is a file that grows by pieces, with what waits for it. All but the
// queue is guarded by Writer.disk.
type output struct {
	queue
	pending []chunk // taken from the queue, not written
	kind    fileKind
	info    *StreamInfo // nil for the journal
	path    string

	f        *os.File // nil until something was written
	crypt    *cryptor
	off      int64  // where the next piece goes
	n        uint32 // its number
	body     int64  // where pieces that may be trimmed begin
	start    start  // as in the slot
	punched  int64  // no space is taken between body and here
	solid    bool   // the file system gives no space back
	marks    []mark
	finished bool
	dirty    atomic.Bool // something was written since the last sync
}

// mark is the end of a piece.
type mark struct {
	end  int64
	n    uint32
	last uint32
}

// maxMarks bounds what is remembered of where pieces end; beyond, every second
// one is forgotten.
const maxMarks = 4096

// create makes the file with its head, and for a stream with what it is.
func (o *output) create(key Key) error {
	crypt, err := newCryptor(key, o.kind)
	if err != nil {
		return err
	}
	b := append(crypt.head[:], make([]byte, slotBytes)...)
	var n uint32
	if o.info != nil {
		text, err := json.Marshal(o.info)
		if err != nil {
			return fmt.Errorf("describe stream: %w", err)
		}
		at := toMS(o.info.At)
		piece := append(make([]byte, pieceHead), text...)
		b = append(b, crypt.seal(piece, pieceHeader{flags: flagInfo, first: at, last: at})...)
		n = 1
	}
	f, err := os.OpenFile(o.path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("create file: %w", err)
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		return errors.Join(fmt.Errorf("write head: %w", err), f.Close(), remove(o.path))
	}
	o.f, o.crypt, o.off, o.body, o.punched, o.n = f, crypt, int64(len(b)), int64(len(b)), int64(len(b)), n
	o.start = start{off: o.off, n: o.n}
	o.dirty.Store(true)
	return nil
}

// seal makes a chunk the next piece. A chunk that could not be written is
// written again as it is: no nonce is used for two texts.
func (o *output) seal(c *chunk, flags uint8) {
	if !c.sealed {
		c.b = o.crypt.seal(c.b, pieceHeader{flags: flags, n: o.n, first: c.first, last: c.last})
		c.sealed = true
	}
}

// write appends a sealed chunk. What a failed write left behind is cut off, or
// else written over by the next.
func (o *output) write(c *chunk) error {
	if _, err := o.f.WriteAt(c.b, o.off); err != nil {
		_ = o.f.Truncate(o.off)
		return fmt.Errorf("write piece: %w", err)
	}
	o.off += int64(len(c.b))
	o.marks = append(o.marks, mark{end: o.off, n: o.n, last: c.last})
	if len(o.marks) > maxMarks {
		kept := o.marks[:0]
		for i := 1; i < len(o.marks); i += 2 {
			kept = append(kept, o.marks[i])
		}
		o.marks = append(kept, mark{end: o.off, n: o.n, last: c.last})
	}
	o.n++
	o.dirty.Store(true)
	return nil
}

// pageBytes is how space is given back by file systems.
const pageBytes = 4096

// trim forgets the pieces that are wholly older.
func (o *output) trim(before uint32) error {
	var last mark
	keep := 0
	for ; keep < len(o.marks) && o.marks[keep].last < before; keep++ {
		last = o.marks[keep]
	}
	if last.end <= o.start.off || o.f == nil {
		return nil
	}
	next := start{off: last.end, n: last.n + 1}
	if _, err := o.f.WriteAt(o.crypt.sealStart(next), headBytes); err != nil {
		return fmt.Errorf("write slot: %w", err)
	}
	o.marks = append(o.marks[:0], o.marks[keep:]...)
	o.start = next
	o.dirty.Store(true)
	return nil
}

// reclaim gives the space of forgotten pieces back and returns how much it
// was. The slot that says so is on the medium: else a power failure could
// leave a hole that looks like tampering.
func (o *output) reclaim(synced start) (freed int64, err error) {
	// The page in which a hole ends stays; the next hole covers it.
	to := synced.off / pageBytes * pageBytes
	if o.solid || to <= o.punched {
		return 0, nil
	}
	if err := punch(o.f, o.punched, to-o.punched); err != nil {
		o.solid = true
		return 0, fmt.Errorf("give space back: %w", err)
	}
	freed = to - o.punched
	o.punched = to
	return freed, nil
}
