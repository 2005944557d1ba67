// Package whip lets browsers and encoders publish into a call by WHIP
// (RFC 9725).
//
// POST {prefix}/{type}/{id} with an SDP offer and a user's token makes a user
// session; the answer's Location is where candidates are trickled and ICE is
// restarted by PATCH (RFC 8840), and what DELETE ends.
//
// A media section is a screen share, rather than a camera or a microphone, if
// it says a=content:slides (RFC 4796), if the stream id of its a=msid begins
// with "screen", or if the request has ?source=screen_share.
//
// With ?record_type=audio or ?record_type=video nothing but the sound, or the
// pictures, of the connection is recorded, if the Gatekeeper agrees.
package whip

import (
	"context"
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
	DefaultPrefix         = "/whip"
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

// Server is the WHIP endpoint. It is a service, Start before it serves and
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

// New makes a server without sessions.
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
	return &Server{cfg: cfg, log: cfg.Logger.With("component", "whip"), sessions: make(map[string]*session)}
}

// Start starts sending feedback to publishers.
func (s *Server) Start(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.wg.Go(func() { s.feedback(ctx) })
	return nil
}

// Close ends every session and waits.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	var all []*session
	for _, ses := range s.sessions {
		all = append(all, ses)
	}
	s.mu.Unlock()
	var wg sync.WaitGroup
	for _, ses := range all {
		wg.Go(func() { ses.End("server closing") })
	}
	wg.Wait()
	if s.cancel != nil {
		s.cancel()
	}
	s.wg.Wait()
	return nil
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
	if !ok || len(parts) < 2 || len(parts) > 3 {
		return ingest.Refuse(http.StatusNotFound, "there is %s/{type}/{id}, and below it the sessions", s.cfg.Prefix)
	}
	if len(parts) == 2 {
		return s.serveEndpoint(w, r, parts[0], parts[1])
	}
	return s.serveSession(w, r, parts[0]+":"+parts[1], parts[2])
}

func (s *Server) serveEndpoint(w http.ResponseWriter, r *http.Request, callType, callID string) error {
	const methods = "OPTIONS, POST"
	if ingest.CORS(w, r, methods) {
		return nil
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", methods)
		return ingest.Refuse(http.StatusMethodNotAllowed, "POST an SDP offer here")
	}
	return s.publish(w, r, callType, callID)
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

// add keeps a session until it ends.
func (s *Server) add(ses *session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return call.ErrClosed
	}
	s.sessions[ses.id] = ses
	return nil
}

func (s *Server) remove(ses *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, ses.id)
}

// endLater ends a session from a callback, which itself must not wait.
func (s *Server) endLater(ses *session, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed { // Close ends all itself
		s.wg.Go(func() { ses.End(reason) })
	}
}

// feedbackTick is how often lost packets are asked for; reports and transport
// feedback go out at every second one.
const feedbackTick = 50 * time.Millisecond

// feedback sends to every publisher what the gate saw of them. Half of them
// are served at each tick, so that the work is spread.
func (s *Server) feedback(ctx context.Context) {
	t := time.NewTicker(feedbackTick)
	defer t.Stop()
	var list []*session
	for n := uint(0); ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		list = list[:0]
		s.mu.Lock()
		for _, ses := range s.sessions {
			list = append(list, ses)
		}
		s.mu.Unlock()
		now := time.Now()
		for _, ses := range list {
			ses.feedback(now, (n+ses.turn)%2 == 0)
		}
		clear(list)
	}
}
