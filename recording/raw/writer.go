package raw

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of Options.
const (
	DefaultFlushEvery = time.Second
	DefaultSyncEvery  = 5 * time.Second
)

// Options of a Writer. Zero values mean the defaults.
type Options struct {
	// MaxBytes bounds the folder. A sixteenth of it, 64 KiB at most, is for the
	// journal alone. Default 0, which is no bound.
	MaxBytes int64
	// FlushEvery is how often packets are given to the system: when the
	// process is killed, those since are lost. Default 1 s.
	FlushEvery time.Duration
	// SyncEvery is how often the system is told to write to the medium: when
	// the power fails, what came since is lost. Default 5 s.
	SyncEvery time.Duration
	// OnLost is told once when packets begin to be lost, until all that came
	// could be written again. It is called from the Writer's own goroutine,
	// which writes nothing meanwhile.
	OnLost func(err error)
	// Log may be nil: then slog.Default.
	Log *slog.Logger
	// Now may be nil: then time.Now.
	Now func() time.Time

	// fail makes writes fail in tests.
	fail func(size int) error
}

// Writer keeps the packets of one session. Its methods may be called from any
// goroutine.
type Writer struct {
	dir string
	opt Options
	log *slog.Logger
	// now is when the writer was made, base how long after the session's start
	// that was: the clock may be set meanwhile.
	now  time.Time
	base time.Duration

	wake chan struct{}
	stop chan struct{}
	wg   sync.WaitGroup

	packets, lost atomic.Uint64
	bytes         atomic.Int64

	mu      sync.Mutex
	closed  bool
	ids     map[string]struct{}
	streams []*StreamWriter

	disk    sync.Mutex // one writes at a time
	key     Key
	journal output
	used    int64
	ended   []*output // written to their end, not synced
	gone    []old     // and synced
	created bool      // files were made since the folder was synced
	failing bool
	burst   error // why packets are being lost
	err     error // of Close
	shut    bool
}

// old is the closed file of a stream that ended.
type old struct {
	path string
	last uint32
	size int64
}

// Stats are a Writer's counts.
type Stats struct {
	// Packets were written, Lost were not.
	Packets, Lost uint64
	// Bytes is the size of the folder.
	Bytes int64
}

// line is one of the journal: the session, which is the first, or an entry.
type line struct {
	Session *SessionInfo `json:"session,omitempty"`
	Entry   *Entry       `json:"entry,omitempty"`
}

// Create begins a session in a folder, which is made if it is not there. It
// fails if the folder holds one already. Close or Discard the Writer. Who
// wants to find the key again calls SaveKey first.
func Create(dir string, key Key, s SessionInfo, o Options) (*Writer, error) {
	if o.FlushEvery <= 0 {
		o.FlushEvery = DefaultFlushEvery
	}
	if o.SyncEvery <= 0 {
		o.SyncEvery = DefaultSyncEvery
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	w := &Writer{
		dir: dir, opt: o, key: key, ids: make(map[string]struct{}),
		log:  o.Log.With("component", "raw", "session", s.SessionID),
		wake: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	w.now = o.Now()
	w.base = w.now.Sub(s.StartedAt)
	w.journal.kind, w.journal.path = kindJournal, filepath.Join(dir, journalFile)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	if err := w.note(line{Session: &s}); err != nil {
		return nil, err
	}
	err := w.flushOutput(&w.journal)
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		if f := w.journal.f; f != nil {
			err = errors.Join(err, f.Close(), remove(w.journal.path))
		}
		return nil, fmt.Errorf("begin recording: %w", err)
	}
	w.wg.Go(w.flushLoop)
	w.wg.Go(w.syncLoop)
	return w, nil
}

// At is how long after the session's start a moment is, as Write counts it:
// by a clock that nobody sets, as far as the moment has one.
func (w *Writer) At(moment time.Time) time.Duration { return moment.Sub(w.now) + w.base }

// Note puts an entry in the journal; it is written within FlushEvery. It fails
// with ErrFull when the disk has not taken the last 4 MiB of entries.
func (w *Writer) Note(e Entry) error { return w.note(line{Entry: &e}) }

func (w *Writer) note(l line) error {
	text, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	text = append(text, '\n')
	if len(text) > pieceBytes {
		return fmt.Errorf("write journal: entry of %d bytes; at most %d", len(text), pieceBytes)
	}
	q := &w.journal.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended {
		return fmt.Errorf("write journal: %w", ErrClosed)
	}
	c, _ := q.roomLocked(len(text), 0)
	if c == nil {
		return fmt.Errorf("write journal: %w", ErrFull)
	}
	c.b = append(c.b, text...)
	return nil
}

// Stream adds a stream, and notes that in the journal. Without an id it gets a
// random one. It does not wait for the disk.
func (w *Writer) Stream(info StreamInfo) (*StreamWriter, error) {
	if info.ID == "" {
		info.ID = randomName()
	}
	s := &StreamWriter{w: w, info: info}
	s.out.kind, s.out.info = kindStream, &s.info
	// The name on disk tells nothing of the stream.
	s.out.path = filepath.Join(w.dir, randomName()+streamExt)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, fmt.Errorf("add stream: %w", ErrClosed)
	}
	if _, known := w.ids[info.ID]; known {
		return nil, fmt.Errorf("add stream: there is a stream %q already", info.ID)
	}
	if err := w.Note(addedEntry(&info)); err != nil {
		return nil, err
	}
	w.ids[info.ID] = struct{}{}
	w.streams = append(w.streams, s)
	return s, nil
}

func randomName() string {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// Stats returns the counts so far.
func (w *Writer) Stats() Stats {
	return Stats{Packets: w.packets.Load(), Lost: w.lost.Load(), Bytes: w.bytes.Load()}
}

// nudge makes the flusher look now.
func (w *Writer) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *Writer) live() []*StreamWriter {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.streams)
}

// Trim forgets the pieces that are wholly older than a moment since the
// session's start, and ended streams that are: of a rolling spool the latest
// part stays. What a piece holds is at most FlushEvery long; the space is given
// back at the next sync. The journal is kept. Trim may wait for the disk.
func (w *Writer) Trim(before time.Duration) {
	ms := toMS(before)
	w.disk.Lock()
	defer w.disk.Unlock()
	if w.shut {
		return
	}
	outs := slices.Clone(w.ended)
	for _, s := range w.live() {
		outs = append(outs, &s.out)
	}
	for _, o := range outs {
		if err := o.trim(ms); err != nil {
			w.failed(err)
		}
	}
	w.gone = slices.DeleteFunc(w.gone, func(f old) bool {
		if f.last >= ms {
			return false
		}
		if err := remove(f.path); err != nil {
			w.failed(err)
		}
		w.addUsed(-f.size)
		return true
	})
}

func (w *Writer) addUsed(n int64) {
	w.used += n
	w.bytes.Store(w.used)
}
