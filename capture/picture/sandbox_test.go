//go:build cgo && linux

package picture

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"stillwatch/capture/still"
	"stillwatch/internal/event"
)

// Bits of Config.debug.
const (
	debugOn         = 4
	withoutLandlock = 1
	withoutSeccomp  = 2
)

func misbehave(t *testing.T, p *Pool, what string) error {
	t.Helper()
	_, err := p.Picture(t.Context(), still.Request{Codec: event.VP8, Keyframe: []byte("debug " + what)})
	if err == nil {
		t.Fatalf("%s: made a picture", what)
	}
	return err
}

func TestStatus(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{Workers: 2})
	s := p.Status()
	t.Logf("%+v", s)
	if s.Workers != 2 || s.Codecs != 4 {
		t.Errorf("%d workers with %d codecs, want 2 with 4", s.Workers, s.Codecs)
	}
	if !s.Seccomp || s.SeccompError != nil {
		t.Errorf("seccomp %v, %v", s.Seccomp, s.SeccompError)
	}
	if (s.Landlock > 0) == (s.LandlockError != nil) {
		t.Errorf("landlock version %d, and error %v", s.Landlock, s.LandlockError)
	}
	if s.LandlockError != nil && !errors.Is(s.LandlockError, syscall.ENOSYS) && !errors.Is(s.LandlockError, syscall.EOPNOTSUPP) {
		t.Errorf("landlock is there and was not used: %v", s.LandlockError)
	}
}

// TestSeccomp: whatever is not decoding kills the worker.
func TestSeccomp(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{debug: debugOn | withoutLandlock})
	for _, what := range []string{"open", "socket", "execve", "fork", "code", "truncate"} {
		err := misbehave(t, p, what)
		if !errors.Is(err, still.ErrCrashed) || !strings.Contains(err.Error(), syscall.SIGSYS.String()) {
			t.Errorf("%s: %v, want %v", what, err, syscall.SIGSYS)
		}
	}
	mustPicture(t, p, still.Request{Codec: event.VP8, Keyframe: keyframe(t, media{codec: event.VP8})})
}

// TestLandlockAndLimits: the other walls hold without seccomp.
func TestLandlockAndLimits(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{debug: debugOn | withoutSeccomp})
	if s := p.Status(); s.Landlock == 0 {
		t.Skipf("this kernel has no Landlock: %v", s.LandlockError)
	}
	for what, want := range map[string]syscall.Errno{
		"open":           syscall.EMFILE,
		"close and open": syscall.EACCES,
		"execve":         syscall.EACCES,
		"socket":         syscall.EMFILE,
		"truncate":       syscall.EPERM,
		"memory":         syscall.ENOMEM,
	} {
		err := misbehave(t, p, what)
		if code := exitCode(err); code != int(want) {
			t.Errorf("%s: ended with %d (%v), want %d (%v)", what, code, err, int(want), want)
		}
	}
}

// exitCode reads "exit status 13" at the end of an error.
func exitCode(err error) int {
	_, number, _ := strings.Cut(err.Error(), "exit status ")
	code := -1
	for _, digit := range number {
		code = max(code, 0)*10 + int(digit-'0')
	}
	return code
}

// TestDebugIsOff: a worker of a pool in production knows no debug requests.
func TestDebugIsOff(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{})
	if err := misbehave(t, p, "crash"); !errors.Is(err, still.ErrUndecodable) {
		t.Errorf("%v, want %v", err, still.ErrUndecodable)
	}
	if s := p.Stats(); s.Crashes != 0 {
		t.Errorf("%d crashes", s.Crashes)
	}
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{debug: debugOn, Deadline: 200 * time.Millisecond})
	for _, what := range []string{"hang", "sleep"} {
		start := time.Now()
		if err := misbehave(t, p, what); !errors.Is(err, still.ErrDeadline) {
			t.Errorf("%s: %v, want %v", what, err, still.ErrDeadline)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%s: %v", what, took)
		}
	}
	if s := p.Stats(); s.Deadlines != 2 || s.Crashes != 0 {
		t.Errorf("%+v, want two deadlines", s)
	}
}
