package raw

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path/filepath"
	"slices"
	"time"
)

// Reader reads what a Writer wrote. Its methods may be called from several
// goroutines; it holds no files open.
type Reader struct {
	session SessionInfo
	entries []Entry
	streams []StreamInfo
	files   map[string]*input // by stream id
	length  time.Duration
	whole   bool
}

// Open reads the journal of a folder and finds its streams. The writer may
// have been killed, or still be at work (but not at Trim): then what it had
// written is there.
// The errors wrap ErrKey, ErrTampered and ErrEmpty; damage within a stream
// shows when its packets are read.
func Open(dir string, key Key) (*Reader, error) {
	r := &Reader{files: make(map[string]*input)}
	journal, err := openInput(filepath.Join(dir, journalFile), key, kindJournal)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("open recording %s: %w", dir, ErrEmpty)
	case err != nil:
		return nil, fmt.Errorf("open recording %s: %w", dir, err)
	}
	if err := r.readJournal(journal); err != nil {
		return nil, fmt.Errorf("open recording %s: %w", dir, err)
	}
	paths, err := listStreams(dir)
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		if err := r.addFile(path, key); err != nil {
			return nil, fmt.Errorf("open recording %s: %w", dir, err)
		}
	}
	slices.SortStableFunc(r.streams, func(a, b StreamInfo) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.ID, b.ID))
	})
	return r, nil
}

func (r *Reader) readJournal(in *input) error {
	for p, err := range in.pieces(0) {
		if err != nil {
			return err
		}
		r.whole = p.flags&flagFinal != 0
		for text := range bytes.Lines(p.plain) {
			if err := r.addLine(text); err != nil {
				return in.fail(p.n, err)
			}
		}
	}
	if r.session == (SessionInfo{}) {
		return ErrEmpty
	}
	return nil
}

func (r *Reader) addLine(text []byte) error {
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	if l.Session != nil {
		r.session = *l.Session
	}
	if l.Entry == nil {
		return nil
	}
	r.entries = append(r.entries, *l.Entry)
	r.length = max(r.length, l.Entry.At)
	if l.Entry.Kind == Added && l.Entry.Stream != nil {
		r.streams = append(r.streams, *l.Entry.Stream)
	}
	return nil
}

func (r *Reader) addFile(path string, key Key) error {
	in, err := openInput(path, key, kindStream)
	if errors.Is(err, ErrKey) { // the journal's was right
		err = fmt.Errorf("file %s, head: %w", filepath.Base(path), ErrTampered)
	}
	var info StreamInfo
	if err == nil {
		info, err = in.info()
	}
	if errors.Is(err, ErrEmpty) {
		r.whole = false
		return nil
	}
	if err != nil {
		return err
	}
	if r.files[info.ID] != nil {
		return fmt.Errorf("file %s: a second one of stream %q: %w", filepath.Base(path), info.ID, ErrTampered)
	}
	r.files[info.ID] = in
	if !slices.ContainsFunc(r.streams, func(s StreamInfo) bool { return s.ID == info.ID }) {
		// The packets reached the disk before the journal did.
		r.streams = append(r.streams, info)
		at := slices.IndexFunc(r.entries, func(e Entry) bool { return e.At > info.At })
		if at < 0 {
			at = len(r.entries)
		}
		r.entries = slices.Insert(r.entries, at, addedEntry(&info))
	}
	last, whole, err := in.last()
	if err != nil {
		return err
	}
	r.length = max(r.length, fromMS(last))
	r.whole = r.whole && whole
	return nil
}

// addedEntry tells of a stream that began.
func addedEntry(info *StreamInfo) Entry {
	return Entry{
		Kind: Added, At: info.At, UserID: info.UserID, UserSessionID: info.UserSessionID,
		TrackID: info.TrackID, Stream: info,
	}
}

// Session describes the session.
func (r *Reader) Session() SessionInfo { return r.session }

// Entries is the journal, in the order in which it was written.
func (r *Reader) Entries() []Entry { return r.entries }

// Streams are in the order in which they began. Those of which no packet came
// are there too.
func (r *Reader) Streams() []StreamInfo { return r.streams }

// Length is when the last thing happened, since the session's start: an entry,
// or a packet.
func (r *Reader) Length() time.Duration { return r.length }

// Whole tells that the writer was closed and nothing is cut off.
func (r *Reader) Whole() bool { return r.whole }

// Packets reads a stream from its first packet on, in the order of arrival. An
// error is the last thing that comes; a tail that a crash cut off is none.
func (r *Reader) Packets(streamID string) iter.Seq2[Packet, error] {
	return r.PacketsFrom(streamID, 0)
}

// PacketsFrom is Packets without those that arrived before a moment. What lies
// before it is not read, so nothing is said about damage there.
func (r *Reader) PacketsFrom(streamID string, at time.Duration) iter.Seq2[Packet, error] {
	from := toMS(at)
	return func(yield func(Packet, error) bool) {
		for p, err := range r.pieces(streamID, from) {
			for rest := p.plain; err == nil && len(rest) > 0; {
				var pkt Packet
				if pkt, rest, err = nextRecord(rest); err != nil {
					err = r.files[streamID].fail(p.n, err)
					break
				}
				if pkt.At >= fromMS(from) && !yield(pkt, nil) {
					return
				}
			}
			if err != nil {
				yield(Packet{}, err)
				return
			}
		}
	}
}

func (r *Reader) pieces(streamID string, from uint32) iter.Seq2[piece, error] {
	if in := r.files[streamID]; in != nil {
		return in.pieces(from)
	}
	return func(yield func(piece, error) bool) {
		if !slices.ContainsFunc(r.streams, func(s StreamInfo) bool { return s.ID == streamID }) {
			yield(piece{}, fmt.Errorf("read recording: there is no stream %q", streamID))
		}
	}
}

// Dump writes a stream as a file of rtpdump, whose times are since the
// session's start.
func (r *Reader) Dump(streamID string, w io.Writer) error {
	out := bufio.NewWriter(w)
	_, _ = out.Write(dumpHead(r.session.StartedAt)) // Flush tells
	for p, err := range r.pieces(streamID, 0) {
		if err != nil {
			return err
		}
		_, _ = out.Write(p.plain)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write dump: %w", err)
	}
	return nil
}

// DumpBetween is Dump of the packets that arrived from a moment on and not
// after another. It returns how many there were.
func (r *Reader) DumpBetween(streamID string, w io.Writer, from, to time.Duration) (packets int, err error) {
	out := bufio.NewWriter(w)
	_, _ = out.Write(dumpHead(r.session.StartedAt)) // Flush tells
	var record []byte
	for p, err := range r.PacketsFrom(streamID, from) {
		if err != nil {
			return packets, err
		}
		if p.At > to {
			break
		}
		record = appendRecord(record[:0], p.Data, p.RTCP, toMS(p.At))
		_, _ = out.Write(record)
		packets++
	}
	if err := out.Flush(); err != nil {
		return packets, fmt.Errorf("write dump: %w", err)
	}
	return packets, nil
}
