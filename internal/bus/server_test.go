package bus

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

func startServer(t *testing.T, dir string) *Server {
	t.Helper()
	s := NewServer(dir)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 2 {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return s
}

func TestServerClosesBeforeStart(t *testing.T) {
	t.Parallel()
	if err := NewServer(t.TempDir()).Close(); err != nil {
		t.Error(err)
	}
}

func TestServerMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if err := NewServer(t.TempDir()).Start(t.Context()); !errors.Is(err, ErrNoRedis) {
		t.Errorf("got %v", err)
	}
}

func TestServerThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "appendonlydir"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := NewServer(dir)
	err := s.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "appendonlydir") {
		t.Errorf("got %v, want the reason redis-server gives", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestServerInADeepFolder(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("deep/", 30))
	s := startServer(t, dir)
	openBus(t, Config{URL: s.URL()})
	if n := len(s.sock); n > maxSocketPath {
		t.Errorf("the socket's path has %d bytes", n)
	}
}

// TestServerKilled kills redis-server while events flow: it comes back with
// what it had, and publishing and consuming go on by themselves.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir())
	b := openBus(t, quick(s.URL()))
	var seen log
	var tails atomic.Int32
	consume(t, b, Subscription{Topic: event.TopicActions, Group: "g", Consumer: "c", Handler: seen.handle})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = b.Tail(ctx, event.TopicActions, func(event.Envelope) { tails.Add(1) })
	}()
	defer func() { cancel(); <-done }()
	kept := publish(t, b, event.TopicActions, "k", "k", "k")
	testkit.Eventually(t, within, func() bool { return seen.len() == 3 })

	pid := s.PID()
	killed := time.Now()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ev := event.New("test", "k", time.Now(), 1)
	testkit.Eventually(t, within, func() bool { return b.Publish(ctx, event.TopicActions, ev) == nil }, "publishing again")
	had := tails.Load()
	testkit.Eventually(t, within, func() bool { return len(seen.ids("k")) >= 4 }, "consuming again")
	testkit.Eventually(t, within, func() bool { return tails.Load() > had || tails.Load() > 3 }, "tailing again")
	t.Logf("events flow again %s after SIGKILL", time.Since(killed))
	if took := time.Since(killed); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	if s.PID() == pid || s.PID() == 0 {
		t.Errorf("the process is %d, was %d", s.PID(), pid)
	}
	if n := b.rdb.XLen(ctx, b.stream(event.TopicActions)).Val(); n < int64(len(kept)) {
		t.Errorf("%d entries are left of %d", n, len(kept))
	}
}

func TestServerKeepsItsDataOverRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 2 {
		s := NewServer(dir)
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		b, err := Open(t.Context(), Config{URL: s.URL()})
		if err != nil {
			t.Fatal(err)
		}
		if n := b.rdb.XLen(t.Context(), b.stream(event.TopicActions)).Val(); n != int64(i) {
			t.Errorf("start %d: %d entries", i, n)
		}
		publish(t, b, event.TopicActions, "k")
		if err := errors.Join(b.Close(), s.Close()); err != nil {
			t.Error(err)
		}
		if s.PID() != 0 {
			t.Error("it still runs")
		}
	}
}
