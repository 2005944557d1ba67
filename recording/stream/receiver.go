package stream

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"
)

// Bounds of a Receiver.
const (
	// maxConnections are received at once.
	maxConnections = 256
	// maxLasts is how many recordings' highest numbers are remembered.
	maxLasts = 4096
	// maxUnsigned is how much may come before a signature, in bytes.
	maxUnsigned = 4 << 20
	// DefaultIdle is how long a sender may say nothing.
	DefaultIdle = 30 * time.Second
	// DefaultMaxBytes bounds one recording.
	DefaultMaxBytes = 64 << 30
)

// Notice is what a Receiver tells of as it comes: events, gaps and the end of a
// stream, and by an empty Kind that a connection has begun.
type Notice struct {
	Header Header
	Record Record
	// Missing is how many numbers did not come before this record.
	Missing uint64
}

// ReceiverConfig is what a Receiver is made of. Dir is needed.
type ReceiverConfig struct {
	// Dir takes a folder for each recording.
	Dir string
	// Secret is the sender's API secret. "" checks no signature: anybody may
	// send then.
	Secret string
	// Idle and MaxBytes default to the constants.
	Idle     time.Duration
	MaxBytes int64
	// Notice is told what has come and is signed, before it is on disk; one call
	// at a time for each recording. The record's Raw is not set. May be nil.
	Notice func(n Notice)
	Log    *slog.Logger
	Now    func() time.Time
}

// Receiver takes streams over HTTP and writes each connection's body, as far as
// it is signed, to a file of its own: DIR/RECORDING/000001.swlive. Open reads
// such a folder.
type Receiver struct {
	cfg ReceiverConfig

	mu   sync.Mutex
	runs map[string]*receiving
	// lasts are the highest numbers of recordings between their connections, so
	// that what came is not read again for each.
	lasts map[string]uint64
}

// receiving is a recording that is being received.
type receiving struct {
	sync.Mutex        // held by the connection that is being received
	last       uint64 // the highest number that came
	known      bool

	// Guarded by the Receiver's mutex.

	users   int
	current *timed // nil between connections
	number  int    // of the current connection
}

// NewReceiver makes a receiver.
func NewReceiver(cfg ReceiverConfig) *Receiver {
	orElse(&cfg.Idle, DefaultIdle)
	orElse(&cfg.MaxBytes, DefaultMaxBytes)
	orElse(&cfg.Log, slog.Default())
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Notice == nil {
		cfg.Notice = func(Notice) {}
	}
	cfg.Log = cfg.Log.With("component", "receiver")
	return &Receiver{cfg: cfg, runs: map[string]*receiving{}, lasts: map[string]uint64{}}
}

// refusal is an answer that is no success.
type refusal struct {
	status int
	err    error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

func refuse(status int, format string, args ...any) error {
	return &refusal{status, fmt.Errorf(format, args...)}
}

// ServeHTTP receives one connection.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	err := r.receive(w, req)
	if err == nil {
		w.WriteHeader(http.StatusOK)
		return
	}
	status := http.StatusInternalServerError
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		status = refused.status
	case errors.Is(err, ErrSignature):
		status = http.StatusUnauthorized
	case errors.Is(err, ErrFormat):
		status = http.StatusBadRequest
	case errors.Is(err, ErrCut), errors.Is(err, os.ErrDeadlineExceeded):
		status = http.StatusRequestTimeout
	}
	r.cfg.Log.Warn("a stream's connection ends", "from", req.RemoteAddr, "status", status, "err", err)
	w.Header().Set("Connection", "close")
	http.Error(w, http.StatusText(status), status)
}

func (r *Receiver) receive(w http.ResponseWriter, req *http.Request) error {
	control := http.NewResponseController(w)
	// The answer to a stream that is refused goes out while it still comes.
	_ = control.EnableFullDuplex() // HTTP/2 does so by itself
	if req.Method != http.MethodPost {
		return refuse(http.StatusMethodNotAllowed, "method is %s", req.Method)
	}
	if req.Header.Get("Content-Type") != ContentType {
		return refuse(http.StatusUnsupportedMediaType, "content type is %q", req.Header.Get("Content-Type"))
	}
	body := &timed{r: req.Body, control: control, idle: r.cfg.Idle, now: r.cfg.Now}
	defer func() { _ = control.SetReadDeadline(time.Time{}) }() // for the next request of the connection
	in, err := NewReader(body, r.cfg.Secret)
	if err != nil {
		return err
	}
	h := in.Header()
	if r.cfg.Secret != "" {
		if !in.Check(r.cfg.Secret, req.Header.Get(HeaderSignature)) {
			return fmt.Errorf("preamble: %w", ErrSignature)
		}
		if skew := r.cfg.Now().Sub(h.SentAt).Abs(); skew > MaxSkew {
			return refuse(http.StatusUnauthorized, "it was sent %v from now", skew)
		}
	}
	body.begin()
	if !plainID.MatchString(h.RecordingID) || h.Connection > maxConnection {
		return refuse(http.StatusBadRequest, "recording %q, connection %d", h.RecordingID, h.Connection)
	}
	run, err := r.enter(h.RecordingID, h.Connection)
	if err != nil {
		return err
	}
	defer r.leave(h.RecordingID, run)
	run.Lock()
	defer run.Unlock()
	r.hold(run, body, h.Connection)
	defer r.hold(run, nil, 0)
	return r.store(in, run)
}

// hold says which connection of a recording is received now.
func (r *Receiver) hold(run *receiving, body *timed, number int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	run.current, run.number = body, number
}

// plainID is a name that a folder may have.
var plainID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// maxConnection is the highest number of a connection.
const maxConnection = 999_999

func (r *Receiver) enter(id string, connection int) (*receiving, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	total := 0
	for _, run := range r.runs {
		total += run.users
	}
	if total >= maxConnections {
		return nil, refuse(http.StatusServiceUnavailable, "%d connections are received already", total)
	}
	run := r.runs[id]
	if run == nil {
		last, known := r.lasts[id]
		run = &receiving{last: last, known: known}
		r.runs[id] = run
	}
	run.users++
	if run.current != nil && connection > run.number {
		run.current.stop() // the sender has given it up, which may not have come through
	}
	return run, nil
}

func (r *Receiver) leave(id string, run *receiving) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if run.users--; run.users > 0 {
		return
	}
	delete(r.runs, id)
	if !run.known {
		return
	}
	for other := range r.lasts {
		if len(r.lasts) < maxLasts {
			break
		}
		delete(r.lasts, other) // its folder is read again, should it go on
	}
	r.lasts[id] = run.last
}

// store writes a connection to its file, and syncs it.
func (r *Receiver) store(in *Reader, run *receiving) error {
	h := in.Header()
	dir := filepath.Join(r.cfg.Dir, h.RecordingID)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make folder of recording: %w", err)
	}
	if err := r.resume(dir, run); err != nil {
		return err
	}
	used, err := folderSize(dir)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, fileName(h.Connection)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return refuse(http.StatusGone, "connection %d came before", h.Connection)
	}
	if err != nil {
		return fmt.Errorf("store stream: %w", err)
	}
	r.cfg.Log.Info("a stream comes", "recording", h.RecordingID, "call", h.CallCID, "connection", h.Connection, "next", h.Next)
	r.cfg.Notice(Notice{Header: h})
	out := &signed{w: bufio.NewWriterSize(f, 64<<10), checked: r.cfg.Secret != "", left: r.cfg.MaxBytes - used}
	err = out.add(in.Preamble())
	if err == nil {
		err = out.commit(func([]byte) error { return nil })
	}
	if err == nil {
		err = r.records(in, run, out)
	}
	return errors.Join(err, out.w.Flush(), f.Sync(), f.Close())
}

// resume finds what came of a recording before this receiver began.
func (r *Receiver) resume(dir string, run *receiving) error {
	if run.known {
		return nil
	}
	f, err := Open(dir)
	if errors.Is(err, ErrEmpty) {
		return nil
	}
	if err != nil {
		return err
	}
	for rec, err := range f.Records() {
		if err != nil {
			return err
		}
		run.last = max(run.last, rec.Seq)
	}
	run.known = true
	return nil
}

// records takes a connection's records until its end.
func (r *Receiver) records(in *Reader, run *receiving, out *signed) error {
	h, whole := in.Header(), false
	flushed := r.cfg.Now()
	for {
		rec, err := in.Next()
		if errors.Is(err, io.EOF) && !errors.Is(err, ErrCut) {
			if whole {
				return nil
			}
			return fmt.Errorf("%w: it is not signed to its end", ErrCut)
		}
		if err != nil {
			return err
		}
		if err := out.add(rec.Raw); err != nil {
			return err
		}
		if out.checked && rec.Kind != KindSignature {
			continue // nobody is told of what may be somebody else's
		}
		whole = in.ended && rec.Kind == KindSignature
		if err := out.commit(func(b []byte) error { return r.tell(h, run, b) }); err != nil {
			return err
		}
		// What was signed a second ago is in the system's hands.
		if now := r.cfg.Now(); whole || now.Sub(flushed) >= time.Second {
			flushed = now
			if err := out.w.Flush(); err != nil {
				return fmt.Errorf("store stream: %w", err)
			}
		}
	}
}

// tell tells of records that were checked, without those that came before. They
// are read a second time for it: kept as they were read the first time, they
// would take many times their bytes.
func (r *Receiver) tell(h Header, run *receiving, b []byte) error {
	for payload := range records(b) {
		n := Notice{Header: h, Record: Record{Kind: Kind(payload[0])}}
		if err := (&Reader{}).parse(&n.Record, payload[1:]); err != nil {
			return err
		}
		if seq := n.Record.Seq; seq > 0 {
			if run.known && seq <= run.last {
				continue // it came before
			}
			if run.known && seq > run.last+1 {
				n.Missing = seq - run.last - 1
			}
			run.last, run.known = seq, true
		}
		switch n.Record.Kind {
		case KindEvent, KindGap, KindEnd:
			r.cfg.Notice(n)
		case KindHeader, KindRTP, KindRTCP, KindSignature:
		}
	}
	return nil
}

// signed writes what is signed, and holds what is not yet.
type signed struct {
	w       *bufio.Writer
	checked bool
	held    bytes.Buffer
	left    int64
}

func (s *signed) add(b []byte) error {
	if s.left -= int64(len(b)); s.left < 0 {
		return refuse(http.StatusRequestEntityTooLarge, "the recording is larger than it may be")
	}
	if s.held.Len()+len(b) > maxUnsigned {
		return refuse(http.StatusBadRequest, "%d bytes came without a signature", s.held.Len())
	}
	s.held.Write(b)
	return nil
}

// commit writes what is held, and hands it on.
func (s *signed) commit(tell func(b []byte) error) error {
	defer s.held.Reset()
	if _, err := s.w.Write(s.held.Bytes()); err != nil {
		return fmt.Errorf("store stream: %w", err)
	}
	return tell(s.held.Bytes())
}

// timed reads a body whose sender has to say something now and then, and its
// preamble within one such time.
type timed struct {
	r       io.Reader
	control *http.ResponseController
	idle    time.Duration
	now     func() time.Time
	set     time.Time
	begun   bool // the preamble is the sender's

	mu      sync.Mutex
	stopped bool
}

func (t *timed) Read(b []byte) (int, error) {
	if now := t.now(); t.set.IsZero() || t.begun && now.Sub(t.set) >= t.idle/4 {
		t.set = now
		t.mu.Lock()
		if !t.stopped {
			_ = t.control.SetReadDeadline(time.Now().Add(t.idle)) // where there is none, the server's own holds
		}
		t.mu.Unlock()
	}
	return t.r.Read(b)
}

// begin lets each read have its own time from now on.
func (t *timed) begin() { t.begun, t.set = true, time.Time{} }

// stop ends the reading, from another goroutine, while the request is served.
func (t *timed) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	_ = t.control.SetReadDeadline(time.Unix(1, 0))
}

func folderSize(dir string) (int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, fmt.Errorf("measure recording: %w", err)
	}
	var sum int64
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			sum += info.Size()
		}
	}
	return sum, nil
}

// Report is a Notice in words of JSON.
type Report struct {
	RecordingID string `json:"egress_id"`
	CallCID     string `json:"call_cid"`
	Connection  int    `json:"connection"`
	// Type is "connected", the kind of an event, "gap" or "end".
	Type string `json:"type"`
	// Sequence is the number; 0 of an event that tells how things are after a
	// break or a loss, which may be known already.
	Sequence uint64 `json:"sequence,omitempty"`
	Missing  uint64 `json:"missing,omitempty"`
	Event    *Event `json:"event,omitempty"`
	Gap      *Gap   `json:"gap,omitempty"`
	End      *End   `json:"end,omitempty"`
}

// Report is the notice for a log or a pipe.
func (n Notice) Report() Report {
	out := Report{RecordingID: n.Header.RecordingID, CallCID: n.Header.CallCID, Connection: n.Header.Connection, Type: "connected", Sequence: n.Record.Seq, Missing: n.Missing}
	switch n.Record.Kind {
	case KindEvent:
		out.Type, out.Event = cmp.Or(string(n.Record.Event.Kind), "event"), &n.Record.Event
	case KindGap:
		out.Type, out.Gap = "gap", &n.Record.Gap
	case KindEnd:
		out.Type, out.End = "end", &n.Record.End
	case KindHeader, KindRTP, KindRTCP, KindSignature:
	}
	return out
}
