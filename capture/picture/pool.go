//go:build cgo && linux

package picture

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"stillwatch/capture/still"
)

// patience is how long a worker may take to start: 20 ms is usual.
const patience = 15 * time.Second

// Pool spreads requests over its workers. It is a service.Service.
type Pool struct {
	cfg    Config
	layout layout
	jobs   chan *job
	quit   chan struct{}
	forks  chan fork
	wait   sync.WaitGroup
	parked *parking

	announced sync.Once

	waiting, working atomic.Int64
	counters         struct {
		pictures, refused, crashes, deadlines, starts, busy atomic.Uint64
	}

	mu      sync.Mutex
	started bool
	closed  bool
	living  map[*child]struct{}
	last    hello
	deadCPU time.Duration
}

var errTensorSize = errors.New("tensor size is not in 1..1024, or there are more than 4")

// job is a request under way; its picture or error is there once done closes.
type job struct {
	req     still.Request
	picture still.Picture
	err     error
	done    chan struct{}
}

// NewPool makes a pool; Start starts its workers.
func NewPool(cfg Config) *Pool {
	cfg = cfg.withDefaults()
	return &Pool{
		cfg: cfg, layout: newLayout(cfg),
		jobs: make(chan *job), quit: make(chan struct{}), forks: make(chan fork),
		parked: newParking(cfg.Park, cfg.Log),
		living: make(map[*child]struct{}),
	}
}

// Start starts all workers and returns when they are ready.
func (p *Pool) Start(ctx context.Context) error {
	if len(p.cfg.TensorSizes) > 4 {
		return fmt.Errorf("start picture pool: %w", errTensorSize)
	}
	for _, side := range p.cfg.TensorSizes {
		if side < 1 || side > 1024 {
			return fmt.Errorf("start picture pool: %w", errTensorSize)
		}
	}
	p.mu.Lock()
	if p.closed || p.started {
		p.mu.Unlock()
		return still.ErrClosed
	}
	p.started = true
	p.wait.Go(p.forkLoop)
	first := make(chan error, p.cfg.Workers)
	for range p.cfg.Workers {
		p.wait.Go(func() { p.slot(first) })
	}
	p.mu.Unlock()
	for range p.cfg.Workers {
		select {
		case err := <-first:
			if err != nil {
				return errors.Join(err, p.Close())
			}
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("start picture pool: %w", ctx.Err()), p.Close())
		}
	}
	return nil
}

// Close ends the workers, kills those in the midst of a frame, and waits.
func (p *Pool) Close() error {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.quit)
	}
	for c := range p.living {
		c.kill()
	}
	p.mu.Unlock()
	p.wait.Wait()
	return nil
}

// Picture implements still.Imager. ctx bounds the waiting for a worker; a
// frame in a worker's hands is bounded by the deadline.
func (p *Pool) Picture(ctx context.Context, req still.Request) (still.Picture, error) {
	if err := req.Validate(); err != nil {
		return still.Picture{}, err
	}
	if len(req.Keyframe) > p.cfg.MaxBytes {
		p.counters.refused.Add(1)
		return still.Picture{}, fmt.Errorf("%w: %d bytes", still.ErrTooLarge, len(req.Keyframe))
	}
	if p.parked.refuses(req.Keyframe) {
		p.counters.refused.Add(1)
		return still.Picture{}, still.ErrParked
	}
	if req.Quality == 0 {
		req.Quality = still.DefaultQuality
	}
	j := &job{req: req, done: make(chan struct{})}
	if err := p.hand(ctx, j); err != nil {
		return still.Picture{}, err
	}
	<-j.done
	return j.picture, j.err
}

// hand gives the job to a worker that is free, or waits for one.
func (p *Pool) hand(ctx context.Context, j *job) error {
	select {
	case <-p.quit:
		return still.ErrClosed
	case p.jobs <- j:
		return nil
	default:
	}
	if p.waiting.Add(1) > int64(p.cfg.Queue) {
		p.waiting.Add(-1)
		p.counters.busy.Add(1)
		return still.ErrBusy
	}
	defer p.waiting.Add(-1)
	select {
	case p.jobs <- j:
		return nil
	case <-p.quit:
		return still.ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("wait for a picture worker: %w", ctx.Err())
	}
}

// Stats counts up to now.
func (p *Pool) Stats() Stats {
	s := Stats{
		Pictures: p.counters.pictures.Load(), Refused: p.counters.refused.Load(),
		Crashes: p.counters.crashes.Load(), Deadlines: p.counters.deadlines.Load(),
		Starts: p.counters.starts.Load(), Busy: p.counters.busy.Load(), Parked: p.parked.count(),
		Working: int(p.working.Load()), Waiting: int(p.waiting.Load()),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.CPU = p.deadCPU
	for c := range p.living {
		s.CPU += c.cpu()
	}
	return s
}

// Status of the workers' sandbox, as the last one to start reported it.
func (p *Pool) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Status{
		Workers: len(p.living), Codecs: bits.OnesCount32(p.last.Codecs),
		Landlock: int(max(p.last.Landlock, 0)), Seccomp: p.last.Seccomp > 0,
	}
	if p.last.Landlock < 0 {
		s.LandlockError = syscall.Errno(-p.last.Landlock)
	}
	if p.last.Seccomp < 0 {
		s.SeccompError = syscall.Errno(-p.last.Seccomp)
	}
	return s
}
