package testkit

import (
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// Redis starts a redis-server on a unix socket and returns its address, as
// redis.url takes it.
func Redis(t testing.TB) (url string) {
	t.Helper()
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("redis-server is not installed (make setup installs it)")
	}
	dir := shortDir(t)
	sock := filepath.Join(dir, "r.sock")
	cmd := exec.Command(bin, "--port", "0", "--unixsocket", sock, "--dir", dir,
		"--save", "", "--appendonly", "no", "--daemonize", "no")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	run(t, cmd, syscall.SIGTERM)
	awaitDial(t, "unix", sock)
	return "unix://" + sock
}
