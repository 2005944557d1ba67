//go:build amd64 || arm64

package jail

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Init has to be called first thing in main, and in TestMain of packages that
// use Run. In a process that is a launcher it does not return; in any other it
// lets Run work.
func Init() {
	told, ok := os.LookupEnv(marker)
	if !ok {
		initialised.Store(true)
		return
	}
	// All that follows holds for this thread alone, which the command inherits.
	runtime.LockOSThread()
	err := launch(told)
	fmt.Fprint(os.Stderr, launchWords, err)
	os.Exit(launchFailed)
}

// launch becomes the command. The order matters: capabilities are needed by
// none of the steps after them, rulesets need descriptors, and the filter
// denies much of what stands before it.
func launch(told string) error {
	var p policy
	if err := json.Unmarshal([]byte(told), &p); err != nil {
		return fmt.Errorf("read what to do: %w", err)
	}
	// Descriptors that a library of the parent's left open are not for it.
	_ = unix.CloseRange(uint(3+p.Files), ^uint(0)>>32, unix.CLOSE_RANGE_CLOEXEC)
	yield(p.Nice)
	if err := shed(p.Parent); err != nil {
		return err
	}
	if err := restrictPaths(p); err != nil {
		return err
	}
	args, environ := os.Args, environment(p)
	if err := limit(p); err != nil {
		return err
	}
	if err := filterCalls(); err != nil {
		return err
	}
	return fmt.Errorf("execute %s: %w", p.Path, syscall.Exec(p.Path, args, environ))
}

// yield makes the command the first to wait and the first to go.
func yield(nice int) {
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, nice)
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("500"), 0)
	unix.Umask(0o077)
}

// shed gives up what root could do besides owning files. The user stays: the
// files in the command's folder are ours alone to read, and to hand them over
// to another user and back would leave a time in which they are not.
func shed(parent int) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		_ = unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
	}
	_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&head, &none[0]); err != nil {
		return fmt.Errorf("give up capabilities: %w", err)
	}
	// A change of credentials forgets the parent's death signal: ask again,
	// and see that the parent did not die in between.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("ask for the parent's death signal: %w", err)
	}
	if os.Getppid() != parent {
		return errors.New("the parent is gone")
	}
	return nil
}

// limit sets the resource limits. Private memory is what counts; the address
// space is larger by what is mapped and never touched.
func limit(p policy) error {
	for _, l := range []struct {
		resource int
		value    uint64
	}{
		{unix.RLIMIT_CORE, 0},
		{unix.RLIMIT_MEMLOCK, 64 << 10},
		{unix.RLIMIT_MSGQUEUE, 0},
		{unix.RLIMIT_NOFILE, 1024},
		{unix.RLIMIT_FSIZE, uint64(p.FileSize)},
		{unix.RLIMIT_DATA, uint64(p.Memory)},
		{unix.RLIMIT_AS, uint64(p.Memory)*2 + 1<<30},
	} {
		var old syscall.Rlimit
		if err := syscall.Getrlimit(l.resource, &old); err != nil {
			return fmt.Errorf("read limit %d: %w", l.resource, err)
		}
		value := min(l.value, old.Max)
		// Not unix.Setrlimit: this one also keeps Exec from setting the number
		// of descriptors back.
		if err := syscall.Setrlimit(l.resource, &syscall.Rlimit{Cur: value, Max: value}); err != nil {
			return fmt.Errorf("set limit %d: %w", l.resource, err)
		}
	}
	return nil
}

// environment is all that a command is told of the world. Without a bound on
// its arenas, glibc reserves 64 MiB for each thread.
func environment(p policy) []string {
	path := []string{"/usr/local/bin", "/usr/bin", "/bin"}
	return []string{
		"PATH=" + strings.Join(append(path, filepath.Dir(p.Path)), ":"),
		"HOME=" + p.Dir, "TMPDIR=" + p.Dir, "LANG=C.UTF-8", "TZ=UTC",
		"MALLOC_ARENA_MAX=4", "AV_LOG_FORCE_NOCOLOR=1",
	}
}
