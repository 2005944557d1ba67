package call

import (
	"context"
	"sync"
	"time"

	"stillwatch/capture"
	"stillwatch/internal/event"
)

// Defaults of Config.
const (
	DefaultMaxParticipants = 500
	DefaultMaxViewers      = 1000
	DefaultMaxPerUser      = 8
	DefaultMaxWatched      = 128
	DefaultMuteAfter       = time.Second
	// tick is how often mute and grace are looked at.
	tick = 250 * time.Millisecond
)

// Config of a Registry. Zero values mean the defaults.
type Config struct {
	// MaxParticipants bounds the publishing connections on this node,
	// MaxViewers those that only watch; MaxPerUser and MaxWatched those of one
	// user. Who is in a call of many watches each of the others over a
	// connection of its own.
	MaxParticipants, MaxViewers, MaxPerUser, MaxWatched int
	// Grace is how long a session outlives its last participant. Default 0.
	Grace time.Duration
	// MuteAfter is how long a track without packets counts as unmuted.
	MuteAfter time.Duration
	// Tracks are told of video tracks, Media of all tracks, Sessions of
	// sessions.
	Tracks   []TrackObserver
	Media    []TrackObserver
	Sessions []SessionObserver
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// Registry holds the live calls of this node. It is a service: Start, then
// Close. Its methods may be called from any goroutine.
type Registry struct {
	cfg    Config
	queue  queue
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	seats    map[*Seat]struct{}
	sessions map[string]*session // by cid
	subs     map[*subscription]struct{}
	holds    map[person]map[event.TrackType]time.Time // mutes that outlast tracks
}

// session is the mutable state of a Session, guarded by Registry.mu.
type session struct {
	Session
	in      map[*Seat]struct{}
	emptyAt time.Time
}

// New makes a registry without calls.
func New(cfg Config) *Registry {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&cfg.MaxParticipants, DefaultMaxParticipants)
	def(&cfg.MaxViewers, DefaultMaxViewers)
	def(&cfg.MaxPerUser, DefaultMaxPerUser)
	def(&cfg.MaxWatched, DefaultMaxWatched)
	if cfg.MuteAfter <= 0 {
		cfg.MuteAfter = DefaultMuteAfter
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	r := &Registry{
		cfg: cfg, seats: make(map[*Seat]struct{}), sessions: make(map[string]*session),
		subs: make(map[*subscription]struct{}), holds: make(map[person]map[event.TrackType]time.Time),
	}
	r.queue.wake = make(chan struct{}, 1)
	return r
}

// Start starts telling observers, and the watch over mute and grace.
func (r *Registry) Start(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.wg.Go(func() { r.queue.run(ctx) })
	r.wg.Go(func() {
		t := time.NewTicker(tick)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				r.look(r.cfg.Now())
			}
		}
	})
	return nil
}

// Close ends every connection and session, tells the observers, and waits.
func (r *Registry) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.end(func(*Seat) bool { return true }, "node closing")
	r.mu.Lock()
	for _, s := range r.sessions {
		r.endSessionLocked(s)
	}
	r.mu.Unlock()
	if r.cancel != nil {
		r.cancel()
	}
	r.wg.Wait()
	return nil
}

// look lifts mutes whose time is over, reports tracks that fell silent or came
// back, and ends sessions whose grace is over.
func (r *Registry) look(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.liftLocked(now)
	for seat := range r.seats {
		for _, t := range seat.tracks {
			r.tellMutedLocked(t, now)
		}
	}
	for _, s := range r.sessions {
		if !s.emptyAt.IsZero() && now.Sub(s.emptyAt) >= r.cfg.Grace {
			r.endSessionLocked(s)
		}
	}
}

func (r *Registry) endSessionLocked(s *session) {
	delete(r.sessions, s.CID)
	s.EndedAt = r.cfg.Now().UTC()
	ended := s.Session
	r.tellSessionsLocked(func(o SessionObserver) { o.SessionEnded(ended) })
}

// Live lists the live sessions.
func (r *Registry) Live() []Live {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Live, 0, len(r.sessions))
	for _, s := range r.sessions {
		l := Live{Session: s.Session}
		for seat := range s.in {
			l.Participants = append(l.Participants, seat.participantLocked())
			for _, t := range seat.tracks {
				l.Tracks = append(l.Tracks, t.info)
			}
		}
		for seat := range r.seats {
			if seat.req.Viewer && seat.cid == s.CID && seat.conn != nil {
				l.Viewers++
			}
		}
		out = append(out, l)
	}
	return out
}

// Seats is how many seats are taken, those of people who are still joining too.
func (r *Registry) Seats() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seats)
}

// Tracks lists the live tracks of a user in a call, audio too, in the order in
// which they were added.
func (r *Registry) Tracks(cid, userID string) []*Track {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tracksLocked(cid, userID)
}

func (r *Registry) tracksLocked(cid, userID string) []*Track {
	var out []*Track
	s := r.sessions[cid]
	if s == nil {
		return nil
	}
	for seat := range s.in {
		if seat.req.UserID == userID {
			out = append(out, seat.tracks...)
		}
	}
	sortTracks(out)
	return out
}

// Subscribe tells an observer of the tracks of one user in one call, those
// that are live and those to come, audio too, until stop is called.
func (r *Registry) Subscribe(cid, userID string, o TrackObserver) (stop func()) {
	s := &subscription{cid: cid, userID: userID, observer: o}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.subs[s] = struct{}{}
	for _, t := range r.tracksLocked(cid, userID) {
		r.queue.put(func() { s.tell(func(o TrackObserver) { o.TrackAdded(t) }) })
	}
	return func() {
		r.mu.Lock()
		delete(r.subs, s)
		r.mu.Unlock()
		s.stop()
	}
}

var _ capture.Track = (*Track)(nil)
