//go:build cgo && linux

package picture

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"stillwatch/capture/still"

	"golang.org/x/sys/unix"
)

// child is one worker process, its socket and its mapping. One goroutine at a
// time talks to it.
type child struct {
	cmd    *exec.Cmd
	socket *os.File
	mem    []byte
	layout layout
	hello  hello
	seq    uint32
	// exited is closed once the process has been waited for.
	exited chan struct{}
}

// layout of the mapping: request, JPEG, then the tensors.
type layout struct {
	request, jpeg int
	tensors       []int // sides
}

func newLayout(cfg Config) layout {
	// turbojpeg asks for three bytes a pixel of whole 16 by 16 blocks.
	return layout{
		request: cfg.MaxBytes + padding,
		jpeg:    3*cfg.MaxPixels + cfg.MaxPixels/2 + 1<<20,
		tensors: cfg.TensorSizes,
	}
}

func (l layout) size() int {
	n := l.request + l.jpeg
	for _, side := range l.tensors {
		n += side * side * 3
	}
	page := os.Getpagesize()
	return (n + page - 1) / page * page
}

// spawn starts a worker and waits until it has locked itself in. It has to be
// called on an OS thread that outlives the child: the kernel sends the
// parent's death signal when the thread that forked ends.
func spawn(cfg Config, l layout, patience time.Duration) (*child, error) {
	c := &child{layout: l, exited: make(chan struct{})}
	memory, err := c.mapMemory()
	if err != nil {
		return nil, err
	}
	defer memory.Close()
	theirs, err := c.openSocket()
	if err != nil {
		c.release()
		return nil, err
	}
	defer theirs.Close()
	if err := c.exec(cfg, theirs, memory); err != nil {
		c.release()
		return nil, err
	}
	if err := c.greet(patience); err != nil {
		c.kill()
		<-c.exited
		c.release()
		return nil, fmt.Errorf("start picture worker: %w (%v)", err, c.cmd.ProcessState)
	}
	return c, nil
}

// mapMemory makes the mapping. Its size is sealed, or a hijacked worker could
// cut it short under the parent's feet.
func (c *child) mapMemory() (*os.File, error) {
	fd, err := unix.MemfdCreate("stillwatch-picture", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("create picture memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), "picture-memory")
	if err := f.Truncate(int64(c.layout.size())); err != nil {
		f.Close()
		return nil, fmt.Errorf("size picture memory: %w", err)
	}
	_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	if err == nil {
		c.mem, err = unix.Mmap(fd, 0, c.layout.size(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("map picture memory: %w", err)
	}
	return f, nil
}

// openSocket makes the socket pair and answers the child's end. Ours is
// non-blocking before it becomes a File, so that deadlines work on it; it
// must never be asked for its Fd again, which would undo that.
func (c *child) openSocket() (theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open picture socket: %w", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "picture-child")
	if err := unix.SetNonblock(fds[0], true); err != nil {
		unix.Close(fds[0])
		theirs.Close()
		return nil, fmt.Errorf("open picture socket: %w", err)
	}
	c.socket = os.NewFile(uintptr(fds[0]), "picture-parent")
	return theirs, nil
}

// exec starts this same program as a worker, with nothing of the parent's
// environment but where libraries are found.
func (c *child) exec(cfg Config, socket, memory *os.File) error {
	args := []string{
		"__picture-worker", strconv.Itoa(c.layout.request), strconv.Itoa(c.layout.jpeg), strconv.Itoa(cfg.MaxPixels),
	}
	for _, side := range c.layout.tensors {
		args = append(args, strconv.Itoa(side))
	}
	c.cmd = exec.Command("/proc/self/exe", args...)
	c.cmd.Args[0] = "stillwatch"
	c.cmd.Dir = "/"
	c.cmd.Env = []string{}
	if path, ok := os.LookupEnv("LD_LIBRARY_PATH"); ok {
		c.cmd.Env = append(c.cmd.Env, "LD_LIBRARY_PATH="+path)
	}
	if cfg.debug != 0 {
		c.cmd.Env = append(c.cmd.Env, "STILLWATCH_PICTURE_DEBUG="+strconv.Itoa(cfg.debug))
	}
	c.cmd.ExtraFiles = []*os.File{socket, memory}
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		return fmt.Errorf("start picture worker: %w", err)
	}
	go func() {
		_ = c.cmd.Wait() // its state is read from ProcessState
		close(c.exited)
	}()
	return nil
}

func (c *child) greet(patience time.Duration) error {
	if err := c.socket.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	var b [64]byte
	n, err := c.socket.Read(b[:])
	if err != nil {
		return fmt.Errorf("read greeting: %w", err)
	}
	if err := decode(b[:n], &c.hello); err != nil {
		return err
	}
	if c.hello.Magic != helloMagic {
		return fmt.Errorf("greeting %#x is not a worker's", c.hello.Magic)
	}
	return nil
}

// errLost means that the child has died or is no longer to be trusted.
var errLost = errors.New("worker lost")

// exchange sends a request and waits for its answer. more is asked whenever
// the deadline has passed, for how long to wait on; 0 gives up.
func (c *child) exchange(req *request, deadline time.Duration, more func() time.Duration) (response, error) {
	c.seq++
	req.Seq = c.seq
	var res response
	if err := c.socket.SetReadDeadline(time.Now().Add(deadline)); err != nil {
		return res, fmt.Errorf("%w: %w", errLost, err)
	}
	if _, err := c.socket.Write(encode(req)); err != nil {
		return res, fmt.Errorf("%w: %w", errLost, err)
	}
	var b [256]byte
	for {
		n, err := c.socket.Read(b[:])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if wait := more(); wait > 0 && c.socket.SetReadDeadline(time.Now().Add(wait)) == nil {
				continue
			}
			return res, still.ErrDeadline
		}
		if err == nil {
			err = decode(b[:n], &res)
		}
		if err == nil && res.Seq != req.Seq {
			err = fmt.Errorf("answer %d to request %d", res.Seq, req.Seq)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return res, fmt.Errorf("%w: %w", errLost, err)
		} else if err != nil {
			return res, errLost
		}
		return res, nil
	}
}

// put lays a keyframe into the mapping, with its padding.
func (c *child) put(at int, data []byte) int {
	n := copy(c.mem[at:c.layout.request-padding], data)
	clear(c.mem[at+n : at+n+padding])
	return at + n + padding
}

// collect copies the answer out. The lengths come from the child: they are
// held against the layout.
func (c *child) collect(res *response) (still.Picture, error) {
	n := int(res.JPEGLength)
	if n <= 0 || n > c.layout.jpeg {
		return still.Picture{}, fmt.Errorf("%w: JPEG of %d bytes", errLost, n)
	}
	jpeg := c.mem[c.layout.request:]
	p := still.Picture{
		JPEG:  append([]byte(nil), jpeg[:n]...),
		Width: int(res.Width), Height: int(res.Height),
		SourceWidth: int(res.SourceWidth), SourceHeight: int(res.SourceHeight),
		Tensors: make(map[int][]byte, len(c.layout.tensors)),
		PHash:   res.PHash, LumaMean: res.LumaMean, LumaStd: res.LumaStd,
		Timing: still.Timing{
			Decode: time.Duration(res.DecodeNS), Scale: time.Duration(res.ScaleNS),
			Encode: time.Duration(res.EncodeNS), Tensor: time.Duration(res.TensorNS),
		},
	}
	rest := jpeg[c.layout.jpeg:]
	for _, side := range c.layout.tensors {
		size := side * side * 3
		p.Tensors[side] = append([]byte(nil), rest[:size]...)
		rest = rest[size:]
	}
	return p, nil
}

// cpu is the processor time that the living child has used.
func (c *child) cpu() time.Duration {
	var t unix.Timespec
	// The clock of another process: see clock_getcpuclockid(3).
	if err := unix.ClockGettime(int32(^c.cmd.Process.Pid<<3|2), &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

func (c *child) kill() { _ = c.cmd.Process.Kill() }

// release frees what the parent holds of a child that has exited.
func (c *child) release() {
	if c.socket != nil {
		c.socket.Close()
	}
	if c.mem != nil {
		_ = unix.Munmap(c.mem)
		c.mem = nil
	}
}
