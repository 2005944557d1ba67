package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// Server is a redis-server run as a child process, reachable only over a
// unix socket in the data folder. It is started again when it dies, and
// killed by the kernel when we do.
type Server struct {
	dir     string
	sockDir string // made by us when dir's path is too long for a socket
	sock    string
	log     *slog.Logger

	pid atomic.Int64

	mu     sync.Mutex
	cancel context.CancelFunc
	done   chan struct{}
}

const (
	// maxSocketPath is what sockaddr_un holds on Linux, less the final zero.
	maxSocketPath = 107
	readyWithin   = 15 * time.Second
	stopWithin    = 10 * time.Second
	restartFirst  = 100 * time.Millisecond
	restartLimit  = 5 * time.Second
)

// ErrNoRedis is returned by Start when there is no redis-server to run.
var ErrNoRedis = errors.New("redis-server is not installed: install redis-server or set redis.url")

// NewServer makes a Server that keeps its data in dir.
func NewServer(dir string) *Server {
	return &Server{dir: dir, log: slog.With("component", "redis")}
}

// URL is where Config.URL of a Bus should point. It is known after Start.
func (s *Server) URL() string { return "unix://" + s.sock }

// PID is the child's process id, 0 while there is none.
func (s *Server) PID() int { return int(s.pid.Load()) }

// Start runs redis-server and returns once it answers.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done != nil {
		return nil
	}
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		return ErrNoRedis
	}
	quietRedis()
	if err := s.prepare(); err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	run, cancel := context.WithCancel(context.Background())
	first := make(chan error, 1)
	s.cancel, s.done = cancel, make(chan struct{})
	go s.supervise(run, bin, first)
	if err := s.awaitReady(ctx, first); err != nil {
		cancel()
		<-s.done
		return err
	}
	return nil
}

func (s *Server) prepare() (err error) {
	if s.dir, err = filepath.Abs(s.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	s.sock = filepath.Join(s.dir, "redis.sock")
	if len(s.sock) > maxSocketPath {
		if s.sockDir, err = os.MkdirTemp("", "stillwatch-redis-"); err != nil {
			return err
		}
		s.sock = filepath.Join(s.sockDir, "redis.sock")
	}
	return nil
}

// awaitReady pings until the server answers, or the child has ended once.
func (s *Server) awaitReady(ctx context.Context, first <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	c := redis.NewClient(&redis.Options{Network: "unix", Addr: s.sock, MaxRetries: -1, DialerRetries: 1})
	defer c.Close()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := c.Ping(ctx).Err(); err == nil {
			return nil
		}
		select {
		case err := <-first:
			return fmt.Errorf("start redis-server: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("start redis-server: no answer: %w", context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// supervise runs the child again and again until ctx ends. It stays on one
// OS thread: the kernel sends the parent-death signal when the thread that
// started the child ends, not the process.
func (s *Server) supervise(ctx context.Context, bin string, first chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(s.done)
	wait := backoff{first: restartFirst, limit: restartLimit}
	for {
		began := time.Now()
		err := s.run(ctx, bin)
		if ctx.Err() != nil {
			return
		}
		select {
		case first <- err:
		default:
		}
		s.log.Error("redis-server ended; starting it again", "err", err)
		if time.Since(began) > restartLimit {
			wait.reset()
		}
		wait.sleep(ctx)
	}
}

// run runs the child once and waits for its end.
func (s *Server) run(ctx context.Context, bin string) error {
	var out tailBuffer
	cmd := exec.Command(bin, "--port", "0", "--unixsocket", s.sock, "--unixsocketperm", "700",
		"--dir", s.dir, "--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
		"--aof-load-truncated", "yes", "--daemonize", "no", "--maxmemory-policy", "noeviction",
		"--loglevel", "notice", "--logfile", "")
	cmd.Stdout, cmd.Stderr = &out, &out
	// A process group of its own keeps Ctrl-C for us: we stop it in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.pid.Store(int64(cmd.Process.Pid))
	defer s.pid.Store(0)
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	select {
	case err := <-exited:
		return fmt.Errorf("%w: %s", orExit(err), out.last())
	case <-ctx.Done():
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-exited:
	case <-time.After(stopWithin):
		_ = cmd.Process.Kill()
		<-exited
	}
	return nil
}

func orExit(err error) error {
	if err == nil {
		return errors.New("it ended by itself")
	}
	return err
}

// Close stops the server and waits for it.
func (s *Server) Close() error {
	s.mu.Lock()
	cancel, done := s.cancel, s.done
	s.mu.Unlock()
	if done == nil {
		return nil
	}
	cancel()
	<-done
	if s.sockDir != "" {
		return os.RemoveAll(s.sockDir)
	}
	return nil
}

// tailBuffer keeps the last lines of the child's output.
type tailBuffer struct {
	mu  sync.Mutex
	buf []byte
}

// Write implements io.Writer.
func (t *tailBuffer) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - 4096; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tailBuffer) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := bytes.Split(bytes.TrimSpace(t.buf), []byte("\n"))
	lines = lines[max(0, len(lines)-3):]
	return strings.TrimSpace(string(bytes.Join(lines, []byte(" / "))))
}
