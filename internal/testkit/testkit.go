// Package testkit gives tests what they need around them: real servers of
// their own, a clock they move, and waiting with a deadline. Only tests
// import it.
package testkit

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Main runs the tests and fails when they leave a goroutine behind. Call it
// from TestMain.
func Main(m *testing.M) {
	goleak.VerifyTestMain(hangingUp{m},
		// database/sql's opener ends a moment after Close returned.
		goleak.IgnoreTopFunction("database/sql.(*DB).connectionOpener"),
	)
}

// hangingUp closes the idle connections of the default HTTP transport, which
// tests use to ask servers of their own, before leaks are looked for.
type hangingUp struct{ m *testing.M }

// Run runs the tests.
func (h hangingUp) Run() int {
	defer http.DefaultClient.CloseIdleConnections()
	return h.m.Run()
}

// Eventually polls cond until it holds, and fails the test after deadline.
func Eventually(t testing.TB, deadline time.Duration, cond func() bool, what ...any) {
	t.Helper()
	timeout := time.NewTimer(deadline)
	defer timeout.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-timeout.C:
			t.Fatalf("not so within %s: %v", deadline, what)
		case <-tick.C:
		}
	}
}

// FreePort returns a port of 127.0.0.1 that is free now, for UDP and for TCP.
// It lies below the ports that the kernel gives to outgoing connections
// (32768 and above), so that none of those takes it before it is used.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := 20000 + rand.IntN(12000)
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		c, err := net.ListenPacket("udp", addr)
		l.Close()
		if err != nil {
			continue
		}
		c.Close()
		return port
	}
	t.Fatal("no free port from 20000 to 31999")
	return 0
}

// ModuleRoot is the folder of go.mod.
func ModuleRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the working directory")
		}
		dir = parent
	}
}

// shortDir is a temporary folder whose path leaves room for a socket's name.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// run starts a server and ends it, by its own process id, with the test or
// when end is called. stop is the signal that ends it in order.
func run(t testing.TB, cmd *exec.Cmd, stop syscall.Signal) (end func()) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", cmd.Path, err)
	}
	exited := make(chan struct{})
	go func() { defer close(exited); _ = cmd.Wait() }()
	end = func() {
		_ = cmd.Process.Signal(stop)
		select {
		case <-exited:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-exited
		}
	}
	t.Cleanup(func() {
		end()
		if t.Failed() {
			if text, err := os.ReadFile(out.Name()); err == nil {
				t.Logf("%s said:\n%s", filepath.Base(cmd.Path), text[max(0, len(text)-4000):])
			}
		}
		_ = out.Close()
	})
	return end
}

// awaitDial waits until something listens.
func awaitDial(t testing.TB, network, addr string) {
	t.Helper()
	Eventually(t, 30*time.Second, func() bool {
		c, err := net.DialTimeout(network, addr, time.Second)
		if err != nil {
			return false
		}
		_ = c.Close()
		return true
	}, "listens:", addr)
}
