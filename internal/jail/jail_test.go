//go:build linux && (amd64 || arm64)

package jail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// run runs a command that must be there.
func run(t *testing.T, c Command) (stdout string, err error) {
	t.Helper()
	if _, err := exec.LookPath(c.Name); err != nil {
		t.Skipf("%s is not installed", c.Name)
	}
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	if c.Timeout == 0 {
		c.Timeout = time.Minute
	}
	var out bytes.Buffer
	c.Stdout = &out
	err = Run(t.Context(), c)
	return out.String(), err
}

// shell runs a script; the shell alone may run, and its builtins with it.
func shell(t *testing.T, dir, script string, args ...string) (stdout string, err error) {
	t.Helper()
	return run(t, Command{Name: "sh", Args: append([]string{"-c", script, "sh"}, args...), Dir: dir})
}

func ffmpeg(t *testing.T, dir string, args ...string) error {
	t.Helper()
	_, err := run(t, Command{Name: "ffmpeg", Args: append([]string{"-hide_banner", "-nostdin", "-y"}, args...), Dir: dir})
	return err
}

func TestFFmpegEncodesIntoItsFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	err := ffmpeg(t, dir, "-f", "lavfi", "-i", "testsrc=size=320x180:rate=25:duration=1", "-c:v", "libx264", "-preset", "ultrafast",
		"-threads", "4", "-movflags", "+faststart", "out.mp4")
	if err != nil {
		t.Fatal(err)
	}
	out, err := run(t, Command{
		Name: "ffprobe", Args: []string{"-v", "error", "-show_entries", "stream=codec_name,nb_frames", "-of", "csv=p=0", filepath.Join(dir, "out.mp4")},
		ReadOnly: []string{dir},
	})
	if err != nil || strings.TrimSpace(out) != "h264,25" {
		t.Errorf("%q, %v", out, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "out.mp4")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read it: %v, %v", info.Mode(), err)
	}
}

// Encoders and decoders start threads, ask for processors and map memory in
// ways of their own.
func TestCodecsWork(t *testing.T) {
	t.Parallel()
	for encoder, args := range map[string][]string{
		"libvpx":     {"-cpu-used", "8", "-deadline", "realtime"},
		"libvpx-vp9": {"-cpu-used", "8", "-deadline", "realtime", "-row-mt", "1"},
		"libsvtav1":  {"-preset", "12"},
		"libx264":    {"-preset", "ultrafast", "-threads", "8"},
	} {
		dir := t.TempDir()
		err := ffmpeg(t, dir, append(append([]string{"-f", "lavfi", "-i", "testsrc=size=320x180:rate=10:duration=0.5", "-pix_fmt", "yuv420p", "-c:v", encoder}, args...), "out.mkv")...)
		if err == nil {
			err = ffmpeg(t, dir, "-xerror", "-i", "out.mkv", "-f", "hls", "-c:v", "libx264", "-preset", "ultrafast", "out.m3u8")
		}
		if err != nil {
			t.Errorf("%s: %v", encoder, err)
		}
	}
}

func TestFFmpegDrawsTextWithTheSystemsFonts(t *testing.T) {
	t.Parallel()
	err := ffmpeg(t, t.TempDir(), "-f", "lavfi", "-i", "color=size=64x64:rate=1:duration=1", "-vf", "drawtext=text=x", "-frames:v", "1", "out.png")
	if err != nil && !strings.Contains(err.Error(), "font") {
		t.Error(err)
	}
}

func TestNothingOutsideIsRead(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("hunter2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{secret, "/etc/passwd", "/proc/1/environ", fmt.Sprintf("/proc/%d/environ", os.Getpid())} {
		out, err := shell(t, "", `read -r line < "$1" && echo "$line"`, path)
		if err == nil || out != "" || !strings.Contains(err.Error(), "ermission denied") {
			t.Errorf("%s was read: %q, %v", path, out, err)
		}
	}
	err := ffmpeg(t, t.TempDir(), "-f", "data", "-i", "/etc/passwd", "-map", "0", "-c", "copy", "-f", "data", "out")
	if err == nil || !strings.Contains(err.Error(), "Permission denied") {
		t.Errorf("ffmpeg read it: %v", err)
	}
	out, err := run(t, Command{Name: "sh", Args: []string{"-c", `read -r line < "$1" && echo "$line"`, "sh", secret}, ReadOnly: []string{secret}})
	if err != nil || out != "hunter2\n" {
		t.Errorf("what may be read was not: %q, %v", out, err)
	}
}

func TestNothingOutsideIsWritten(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	kept := filepath.Join(outside, "kept")
	if err := os.WriteFile(kept, []byte("as it was"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, script := range []string{`echo x > "$1/new"`, `echo x > "$1/kept"`, `echo x >> "$1/kept"`} {
		_, err := run(t, Command{Name: "sh", Args: []string{"-c", script, "sh", outside}, ReadOnly: []string{outside}})
		if err == nil {
			t.Errorf("%s: written", script)
		}
	}
	for _, c := range [][]string{{"rm", kept}, {"mv", kept, "here"}, {"chmod", "777", kept}, {"truncate", "-s", "0", kept}, {"touch", "-d", "2001-01-01", kept}, {"mkdir", outside + "/d"}, {"ln", kept, "link"}, {"ln", "-s", kept, "soft"}} {
		if _, err := run(t, Command{Name: c[0], Args: c[1:], ReadOnly: []string{outside}}); err == nil {
			t.Errorf("%v: done", c)
		}
	}
	if err := ffmpeg(t, t.TempDir(), "-f", "lavfi", "-i", "anullsrc=d=0.1", outside+"/new.wav"); err == nil {
		t.Error("ffmpeg wrote outside")
	}
	entries, _ := os.ReadDir(outside)
	info, err := os.Stat(kept)
	body, _ := os.ReadFile(kept)
	if len(entries) != 1 || err != nil || info.Mode().Perm() != 0o600 || string(body) != "as it was" || time.Since(info.ModTime()) > time.Hour {
		t.Errorf("%v, %v, %q", entries, info, body)
	}
}

func TestNothingElseIsRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "own"), []byte("#!/bin/sh\necho ran\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, script := range []string{"exec /usr/bin/id", "exec ./own", "/usr/bin/id", "echo a | { read -r x; echo $x; }", "(exit 0) &"} {
		if out, err := shell(t, dir, script); err == nil || out != "" {
			t.Errorf("%s: %q, %v", script, out, err)
		}
	}
}

func TestNoNetwork(t *testing.T) {
	t.Parallel()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	dir := t.TempDir()
	for _, args := range [][]string{
		{"-i", "http://" + tcp.Addr().String() + "/x.mp4", "out.wav"},
		{"-i", "tcp://" + tcp.Addr().String(), "out.wav"},
		{"-f", "lavfi", "-i", "anullsrc=d=0.1", "-f", "mpegts", "udp://" + udp.LocalAddr().String()},
		{"-f", "lavfi", "-i", "anullsrc=d=0.1", "-f", "mpegts", "unix:///tmp/stillwatch.sock"},
		{"-i", "tcp://127.0.0.1:34567?listen=1", "out.wav"},
	} {
		if err := ffmpeg(t, dir, args...); err == nil || !strings.Contains(err.Error(), "not permitted") {
			t.Errorf("%v: %v", args, err)
		}
	}
	past := time.Unix(1, 0)
	_ = tcp.(*net.TCPListener).SetDeadline(past)
	_ = udp.SetReadDeadline(past)
	if c, err := tcp.Accept(); err == nil {
		c.Close()
		t.Error("it connected")
	}
	if n, _, err := udp.ReadFrom(make([]byte, 1500)); err == nil {
		t.Errorf("it sent %d bytes", n)
	}
}

func TestTheEnvironmentIsClean(t *testing.T) {
	if Supported().Landlock == 0 {
		t.Skip("no Landlock here")
	}
	t.Setenv("STILLWATCH_AUTH_API_SECRET", "hunter2")
	dir := t.TempDir()
	out, err := run(t, Command{Name: "env", Dir: dir})
	if err != nil || strings.Contains(out, "STILLWATCH") || strings.Contains(out, "GOGC") || !strings.Contains(out, "HOME="+dir) {
		t.Errorf("%v, %s", err, out)
	}
}

func TestTheContextKills(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() { // the first output shows that it runs
		_, _ = r.Read(make([]byte, 1))
		cancel()
	}()
	err = Run(ctx, Command{Name: "ffmpeg", Args: []string{"-re", "-f", "lavfi", "-i", "anullsrc", "-f", "s16le", "-"}, Dir: t.TempDir(), Stdout: w})
	w.Close()
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	var e *Error
	err = Run(t.Context(), Command{Name: "sleep", Args: []string{"1000"}, Dir: t.TempDir(), Timeout: 100 * time.Millisecond})
	if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &e) || e.Name != "sleep" {
		t.Error(err)
	}
}

func TestTheCommandDiesWithItsParent(t *testing.T) {
	t.Parallel()
	parent := exec.Command("/proc/self/exe")
	parent.Env = []string{asParent + "=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 100)); err != nil {
		t.Error(err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Error(err)
	}
	// The command writes as long as it lives: the end of that is its end.
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Error(err)
	}
	_ = parent.Wait()
}

func TestWhatTheCommandLeftInItsGroupIsKilled(t *testing.T) {
	t.Parallel()
	// Inside, nothing can be started: stand in for a kernel without a filter.
	leader := exec.Command("sh", "-c", "sleep 1000 & echo $!")
	leader.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := leader.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := leader.Start(); err != nil {
		t.Fatal(err)
	}
	awaitExit(leader.Process.Pid)
	if err := killGroup(leader.Process.Pid); err != nil {
		t.Error(err)
	}
	// The child holds the pipe: its end is the child's end.
	var said bytes.Buffer
	if _, err := said.ReadFrom(out); err != nil {
		t.Error(err)
	}
	_ = leader.Wait()
}

func TestLimits(t *testing.T) {
	t.Parallel()
	var e *Error
	grow := []string{"-c", `s=x; i=0; while [ $i -lt 27 ]; do s="$s$s"; i=$((i+1)); done`}
	if _, err := run(t, Command{Name: "sh", Args: grow, MaxMemory: 64 << 20}); !errors.As(err, &e) {
		t.Errorf("memory: %v", err)
	}
	dir := t.TempDir()
	_, err := run(t, Command{
		Name: "ffmpeg", Args: []string{"-nostdin", "-f", "lavfi", "-i", "anullsrc=d=10", "-f", "s16le", "out"}, Dir: dir,
		MaxFileSize: 1 << 20,
	})
	if !errors.As(err, &e) || e.Signal != "file size limit exceeded" || !strings.Contains(err.Error(), e.Signal) {
		t.Errorf("file size: %v", err)
	}
	if info, err := os.Stat(filepath.Join(dir, "out")); err != nil || info.Size() > 1<<20 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	err := Run(t.Context(), Command{Name: "no-such-command-here", Dir: t.TempDir()})
	if !errors.Is(err, ErrNotInstalled) || !strings.Contains(err.Error(), "apt-get install") {
		t.Error(err)
	}
	var e *Error
	_, err = shell(t, "", `i=0; while [ $i -lt 2000 ]; do echo "line $i" >&2; i=$((i+1)); done; exit 7`)
	if !errors.As(err, &e) || e.ExitCode != 7 || e.Signal != "" || len(e.Stderr) > stderrTail || !strings.HasSuffix(e.Stderr, "line 1999\n") || e.Err != nil {
		t.Errorf("%+v", err)
	}
	if _, err = run(t, Command{Name: "sh", ReadOnly: []string{"/no/such/file"}}); !errors.Is(err, ErrLaunch) || !strings.Contains(err.Error(), "/no/such/file") {
		t.Error(err)
	}
	if err := Run(t.Context(), Command{Name: "sh"}); err == nil {
		t.Error("without a folder it ran")
	}
	if _, err := run(t, Command{Name: "sh", Dir: "/no/such/folder"}); err == nil {
		t.Error("in no folder it ran")
	}
}

func TestPipes(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out bytes.Buffer
	err = Run(t.Context(), Command{
		Name: "sh", Args: []string{"-c", `read -r a; echo "in $a"; echo three >&3`}, Dir: t.TempDir(),
		Stdin: strings.NewReader("word\n"), Stdout: &out, ExtraFiles: []*os.File{w},
	})
	w.Close()
	var three bytes.Buffer
	_, _ = three.ReadFrom(r)
	if err != nil || out.String() != "in word\n" || three.String() != "three\n" {
		t.Errorf("%v, %q, %q", err, out.String(), three.String())
	}
}

func TestThePrivilegesAreGone(t *testing.T) {
	t.Parallel()
	out, err := run(t, Command{Name: "cat", Args: []string{"/proc/self/status"}, Nice: 10})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(out, want) && (!strings.HasPrefix(want, "Seccomp") || Supported().Seccomp) && (!strings.HasPrefix(want, "CapBnd") || os.Getuid() == 0) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	words := &tail{}
	for i := range 3000 {
		s := fmt.Sprintf("%d ä ", i)
		all.WriteString(s)
		_, _ = words.Write([]byte(s))
	}
	if got := words.String(); len(got) > stderrTail || len(got) < stderrTail-2 || !strings.HasSuffix(all.String(), got) {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}
