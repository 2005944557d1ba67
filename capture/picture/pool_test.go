//go:build cgo && linux

package picture

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"stillwatch/capture/still"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

func small(t testing.TB) still.Request {
	t.Helper()
	return still.Request{Codec: event.VP8, Keyframe: keyframe(t, media{codec: event.VP8, width: 320, height: 180})}
}

// pids of the pool's living children.
func (p *Pool) pids() (pids []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.living {
		pids = append(pids, c.cmd.Process.Pid)
	}
	return pids
}

func TestLifecycle(t *testing.T) {
	t.Parallel()
	p := NewPool(Config{Workers: 2})
	if err := p.Close(); err != nil {
		t.Errorf("close before start: %v", err)
	}
	if err := p.Start(t.Context()); !errors.Is(err, still.ErrClosed) {
		t.Errorf("start after close: %v", err)
	}
	p = NewPool(Config{Workers: 2})
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustPicture(t, p, small(t))
	pids := p.pids()
	for range 2 {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := p.Picture(t.Context(), small(t)); !errors.Is(err, still.ErrClosed) {
		t.Errorf("picture after close: %v", err)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("child %d is still there: %v", pid, err)
		}
	}
	if s := p.Stats(); s.CPU <= 0 || s.Starts != 2 || s.Pictures != 1 || s.Crashes != 0 {
		t.Errorf("%+v", s)
	}
}

func TestBadTensorSizes(t *testing.T) {
	t.Parallel()
	for _, sizes := range [][]int{{0}, {1025}, {1, 2, 3, 4, 5}} {
		p := NewPool(Config{TensorSizes: sizes})
		if err := p.Start(t.Context()); err == nil {
			t.Errorf("%v was accepted", sizes)
			p.Close()
		}
	}
	p := newPool(t, Config{TensorSizes: []int{}})
	if got := mustPicture(t, p, small(t)); len(got.Tensors) != 0 {
		t.Errorf("%d tensors", len(got.Tensors))
	}
}

func TestStartIsBoundedByContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := NewPool(Config{Workers: 1})
	if err := p.Start(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// TestKilledInFlight: the frame in hand is lost, and nothing else.
func TestKilledInFlight(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{debug: debugOn})
	answer := make(chan error, 1)
	go func() {
		_, err := p.Picture(context.WithoutCancel(t.Context()), still.Request{Codec: event.VP8, Keyframe: []byte("debug sleep")})
		answer <- err
	}()
	victim := p.pids()[0]
	testkit.Eventually(t, 10*time.Second, func() bool { return p.Stats().Working == 1 }, "the worker takes the job")
	if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; !errors.Is(err, still.ErrCrashed) || !strings.Contains(err.Error(), "killed") {
		t.Errorf("%v, want %v by SIGKILL", err, still.ErrCrashed)
	}
	mustPicture(t, p, small(t))
	if s := p.Stats(); s.Crashes != 1 || s.Starts != 2 || s.Pictures != 1 {
		t.Errorf("%+v", s)
	}
}

func TestKilledWhileIdle(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{Workers: 2})
	for _, pid := range p.pids() {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, 10*time.Second, func() bool { return p.Stats().Starts == 4 }, "both start again")
	for range 4 {
		mustPicture(t, p, small(t))
	}
	if s := p.Stats(); s.Crashes != 2 {
		t.Errorf("%+v", s)
	}
}

func TestParking(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "park")
	p := newPool(t, Config{debug: debugOn, Park: folder})
	for i, want := range []error{still.ErrCrashed, still.ErrCrashed, still.ErrParked, still.ErrParked} {
		if err := misbehave(t, p, "crash"); !errors.Is(err, want) {
			t.Errorf("time %d: %v, want %v", i+1, err, want)
		}
	}
	mustPicture(t, p, small(t))
	if s := p.Stats(); s.Parked != 1 || s.Crashes != 2 {
		t.Errorf("%+v", s)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.VP8"))
	if err != nil || len(files) != 1 {
		t.Fatalf("parked %v, %v", files, err)
	}
	if b, err := os.ReadFile(files[0]); err != nil || string(b) != "debug crash" {
		t.Errorf("parked %q, %v", b, err)
	}
}

func TestParkingIsBounded(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	k := newParking(folder, newPool(t, Config{}).cfg.Log)
	for i := range 2 * maxSuspects {
		req := still.Request{Codec: event.AV1, Keyframe: fmt.Append(nil, i)}
		k.suspect(req)
		if i < 2*maxParkedFiles {
			k.suspect(req)
			if !k.refuses(req.Keyframe) {
				t.Fatalf("%d is not refused", i)
			}
		}
	}
	files, err := os.ReadDir(folder)
	if err != nil || len(files) != maxParkedFiles {
		t.Errorf("%d files, %v, want %d", len(files), err, maxParkedFiles)
	}
	if len(k.kills) != maxSuspects || len(k.order) != maxSuspects {
		t.Errorf("%d and %d suspects, want %d", len(k.kills), len(k.order), maxSuspects)
	}
}

func TestQueue(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{debug: debugOn, Queue: 1})
	var wait sync.WaitGroup
	defer wait.Wait()
	defer p.Close() // ends the sleeper
	wait.Go(func() {
		_, err := p.Picture(context.WithoutCancel(t.Context()), still.Request{Codec: event.VP8, Keyframe: []byte("debug sleep")})
		if !errors.Is(err, still.ErrClosed) {
			t.Errorf("in hand at close: %v", err)
		}
	})
	testkit.Eventually(t, 10*time.Second, func() bool { return p.Stats().Working == 1 }, "the worker is busy")
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := p.Picture(ctx, small(t)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waited in vain: %v", err)
	}
	wait.Go(func() {
		_, err := p.Picture(context.WithoutCancel(t.Context()), small(t))
		if !errors.Is(err, still.ErrClosed) {
			t.Errorf("in the queue at close: %v", err)
		}
	})
	testkit.Eventually(t, 10*time.Second, func() bool { return p.waiting.Load() == 1 }, "the queue is full")
	if _, err := p.Picture(t.Context(), small(t)); !errors.Is(err, still.ErrBusy) {
		t.Errorf("%v, want %v", err, still.ErrBusy)
	}
}

func TestConcurrent(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{Workers: 3})
	want := map[event.Codec]uint64{}
	for _, codec := range codecs {
		want[codec] = mustPicture(t, p, still.Request{Codec: codec, Keyframe: keyframe(t, media{codec: codec, width: 320, height: 180, picture: "sexy"})}).PHash
	}
	var wait sync.WaitGroup
	for i := range 16 {
		wait.Go(func() {
			for n := range 25 {
				codec := codecs[(i+n)%4]
				got, err := p.Picture(t.Context(), still.Request{Codec: codec, Keyframe: keyframe(t, media{codec: codec, width: 320, height: 180, picture: "sexy"})})
				if err != nil || got.PHash != want[codec] {
					t.Errorf("%s: hash %016x, want %016x, %v", codec, got.PHash, want[codec], err)
				}
			}
		})
	}
	wait.Wait()
	if s := p.Stats(); s.Pictures != 404 || s.Crashes+s.Deadlines != 0 {
		t.Errorf("%+v", s)
	}
}

// TestNoLeak makes ten thousand small pictures, and loses ten workers, and
// looks at memory and descriptors.
func TestNoLeak(t *testing.T) {
	frames := 10000
	if testing.Short() {
		frames = 1000
	}
	p := newPool(t, Config{debug: debugOn, TensorSizes: []int{64}})
	var requests []still.Request
	for i, size := range [][2]int{{160, 96}, {96, 160}, {160, 96}, {128, 128}} {
		for _, codec := range codecs {
			requests = append(requests, still.Request{
				Codec: codec, Rotation: 90 * i, MaxHeight: 96,
				Keyframe: keyframe(t, media{codec: codec, width: size[0], height: size[1]}),
			})
		}
	}
	run := func(n int) {
		for i := range n {
			mustPicture(t, p, requests[i%len(requests)])
			if i%10 == 0 { // and something broken
				r := requests[i%len(requests)]
				r.Keyframe = r.Keyframe[:len(r.Keyframe)/2]
				_, _ = p.Picture(t.Context(), r)
			}
		}
	}
	run(frames / 5)
	before := anonymous(t, p.pids()[0])
	run(frames)
	after := anonymous(t, p.pids()[0])
	t.Logf("worker: %d KiB after %d pictures, %d KiB after %d more", before, frames/5, after, frames)
	if after > before+4096 {
		t.Errorf("worker grew from %d to %d KiB", before, after)
	}
	fds := descriptors(t)
	for i := range 10 {
		_ = misbehave(t, p, "crash")
		p.parked.kills = map[uint64]int{} // or the third time is refused
		p.parked.order = nil
		mustPicture(t, p, requests[i])
	}
	if now := descriptors(t); now > fds+2 {
		t.Errorf("%d descriptors, before %d", now, fds)
	}
}

// anonymous memory of a process in KiB: what it has allocated.
func anonymous(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "RssAnon:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// TestChildInheritsNothing looks at a child from outside.
func TestChildInheritsNothing(t *testing.T) {
	t.Parallel()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	// Not close-on-exec, as a careless library would leave it.
	leaky, err := syscall.Dup(int(write.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(leaky)
	p := newPool(t, Config{})
	pid := p.pids()[0]
	if os.Geteuid() == 0 { // others may not look
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if n, _ := strconv.Atoi(e.Name()); n > 4 {
				t.Errorf("child holds descriptor %s", e.Name())
			}
		}
		if env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)); err != nil || strings.Contains(string(env), "PATH=/") {
			t.Errorf("environment %q, %v", env, err)
		}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "Threads:\t1"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("no %q in its status", want)
		}
	}
}

// TestDiesWithParent kills a program that has a pool.
func TestDiesWithParent(t *testing.T) {
	const key = "STILLWATCH_TEST_PARENT"
	if os.Getenv(key) != "" {
		p := newPool(t, Config{Workers: 2, debug: debugOn})
		go func() {
			_, _ = p.Picture(context.Background(), still.Request{Codec: event.VP8, Keyframe: []byte("debug hang")})
		}()
		fmt.Println("pids", p.pids())
		select {}
	}
	t.Parallel()
	cmd := exec.Command("/proc/self/exe", "-test.run", "^TestDiesWithParent$")
	cmd.Env = append(os.Environ(), key+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString(']')
	if err != nil {
		t.Fatal(err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	var a, b int
	if _, err := fmt.Sscanf(line, "pids [%d %d]", &a, &b); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	for _, pid := range []int{a, b} {
		testkit.Eventually(t, 10*time.Second, func() bool {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			return err != nil || strings.Contains(string(b), ") Z ")
		}, "child dies", pid)
	}
}
