// Package whep lets participants and moderators watch a participant of a call
// by WHEP (draft-ietf-wish-whep): the publisher's packets are forwarded as they
// are, without transcoding.
//
// POST {prefix}/{type}/{id}/{user} with an SDP offer whose sections are
// recvonly. Each section gets one of the user's tracks of its kind, the camera
// before the screen share; ?source=camera or ?source=screen_share takes only
// those, and ?rid= a certain simulcast layer instead of the largest. When the
// user publishes again with the same codecs, the viewer sees the new tracks.
package whep

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"stillwatch/capture/call"
	"stillwatch/capture/ingest"
	"stillwatch/capture/ingest/rtc"
)

// Defaults of Config.
const (
	DefaultPrefix         = "/whep"
	DefaultConnectTimeout = 10 * time.Second
)

// Config of a Server.
type Config struct {
	// Prefix is the path under which the server is mounted.
	Prefix string
	// Transport, Registry, Auth and Gatekeeper are needed.
	Transport  *rtc.Transport
	Registry   *call.Registry
	Auth       ingest.Authenticator
	Gatekeeper ingest.Gatekeeper
	// ConnectTimeout is how long a client may take from its offer until it is
	// connected.
	ConnectTimeout time.Duration
	// Logger receives the server's messages. Default slog.Default.
	Logger *slog.Logger
}

// Server is the WHEP endpoint. It is a service, Start before it serves and
// Close after, and an http.Handler.
type Server struct {
	cfg    Config
	log    *slog.Logger
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	sessions map[string]*session
}

// New makes a server without viewers.
func New(cfg Config) *Server {
	if cfg.Prefix == "" {
		cfg.Prefix = DefaultPrefix
	}
	if cfg.ConnectTimeout <= 0 {
		cfg.ConnectTimeout = DefaultConnectTimeout
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Server{cfg: cfg, log: cfg.Logger.With("component", "whep"), sessions: make(map[string]*session)}
}

// lookInterval is how often viewers that wait for a keyframe ask again, and
// layers that fell silent are left.
const lookInterval = 500 * time.Millisecond

// Start starts looking after the viewers.
func (s *Server) Start(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.wg.Go(func() {
		t := time.NewTicker(lookInterval)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				for _, ses := range s.all() {
					ses.look()
				}
			}
		}
	})
	return nil
}

// Close ends every viewer's connection and waits.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	var wg sync.WaitGroup
	for _, ses := range s.all() {
		wg.Go(func() { ses.End("server closing") })
	}
	wg.Wait()
	if s.cancel != nil {
		s.cancel()
	}
	s.wg.Wait()
	return nil
}

func (s *Server) all() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*session, 0, len(s.sessions))
	for _, ses := range s.sessions {
		out = append(out, ses)
	}
	return out
}

// ServeHTTP serves the endpoint and its sessions.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := s.serve(w, r); err != nil {
		ingest.WriteError(w, s.log, err)
	}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) error {
	rest, ok := strings.CutPrefix(r.URL.Path, s.cfg.Prefix+"/")
	parts := strings.Split(strings.TrimSuffix(rest, "/"), "/")
	if !ok || len(parts) < 3 || len(parts) > 4 {
		return ingest.Refuse(http.StatusNotFound, "there is %s/{type}/{id}/{user}, and below it the sessions", s.cfg.Prefix)
	}
	if len(parts) == 4 {
		return s.serveSession(w, r, parts[0]+":"+parts[1], parts[3])
	}
	const methods = "OPTIONS, POST"
	if ingest.CORS(w, r, methods) {
		return nil
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", methods)
		return ingest.Refuse(http.StatusMethodNotAllowed, "POST an SDP offer here")
	}
	return s.watch(w, r, target{callType: parts[0], callID: parts[1], userID: parts[2]})
}

func (s *Server) serveSession(w http.ResponseWriter, r *http.Request, cid, id string) error {
	const methods = "OPTIONS, PATCH, DELETE"
	if ingest.CORS(w, r, methods) {
		return nil
	}
	who, err := ingest.Bearer(r, s.cfg.Auth)
	if err != nil {
		return err
	}
	s.mu.Lock()
	ses := s.sessions[id]
	s.mu.Unlock()
	if ses == nil || ses.seat.CID() != cid {
		return ingest.Refuse(http.StatusNotFound, "there is no such session: it has ended, or never was")
	}
	if !who.Server && who.UserID != ses.seat.UserID() {
		return ingest.Refuse(http.StatusForbidden, "the session belongs to another user")
	}
	switch r.Method {
	case http.MethodPatch:
		return ses.peer.ServePatch(w, r)
	case http.MethodDelete:
		ses.End("left")
		w.WriteHeader(http.StatusOK)
		return nil
	}
	w.Header().Set("Allow", methods)
	return ingest.Refuse(http.StatusMethodNotAllowed, "a session takes PATCH and DELETE")
}

func (s *Server) add(ses *session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return call.ErrClosed
	}
	s.sessions[ses.seat.ID()] = ses
	return nil
}

func (s *Server) remove(ses *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, ses.seat.ID())
}

// endLater ends a session from a callback, which itself must not wait.
func (s *Server) endLater(ses *session, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed { // Close ends all itself
		s.wg.Go(func() { ses.End(reason) })
	}
}

// target is whom to watch.
type target struct{ callType, callID, userID string }

func (t target) cid() string { return t.callType + ":" + t.callID }

func (t target) check() error {
	return errors.Join(ingest.CheckName("the call type", t.callType),
		ingest.CheckName("the call id", t.callID), ingest.CheckName("the user id", t.userID))
}
