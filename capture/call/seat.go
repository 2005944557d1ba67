package call

import (
	"slices"
	"time"

	"stillwatch/capture"
	"stillwatch/internal/event"
)

// Request asks for a seat in a call.
type Request struct {
	CallType, CallID string
	UserID, Role     string
	// Viewer tells that the connection only watches: it is subject to
	// enforcement but is no participant.
	Viewer bool
}

// Seat is a user's place in a call: taken before the user is admitted, so that
// a disconnect that comes while they join is not missed.
type Seat struct {
	r   *Registry
	id  string
	cid string
	req Request

	// Below, guarded by Registry.mu.

	revoked bool
	left    bool
	conn    Conn
	session *session
	joined  Participant
	tracks  []*Track
}

// Take takes a seat. Leave it when done, also when the user is not admitted.
func (r *Registry) Take(req Request) (*Seat, error) {
	s := &Seat{r: r, id: event.NewID(), cid: req.CallType + ":" + req.CallID, req: req}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	var same, user int
	for other := range r.seats {
		if other.req.Viewer != req.Viewer {
			continue
		}
		same++
		if other.req.UserID == req.UserID {
			user++
		}
	}
	limit, perUser := r.cfg.MaxParticipants, r.cfg.MaxPerUser
	if req.Viewer {
		limit, perUser = r.cfg.MaxViewers, r.cfg.MaxWatched
	}
	if same >= limit {
		return nil, ErrFull
	}
	if user >= perUser {
		return nil, ErrTooMany
	}
	r.seats[s] = struct{}{}
	return s, nil
}

// ID is the id of the user session; it cannot be guessed.
func (s *Seat) ID() string { return s.id }

// CID is the call.
func (s *Seat) CID() string { return s.cid }

// UserID is the user.
func (s *Seat) UserID() string { return s.req.UserID }

// Attach gives the seat its connection, which enforcement can end from then on.
func (s *Seat) Attach(c Conn) error {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	if s.revoked || s.left {
		return ErrRemoved
	}
	s.conn = c
	return nil
}

// Join makes the user a participant, and starts the session if they are the
// first. Joining again does nothing.
func (s *Seat) Join() error {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	return s.joinLocked()
}

func (s *Seat) joinLocked() error {
	if s.revoked || s.left {
		return ErrRemoved
	}
	if s.session != nil {
		return nil
	}
	r := s.r
	now := r.cfg.Now().UTC()
	ses := r.sessions[s.cid]
	if ses == nil {
		ses = &session{
			Session: Session{
				CID: s.cid, CallType: s.req.CallType, CallID: s.req.CallID, ID: event.NewID(), StartedAt: now,
			},
			in: make(map[*Seat]struct{}),
		}
		r.sessions[s.cid] = ses
		started := ses.Session
		r.tellSessionsLocked(func(o SessionObserver) { o.SessionStarted(started) })
	}
	ses.emptyAt = time.Time{}
	ses.in[s] = struct{}{}
	s.session = ses
	s.joined = Participant{UserID: s.req.UserID, Role: s.req.Role, UserSessionID: s.id, JoinedAt: now}
	p := s.participantLocked()
	r.tellSessionsLocked(func(o SessionObserver) { o.ParticipantJoined(p) })
	return nil
}

func (s *Seat) participantLocked() Participant {
	p := s.joined
	if s.session != nil {
		p.Session = s.session.Session
	}
	return p
}

// AddTrack adds a track with its first layer, joining if that is still to be
// done. The rest of what TrackInfo says is filled in.
func (s *Seat) AddTrack(info capture.TrackInfo, codec Codec, l LayerConfig) (*Track, error) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	if err := s.joinLocked(); err != nil {
		return nil, err
	}
	info.ID = event.NewID()
	info.CID, info.CallType = s.cid, s.req.CallType
	info.SessionID, info.UserID, info.UserSessionID = s.session.ID, s.req.UserID, s.id
	now := s.r.cfg.Now()
	t := newTrack(s.r, info, codec, now)
	s.r.admitLocked(t, now)
	t.addLayer(l)
	s.tracks = append(s.tracks, t)
	s.r.tellTrackLocked(t, func(o TrackObserver) { o.TrackAdded(t) })
	return t, nil
}

// Leave gives the seat up: its tracks end, and the session if it was the last.
// It returns when no packet of the seat is forwarded any more; the sources of
// its layers must have been closed before. Leaving twice does nothing.
func (s *Seat) Leave(reason string) {
	tracks := s.leave(reason)
	for _, t := range tracks {
		t.wait()
	}
}

func (s *Seat) leave(reason string) []*Track {
	r := s.r
	r.mu.Lock()
	defer r.mu.Unlock()
	tracks := slices.Clone(s.tracks)
	if s.left {
		return tracks
	}
	s.left = true
	delete(r.seats, s)
	for _, t := range tracks {
		t.cut()
		r.tellTrackLocked(t, func(o TrackObserver) { o.TrackRemoved(t.info.ID) })
	}
	if s.session == nil {
		return tracks
	}
	now := r.cfg.Now()
	p := s.participantLocked()
	p.LeftAt = now.UTC()
	r.tellSessionsLocked(func(o SessionObserver) { o.ParticipantLeft(p, reason) })
	delete(s.session.in, s)
	if len(s.session.in) == 0 {
		s.session.emptyAt = now
		if r.cfg.Grace <= 0 && r.sessions[s.cid] == s.session {
			r.endSessionLocked(s.session)
		}
	}
	return tracks
}
