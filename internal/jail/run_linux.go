//go:build amd64 || arm64

package jail

import (
	"context"
	"encoding/json"
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

	"golang.org/x/sys/unix"
)

const (
	// marker is the variable that makes this program a launcher.
	marker = "STILLWATCH_JAIL"
	// launchFailed is the exit code of a launcher that could not become the
	// command, and launchWords is how what it says of that begins.
	launchFailed = 125
	launchWords  = "stillwatch jail: "
	// ioPatience is how long the ends of a command's pipes may stay open
	// after it has ended.
	ioPatience = 5 * time.Second
)

// policy is what the launcher is told.
type policy struct {
	Path     string
	Dir      string
	ReadOnly []string
	Parent   int
	Files    int
	Memory   int64
	FileSize int64
	Nice     int
}

var initialised atomic.Bool

var logProtection = sync.OnceFunc(func() {
	if p := Supported(); !p.Whole() {
		slog.Warn("the kernel gives commands on strangers' media less protection than it should", "component", "jail", "landlock", p.Landlock, "seccomp", p.Seccomp)
	}
})

// Run runs a command in the jail and waits for it. It returns nil when the
// command exits with 0; ErrNotInstalled, ErrUninitialised; or an *Error. The
// command and all that it started are killed when ctx ends, when its time is
// over, and when this program dies.
func Run(ctx context.Context, c Command) error {
	if !initialised.Load() {
		return fmt.Errorf("run %s: %w", c.Name, ErrUninitialised)
	}
	logProtection()
	p, err := newPolicy(c)
	if err != nil {
		return err
	}
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Timeout)
		defer cancel()
	}
	if err := ctx.Err(); err != nil {
		return &Error{Name: c.Name, ExitCode: -1, Err: err}
	}
	words := &tail{}
	cmd, err := launcher(ctx, c, p, words)
	if err != nil {
		return err
	}
	// The kernel sends the parent's death signal when the thread that forked
	// ends, not the process: keep it as long as the command runs.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", c.Name, err)
	}
	// Look before the command is reaped: until then, nobody else can have its
	// number, and what it left behind in its group can be killed by it.
	awaitExit(cmd.Process.Pid)
	_ = killGroup(cmd.Process.Pid)
	return outcome(ctx, c.Name, cmd.Wait(), words)
}

func newPolicy(c Command) (policy, error) {
	p := policy{
		Parent: os.Getpid(), Files: len(c.ExtraFiles),
		Memory: c.MaxMemory, FileSize: c.MaxFileSize, Nice: min(max(c.Nice, 0), 19),
	}
	if p.Memory <= 0 {
		p.Memory = DefaultMaxMemory
	}
	if p.FileSize <= 0 {
		p.FileSize = DefaultMaxFileSize
	}
	path, err := exec.LookPath(c.Name)
	if err != nil {
		return p, missing(c.Name)
	}
	if p.Path, err = filepath.Abs(path); err != nil {
		return p, fmt.Errorf("find %s: %w", c.Name, err)
	}
	if c.Dir == "" {
		return p, fmt.Errorf("run %s: no folder to work in", c.Name)
	}
	if p.Dir, err = filepath.Abs(c.Dir); err != nil {
		return p, fmt.Errorf("find folder of %s: %w", c.Name, err)
	}
	for _, path := range c.ReadOnly {
		abs, err := filepath.Abs(path)
		if err != nil {
			return p, fmt.Errorf("find what %s reads: %w", c.Name, err)
		}
		p.ReadOnly = append(p.ReadOnly, abs)
	}
	return p, nil
}

// launcher is this program once more, with nothing of the environment but
// where its own libraries are found.
func launcher(ctx context.Context, c Command, p policy, words *tail) (*exec.Cmd, error) {
	told, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("tell the launcher of %s: %w", c.Name, err)
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = append([]string{c.Name}, c.Args...)
	cmd.Dir = p.Dir
	cmd.Env = []string{marker + "=" + string(told), "GOGC=off", "GOMAXPROCS=1"}
	if path, ok := os.LookupEnv("LD_LIBRARY_PATH"); ok {
		cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH="+path)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, c.Stdout, words
	cmd.ExtraFiles = c.ExtraFiles
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return killGroup(cmd.Process.Pid) }
	cmd.WaitDelay = ioPatience
	return cmd, nil
}

// awaitExit returns when a child has ended, and leaves it to be reaped.
func awaitExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

func killGroup(pid int) error {
	err := unix.Kill(-pid, unix.SIGKILL)
	if errors.Is(err, unix.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

func outcome(ctx context.Context, name string, err error, words *tail) error {
	if err == nil {
		return nil
	}
	e := &Error{Name: name, ExitCode: -1, Stderr: words.String()}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		e.Err = ctx.Err()
	case errors.As(err, &exit):
		e.ExitCode = exit.ExitCode()
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			e.Signal = status.Signal().String()
		}
		if said, ok := strings.CutPrefix(e.Stderr, launchWords); ok && e.ExitCode == launchFailed {
			e.Err, e.Stderr = ErrLaunch, said
		}
	default: // its input or output broke
		e.Err = err
	}
	return e
}
