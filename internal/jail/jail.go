// Package jail runs ffmpeg and the like on strangers' media, locked in: one
// folder to write to, the system's libraries to read, no network, no other
// programs, and limits of memory and file size.
//
// A command is started through this same program, executed once more as its
// launcher: the launcher shuts the door behind itself (rlimits, capabilities,
// no_new_privs, Landlock, a seccomp filter) and only then becomes the command.
// What the kernel does not know of that is left out, which is logged once.
//
// ffmpeg answers 0 when one of its inputs ends in an error, such as too little
// memory: give it -xerror, and look at what it made.
//
// The jail hides what files hold, not that they exist: Landlock does not stop
// a stat of a path outside.
package jail

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// Defaults of a command's limits.
const (
	// DefaultMaxMemory is what a command may have of private memory, in bytes:
	// enough for an encoder of 1440p with a dozen decoders beside it.
	DefaultMaxMemory = 4 << 30
	// DefaultMaxFileSize is how large a file a command may write, in bytes.
	DefaultMaxFileSize = 64 << 30
	// stderrTail is how much of a failed command's last words is kept.
	stderrTail = 4 << 10
)

// Command is what Run runs.
type Command struct {
	// Name of the command, looked up on PATH: "ffmpeg", "ffprobe".
	Name string
	Args []string
	// Dir is the working directory, and the only folder it may write to.
	Dir string
	// ReadOnly are further files and folders that it may read.
	ReadOnly []string
	// Stdin may be nil: nothing is given. Stdout may be nil: it is discarded.
	Stdin  io.Reader
	Stdout io.Writer
	// ExtraFiles become its descriptors 3, 4 and so on.
	ExtraFiles []*os.File
	// Timeout kills it; 0 is none besides the context's.
	Timeout time.Duration
	// MaxMemory and MaxFileSize are in bytes; 0 are the defaults.
	MaxMemory, MaxFileSize int64
	// Nice is added to its priority number: 0 to 19, the highest being the
	// one that gets out of everybody's way.
	Nice int
}

// Errors of Run, besides *Error.
var (
	// ErrNotInstalled is returned for a command that is not on PATH.
	ErrNotInstalled = errors.New("command is not installed")
	// ErrUninitialised is returned in a program whose main, or whose TestMain,
	// did not call Init: it would run itself again without end.
	ErrUninitialised = errors.New("jail.Init was not called at the start of this program")
	// ErrLaunch is found in the *Error of a command that was never started,
	// since the jail could not be shut.
	ErrLaunch = errors.New("the jail could not be shut")
)

// Error is a command that did not end well.
type Error struct {
	Name string
	// ExitCode is -1 for a command that a signal ended.
	ExitCode int
	// Signal that ended it, such as "killed"; "" for none.
	Signal string
	// Stderr is the end of what it said, at most 4 KiB.
	Stderr string
	// Err is what made us end it: the context's error, ErrLaunch or nil.
	Err error
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: ", e.Name)
	switch {
	case e.Err != nil:
		b.WriteString(e.Err.Error())
	case e.Signal != "":
		b.WriteString("ended by signal: " + e.Signal)
	default:
		fmt.Fprintf(&b, "exit code %d", e.ExitCode)
	}
	if said := strings.TrimSpace(e.Stderr); said != "" {
		b.WriteString(": " + said)
	}
	return b.String()
}

// Unwrap returns what made us end the command.
func (e *Error) Unwrap() error { return e.Err }

// Protection is what the kernel gives a jail.
type Protection struct {
	// Landlock is the version of its interface; 0 for none. Files are kept
	// apart from 1 on, TCP from 4, signals and abstract sockets from 6.
	Landlock int
	// Seccomp tells whether system calls are filtered.
	Seccomp bool
}

// Whole tells whether nothing of the jail is missing.
func (p Protection) Whole() bool { return p.Landlock >= 3 && p.Seccomp }

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

// Write implements io.Writer and never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p[max(0, len(p)-stderrTail):]...)
	if over := len(t.buf) - stderrTail; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

// String returns the tail, cut to whole characters.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.ToValidUTF8(string(t.buf), "")
}

func missing(name string) error {
	of := name
	switch name {
	case "ffmpeg", "ffprobe":
		of = "ffmpeg"
	case "fc-list", "fc-match":
		of = "fontconfig"
	}
	return fmt.Errorf("%w: %s (Debian has it: apt-get install %s)", ErrNotInstalled, name, of)
}
