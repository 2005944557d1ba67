package testkit

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Postgres starts a throw-away PostgreSQL cluster without durability on a
// unix socket and returns the address of an empty database.
func Postgres(t testing.TB) (url string) {
	t.Helper()
	bin := postgresBin()
	if bin == "" {
		t.Skip("postgresql is not installed (make setup installs it)")
	}
	cred := postgresUser(t)
	dir := shortDir(t)
	if cred != nil {
		if err := os.Chown(dir, int(cred.Uid), int(cred.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	command := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(bin, name), args...)
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: cred}
		return cmd
	}
	data := filepath.Join(dir, "data")
	out, err := command("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync").CombinedOutput()
	if err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	// SIGINT is PostgreSQL's fast shutdown.
	run(t, command("postgres", "-D", data, "-k", dir, "-c", "listen_addresses=", "-F",
		"-c", "shared_buffers=16MB", "-c", "max_connections=60"), syscall.SIGINT)
	Eventually(t, 30*time.Second, func() bool {
		// The last line of its lock file is its state.
		text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
		return err == nil && bytes.Contains(text, []byte("\nready"))
	}, "PostgreSQL is ready")
	return fmt.Sprintf("postgres://postgres@/postgres?host=%s&sslmode=disable", dir)
}

// postgresBin is the folder of the newest server installed, or "".
func postgresBin() string {
	if p, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(p)
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return ""
	}
	return filepath.Dir(found[len(found)-1])
}

// postgresUser is whom the server runs as when we are root, whom it refuses.
func postgresUser(t testing.TB) *syscall.Credential {
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		t.Skip("neither user postgres nor nobody is there to run PostgreSQL as")
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}
