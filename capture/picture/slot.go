//go:build cgo && linux

package picture

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"stillwatch/capture/still"
)

// Back-off between starts that fail.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
)

// fork asks the fork loop for a child.
type fork struct{ answer chan<- forked }

type forked struct {
	child *child
	err   error
}

// forkLoop starts all children from one OS thread that lives as long as the
// pool: see spawn.
func (p *Pool) forkLoop() {
	runtime.LockOSThread() // never unlocked: the thread ends with the loop
	for {
		select {
		case f := <-p.forks:
			c, err := spawn(p.cfg, p.layout, patience)
			f.answer <- forked{c, err}
		case <-p.quit:
			return
		}
	}
}

// slot keeps one worker alive and serves jobs with it until the pool closes.
func (p *Pool) slot(first chan<- error) {
	pause := firstPause
	for {
		c, err := p.start()
		if first != nil {
			if err == nil {
				p.announce(c.hello)
			}
			first <- err
			first = nil
		}
		if err == nil {
			pause = firstPause
			p.serve(c)
			p.retire(c)
		} else if !errors.Is(err, still.ErrClosed) {
			p.cfg.Log.Error("picture worker does not start", "err", err, "pause", pause)
		}
		select {
		case <-p.quit:
			return
		default:
		}
		if err == nil {
			continue
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, lastPause)
		case <-p.quit:
			return
		}
	}
}

// announce says once for the pool what walls there are around its workers.
func (p *Pool) announce(h hello) {
	p.announced.Do(func() {
		log := p.cfg.Log.Info
		if h.Landlock <= 0 || h.Seccomp <= 0 || h.Codecs != allCodecs {
			log = p.cfg.Log.Warn
		}
		log("picture workers are locked in", "landlock", h.Landlock, "seccomp", h.Seccomp, "codecs", h.Codecs, "workers", p.cfg.Workers)
	})
}

func (p *Pool) start() (*child, error) {
	answer := make(chan forked, 1)
	select {
	case p.forks <- fork{answer}:
	case <-p.quit:
		return nil, still.ErrClosed
	}
	f := <-answer
	if f.err != nil {
		return nil, f.err
	}
	p.counters.starts.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.living[f.child] = struct{}{}
	p.last = f.child.hello
	if p.closed {
		f.child.kill() // Close has not seen it
	}
	return f.child, nil
}

// serve returns when the child is lost or the pool closes.
func (p *Pool) serve(c *child) {
	for {
		select {
		case <-p.quit:
			return
		case <-c.exited:
			p.lost("while idle", c)
			return
		case j := <-p.jobs:
			ok := p.do(c, j)
			close(j.done)
			if !ok {
				return
			}
		}
	}
}

// do makes one picture, and answers whether the child is fit for more.
func (p *Pool) do(c *child, j *job) bool {
	p.working.Add(1)
	defer p.working.Add(-1)
	start := time.Now()
	var err error
	j.picture, err = p.exchange(c, j.req)
	switch {
	case err == nil:
		j.picture.Timing.Total = time.Since(start)
		p.counters.pictures.Add(1)
		return true
	case errors.Is(err, errLost), errors.Is(err, still.ErrDeadline):
		j.err = p.blame(c, j.req, err)
		return false
	default:
		p.counters.refused.Add(1)
		j.err = err
		return true
	}
}

func (p *Pool) exchange(c *child, r still.Request) (still.Picture, error) {
	c.put(0, r.Keyframe)
	req := request{
		Op: opPicture, Codec: codecNumber(r.Codec), Length: uint32(len(r.Keyframe)),
		MaxHeight: uint32(r.MaxHeight), Rotation: uint32(r.Rotation), Quality: uint32(r.Quality),
	}
	before, begun := c.cpu(), time.Now()
	res, err := c.exchange(&req, p.cfg.Deadline, func() time.Duration {
		// A worker that has not had the processor is not to blame.
		if c.cpu()-before >= p.cfg.Deadline/2 {
			return 0
		}
		return min(p.cfg.Deadline, 4*p.cfg.Deadline-time.Since(begun))
	})
	if err != nil {
		return still.Picture{}, err
	}
	if err := res.err(); err != nil {
		return still.Picture{}, err
	}
	return c.collect(&res)
}

// blame ends a child that failed over a keyframe, and remembers the keyframe.
func (p *Pool) blame(c *child, req still.Request, cause error) error {
	c.kill()
	<-c.exited
	select {
	case <-p.quit:
		return still.ErrClosed
	default:
	}
	p.parked.suspect(req)
	if errors.Is(cause, still.ErrDeadline) {
		p.counters.deadlines.Add(1)
		p.cfg.Log.Warn("picture worker killed at its deadline", "codec", req.Codec, "bytes", len(req.Keyframe))
		return fmt.Errorf("%w: %v", still.ErrDeadline, p.cfg.Deadline)
	}
	p.lost("over a keyframe", c)
	return fmt.Errorf("%w: %v", still.ErrCrashed, c.cmd.ProcessState)
}

func (p *Pool) lost(when string, c *child) {
	p.counters.crashes.Add(1)
	p.cfg.Log.Warn("picture worker lost", "when", when, "state", c.cmd.ProcessState.String())
}

// retire ends a child for good and keeps account of its processor time.
func (p *Pool) retire(c *child) {
	c.kill()
	<-c.exited
	p.mu.Lock()
	delete(p.living, c)
	p.deadCPU += c.cmd.ProcessState.UserTime() + c.cmd.ProcessState.SystemTime()
	p.mu.Unlock()
	c.release()
}
