package bus

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"stillwatch/internal/testkit"
)

// childEnv makes the test binary run a server and nothing else.
const childEnv = "STILLWATCH_TEST_REDIS_PARENT"

// TestRedisParent is not a test of its own: it is the process that
// TestServerDiesWithItsParent kills.
func TestRedisParent(t *testing.T) {
	dir := os.Getenv(childEnv)
	if dir == "" {
		t.Skip("run by TestServerDiesWithItsParent in a process of its own")
	}
	s := startServer(t, dir)
	fmt.Printf("pid %d\n", s.PID())
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent test ends or kills us
}

func TestServerDiesWithItsParent(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestRedisParent$", "-test.v")
	cmd.Env = append(os.Environ(), childEnv+"="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "pid "); ok {
			pid, _ = strconv.Atoi(rest)
			break
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if pid == 0 {
		t.Fatal("the server did not start")
	}
	testkit.Eventually(t, within, func() bool {
		// A zombie that nobody reaps has ended, too.
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil && syscall.Kill(pid, 0) != nil || strings.Contains(string(stat), ") Z ")
	}, "redis-server ended with the process that started it")
}
