package testkit

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// RedisServer is a redis-server on a port of 127.0.0.1 that wants a password.
// A test can stop and start it; what it held is there again after a stop in
// order.
type RedisServer struct {
	// URL has the password in it.
	URL  string
	t    testing.TB
	args []string
	addr string
	end  func()
}

// RedisTCP starts a RedisServer.
func RedisTCP(t testing.TB) *RedisServer {
	t.Helper()
	const password = "redis-secret"
	port, dir := FreePort(t), shortDir(t)
	s := &RedisServer{t: t, addr: fmt.Sprintf("127.0.0.1:%d", port), URL: fmt.Sprintf("redis://:%s@127.0.0.1:%d/0", password, port)}
	s.args = strings.Fields(fmt.Sprintf(
		"--bind 127.0.0.1 --port %d --requirepass %s --dir %s --appendonly yes --appendfsync always --daemonize no", port, password, dir))
	s.Start()
	return s
}

// Start starts the server after Stop.
func (s *RedisServer) Start() {
	s.t.Helper()
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		s.t.Skip("redis-server is not installed (make setup installs it)")
	}
	cmd := exec.Command(bin, s.args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.end = run(s.t, cmd, syscall.SIGTERM)
	awaitDial(s.t, "tcp", s.addr)
}

// Stop ends the server.
func (s *RedisServer) Stop() { s.end() }
