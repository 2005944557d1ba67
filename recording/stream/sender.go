package stream

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"stillwatch/internal/event"
	"stillwatch/recording/layout"
	"stillwatch/recording/raw"
)

// Defaults of Config.
const (
	// DefaultQueue bounds what waits for the receiver: some 40 s at 1.6 Mbit/s.
	DefaultQueue = 8 << 20
	// DefaultResend is how much of what went out last is sent again after a
	// break.
	DefaultResend = 512 << 10
	// DefaultFlush is how long packets are gathered.
	DefaultFlush = 40 * time.Millisecond
	// DefaultStall is how long the receiver may take nothing at all.
	DefaultStall = 20 * time.Second
	// DefaultFirstPause and DefaultLongestPause lie between connections.
	DefaultFirstPause   = 500 * time.Millisecond
	DefaultLongestPause = 15 * time.Second
	// DefaultEndWithin bounds the sending of what is left after the end.
	DefaultEndWithin = 30 * time.Second
	// DefaultTellAfter is how long a receiver may be away before that is told.
	DefaultTellAfter = time.Minute
	// idle is how often a signature is sent when nothing else is.
	idle = time.Second
)

// Config is what a Sender is made of. URL, Client and Header are needed; of the
// header what is the same on all connections. Zero values mean the defaults.
type Config struct {
	URL string
	// Client decides what may be reached: netguard's.
	Client *http.Client
	// Key goes out with each request, Secret signs.
	Key, Secret string
	Header      Header
	// Queue and Resend are in bytes.
	Queue, Resend                                                int
	Flush, Stall, FirstPause, LongestPause, EndWithin, TellAfter time.Duration
	// Keyframes is called, from the sender's goroutine, when pictures are wanted
	// that can be decoded alone.
	Keyframes func()
	// Failed is called once, from the sender's goroutine, when the stream cannot
	// be delivered: the receiver refuses it, has been away for TellAfter, or did
	// not take its end. The error is an *Error.
	Failed func(err error)
	// Counts may be shared by several senders; nil: nobody counts.
	Counts *Counts
	Log    *slog.Logger
	Now    func() time.Time
}

// Counts of senders since they were made.
type Counts struct {
	// Packets and Bytes were taken, Lost dropped because the receiver was too
	// slow or away; Connections were begun, and Failed streams told of.
	Packets, Bytes, Lost, Connections, Failed atomic.Int64
	// Open connections there are now.
	Open atomic.Int64
}

// Error is a stream that its receiver does not take.
type Error struct {
	// Reason may be told to whoever set the receiver up: it holds no address.
	Reason string
	// Refused tells that trying again would not help.
	Refused bool
	Err     error
}

// Error implements error.
func (e *Error) Error() string { return "stream: " + e.Reason }

// Unwrap returns the cause, nil if there is none.
func (e *Error) Unwrap() error { return e.Err }

// Sender sends one run's stream. Its methods may be called from any goroutine
// and never wait for the receiver.
type Sender struct {
	cfg    Config
	now    time.Time // when it was made, with a clock that nobody sets
	base   time.Duration
	ending chan struct{} // closed by End
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	q       queue
	over    bool // nothing is taken any more
	late    *time.Timer
	dropped bool // events were lost: the state is told anew
	end     End
	tracks  []*Track // in the order of their numbers
	ended   int      // of them
	number  uint32
	people  map[string]raw.Entry // by connection
	muted   map[string]raw.Entry // by track
	floor   *layout.Live
	speaker Event

	// Below, of the goroutine alone.

	recent     recent
	sent       uint64 // the last number that went out
	connection int
	told       bool
	away       time.Time // since when there is no connection
	asked      time.Time // for keyframes
}

// Track is a stream of packets.
type Track struct {
	s      *Sender
	info   raw.StreamInfo
	number uint32
	level  uint8 // id of the header extension, 0 for none

	// Guarded by the Sender's mutex.

	over bool
	last uint64 // the number of the event that ended it
}

// New makes a sender. It takes from now on; Start sends.
func New(cfg Config) *Sender {
	orElse(&cfg.Queue, DefaultQueue)
	orElse(&cfg.Resend, DefaultResend)
	orElse(&cfg.Flush, DefaultFlush)
	orElse(&cfg.Stall, DefaultStall)
	orElse(&cfg.FirstPause, DefaultFirstPause)
	orElse(&cfg.LongestPause, DefaultLongestPause)
	orElse(&cfg.EndWithin, DefaultEndWithin)
	orElse(&cfg.TellAfter, DefaultTellAfter)
	orElse(&cfg.Log, slog.Default())
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Counts == nil {
		cfg.Counts = &Counts{}
	}
	if cfg.Keyframes == nil {
		cfg.Keyframes = func() {}
	}
	if cfg.Failed == nil {
		cfg.Failed = func(error) {}
	}
	cfg.Log = cfg.Log.With("component", "stream", "recording", cfg.Header.RecordingID, "call", cfg.Header.CallCID)
	s := &Sender{
		cfg: cfg, now: cfg.Now(), ending: make(chan struct{}), q: queue{max: cfg.Queue}, recent: recent{max: cfg.Resend},
		people: map[string]raw.Entry{}, muted: map[string]raw.Entry{}, floor: layout.NewLive(layout.SpeakerOptions{}, layout.FloorOptions{}),
	}
	s.base = s.now.Sub(cfg.Header.StartedAt)
	return s
}

func orElse[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// offset is a moment since the session's start.
func (s *Sender) offset(at time.Time) time.Duration { return max(0, at.Sub(s.now)+s.base) }

// Start begins to send, before End. Close ends it.
func (s *Sender) Start(ctx context.Context) {
	ctx, s.cancel = context.WithCancelCause(ctx)
	s.wg.Go(func() {
		defer s.drop()
		s.run(ctx)
	})
}

// End tells that nothing more comes, and why. What waits is sent within
// Config.EndWithin. Only the first End counts.
func (s *Sender) End(reason string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	s.q.forceGap()
	s.over = true
	s.end.Reason, s.end.At, s.end.Last = reason, s.offset(at), s.q.seq
	close(s.ending)
	if s.cancel != nil {
		s.late = time.AfterFunc(s.cfg.EndWithin, func() { s.cancel(errLate) })
	}
}

// Hurry leaves less time than Config.EndWithin, counted from now, to a sender
// whose end was told.
func (s *Sender) Hurry(within time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.late != nil {
		s.late.Reset(within)
	}
}

// Wait returns when all is sent, or given up.
func (s *Sender) Wait() { s.wg.Wait() }

// Close gives up what is not sent, and waits.
func (s *Sender) Close() error {
	if s.cancel != nil {
		s.cancel(errClosed)
	}
	s.wg.Wait()
	s.drop()
	return nil
}

// drop takes nothing any more and forgets what waits.
func (s *Sender) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.over = true
		close(s.ending)
	}
	if s.late != nil {
		s.late.Stop()
	}
	s.q = queue{seq: s.q.seq}
	s.recent = recent{}
}

// Note tells of what happened, if it is for the receiver: see Event.
func (s *Sender) Note(e raw.Entry) {
	e, ok := entryOf(e)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	switch e.Kind {
	case raw.Joined:
		s.people[e.UserSessionID] = e
	case raw.Left:
		delete(s.people, e.UserSessionID)
	case raw.Muted:
		s.muted[e.TrackID] = e
	case raw.Unmuted:
		delete(s.muted, e.TrackID)
	case raw.Removed:
		delete(s.muted, e.TrackID)
		for _, t := range s.tracks {
			if t.info.TrackID == e.TrackID && !t.over {
				t.over, t.last = true, s.q.seq+1
				s.ended++
			}
		}
	case raw.Added, raw.Started, raw.Stopped, raw.Flagged, raw.Lost, raw.Ended:
	}
	s.tell(Event{Entry: e})
	if e.Kind == raw.Left && s.floor.Leave(e.UserSessionID) || e.Kind == raw.Removed {
		s.tellSpeaker(e.At)
	}
}

// tell puts an event in the queue. The mutex is held.
func (s *Sender) tell(e Event) { s.dropped = !s.q.event(e) || s.dropped }

// tellSpeaker tells who has the floor and what shows them, if that is new.
func (s *Sender) tellSpeaker(at time.Duration) {
	id := s.floor.Holder()
	e := Event{Entry: raw.Entry{Kind: Speaker, At: at, UserSessionID: id}}
	for _, t := range s.tracks {
		if id != "" && t.info.UserSessionID == id {
			e.UserID = t.info.UserID
			if t.info.Type == event.TrackVideo && !t.over {
				e.Streams = append(e.Streams, t.number)
			}
		}
	}
	if e.UserSessionID == s.speaker.UserSessionID && slices.Equal(e.Streams, s.speaker.Streams) {
		return
	}
	s.speaker = e
	s.tell(e)
}

// Track adds a stream, whose packets Write takes.
func (s *Sender) Track(info raw.StreamInfo) *Track {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number++
	t := &Track{s: s, info: info, number: s.number}
	if !info.Video() {
		t.level = info.AudioLevelExtID
	}
	if s.over {
		t.over = true
		return t
	}
	if len(s.tracks) >= maxStreams { // while the receiver is away: it is not told again of the oldest
		if n := slices.IndexFunc(s.tracks, func(t *Track) bool { return t.over }); n >= 0 {
			s.tracks = slices.Delete(s.tracks, n, n+1)
			s.ended--
		}
	}
	s.tracks = append(s.tracks, t)
	s.tell(t.event())
	if s.floor.Holder() == info.UserSessionID {
		s.tellSpeaker(info.At)
	}
	return t
}

func (t *Track) event() Event {
	return Event{Number: t.number, Entry: raw.Entry{
		Kind: raw.Added, At: t.info.At, UserID: t.info.UserID, UserSessionID: t.info.UserSessionID, TrackID: t.info.TrackID, Stream: &t.info,
	}}
}

// Write takes a packet, or a sender report, as it arrived at that moment. It
// copies b and does not wait; without room the packet is dropped, and told of
// in a Gap.
func (t *Track) Write(b []byte, rtcp bool, at time.Time) {
	if len(b) == 0 || len(b) > 1<<16 {
		return
	}
	kind, off, s := KindRTP, t.s.offset(at), t.s
	if rtcp {
		kind = KindRTCP
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || t.over {
		return
	}
	s.end.Packets++
	s.cfg.Counts.Packets.Add(1)
	s.cfg.Counts.Bytes.Add(int64(len(b)))
	if !s.q.media(kind, t.number, off, b) {
		s.end.Lost++
		s.cfg.Counts.Lost.Add(1)
	}
	if t.level == 0 || rtcp {
		return
	}
	level, voice, ok := audioLevel(b, t.level)
	if ok && s.floor.Point(t.info.UserSessionID, layout.LevelPoint{At: off, Level: level, Voice: voice}) {
		s.tellSpeaker(off)
	}
}

// state is what a connection that goes on, or has missed events, has to be told:
// who is there, which streams there are, who is muted and who has the floor.
// Streams that ended before the number are forgotten.
func (s *Sender) state(before uint64) []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped = false
	s.prune(before)
	var out []Event
	for _, m := range []map[string]raw.Entry{s.people, s.muted} {
		for _, e := range slices.SortedFunc(maps.Values(m), func(a, b raw.Entry) int { return cmp.Compare(a.At, b.At) }) {
			out = append(out, Event{Entry: e})
		}
	}
	for _, t := range s.tracks {
		out = append(out, t.event())
	}
	if s.speaker.Kind != "" {
		out = append(out, s.speaker)
	}
	return out
}

// prune forgets streams that ended before the number: nothing of them comes any
// more, nor again. The mutex is held.
func (s *Sender) prune(before uint64) {
	if s.ended == 0 {
		return
	}
	s.tracks = slices.DeleteFunc(s.tracks, func(t *Track) bool {
		gone := t.over && t.last < before
		if gone {
			s.ended--
		}
		return gone
	})
}

// missed tells whether events were dropped and the gap is told.
func (s *Sender) missed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped && s.q.gap.Last == 0
}

func (s *Sender) isOver() bool {
	select {
	case <-s.ending:
		return true
	default:
		return false
	}
}
