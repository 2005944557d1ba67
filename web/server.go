package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
)

// Time limits of the HTTP server. A handler of the API has handlerTimeout; an
// event stream sets its own write deadline before every event.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 2 * time.Minute
	handlerTimeout    = 10 * time.Second
	shutdownTimeout   = 5 * time.Second
	maxHeaderBytes    = 128 << 10 // a token is at most 64 KiB
)

// Server answers HTTP. Make it with New.
type Server struct {
	cfg  Config
	log  *slog.Logger
	echo *echo.Echo
	hub  *hub
	http *http.Server

	limits *limiter

	mu       sync.Mutex
	listener net.Listener
	closed   bool
	wg       sync.WaitGroup
}

// New makes a server; nothing runs before Start. It panics when a field of
// Config that is needed is missing, which is a wiring bug.
func New(cfg Config) *Server {
	cfg.fillIn()
	if cfg.DB == nil || cfg.Auth == nil || cfg.Actions == nil || cfg.Live == nil || cfg.Signer == nil {
		panic("web: Config lacks DB, Auth, Actions, Live or Signer")
	}
	s := &Server{cfg: cfg, log: cfg.Log, hub: newHub(cfg), limits: newLimiter(cfg.RateLimit, cfg.Now)}
	s.echo = s.routes()
	s.http = &http.Server{
		Handler:           s.echo,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
	}
	return s
}

// Handler is the whole server as a handler, for tests. The live stream needs
// Start.
func (s *Server) Handler() http.Handler { return s.echo }

// Start seeds the call type "default", begins to follow live events, and
// listens. Addr tells where.
func (s *Server) Start(ctx context.Context) error {
	if err := Seed(ctx, s.cfg.DB, s.cfg.DefaultMode); err != nil {
		return err
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.cfg.Listen, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.Join(errors.New("start web: closed"), ln.Close())
	}
	s.listener = ln
	s.hub.start()
	s.wg.Go(func() {
		if err := s.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("stopped serving", "error", err)
		}
	})
	return nil
}

// Addr is the address that Start bound, or "" before it.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// Close ends the live streams, lets requests that are under way finish for up
// to five seconds, and stops.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.hub.close()
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	s.wg.Wait()
	return err
}
