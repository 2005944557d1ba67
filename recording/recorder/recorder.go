// Package recorder keeps the packets of calls while they run and makes files
// of them afterwards: it follows the live sessions of this node, decides by
// the call's plan and by whether the call was flagged what is kept, and leads
// what is kept through the steps to storage.
package recorder

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"stillwatch/internal/bus"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/evidence"
	"stillwatch/internal/seal"
	"stillwatch/internal/service"
	"stillwatch/internal/signature"
	"stillwatch/recording"
	"stillwatch/recording/archive"
	"stillwatch/recording/job"
	"stillwatch/recording/raw"
	"stillwatch/recording/stream"
)

// Defaults of Config.
const (
	// DefaultFlagGrace is how long after its end a call's packets wait for a
	// flag: what was captured last has to be classified first.
	DefaultFlagGrace = 10 * time.Second
	// DefaultSpoolBytes bounds the packets of one session.
	DefaultSpoolBytes = 64 << 30
	// DefaultMinFree is how much of the disk stays free of packets that nobody
	// asked to keep, in percent.
	DefaultMinFree = 10
	// DefaultKeepFailed is how long the packets of a recording that failed
	// are kept, to try again.
	DefaultKeepFailed = 7 * 24 * time.Hour
	// DefaultStoreFor is how long a store that is down is waited for.
	DefaultStoreFor = 24 * time.Hour
	// poll is how often a worker looks for a step that nobody told it of.
	poll = time.Second
)

// Bus carries what was asked for in and tells workers of steps.
type Bus interface {
	Consume(ctx context.Context, sub bus.Subscription) error
	Publish(ctx context.Context, topic event.Topic, evs ...event.Envelope) error
	Tail(ctx context.Context, topic event.Topic, fn func(event.Envelope)) error
}

// Objects are the object stores by reference: *storage.Stores.
type Objects interface {
	archive.Objects
	Delete(ctx context.Context, ref string) error
	List(ctx context.Context, prefix string, fn func(key string) error) error
	SignGet(ref string, expires time.Time) string
}

// Config is what a Recorder is made of. DB, Seal, Objects, Plan and Dir are
// needed.
type Config struct {
	// Node names the capture node; it stays the same over restarts. Whoever
	// works on the same Dir has the same Node, and nobody else.
	Node string
	DB   *db.DB
	// Bus tells of flags while a call runs; nil: they are looked up at its end.
	Bus  Bus
	Seal *seal.Box
	// Objects are the stores that files go to.
	Objects Objects
	// Plan reads a call's plan from its settings and the decision of the
	// recording permissions.
	Plan func(settings json.RawMessage, d db.RecordingDecision) (recording.Plan, error)
	// Dir holds raw packets and work in progress.
	Dir string
	// Workers is how many steps are done at once; 0: one a core.
	Workers int
	// Prefix begins the keys of stored files; Backup names the storage that
	// takes what the one meant for it refuses, "" is our own.
	Prefix, Backup string
	// DeleteExternal has files whose retention is over deleted in the storages of
	// others as well; without it they are only no longer listed.
	DeleteExternal bool
	// Evidence signs the manifests of what is stored.
	Evidence evidence.Key
	// Client reaches the endpoints that recordings are pushed and streamed to.
	Client *http.Client
	// Signer signs what is pushed and streamed.
	Signer signature.Signer
	// SpoolBytes, FlagGrace, KeepFailed and StoreFor default to the constants.
	SpoolBytes int64
	FlagGrace  time.Duration
	KeepFailed time.Duration
	StoreFor   time.Duration
	// SpoolMaxBytes bounds the packets of all sessions of this node together, in
	// bytes, and MinFree is how much of the disk is to stay free, in percent; 0
	// are no bounds. When one is reached, the packets that are there for longest
	// of calls that nobody flagged or asked to record are given up, and none of
	// such calls begin.
	SpoolMaxBytes int64
	MinFree       int
	// DiskFree returns the room left on a folder's disk and the disk's size, in
	// bytes; nil asks the system.
	DiskFree func(dir string) (free, total uint64, err error)
	// KeepWork leaves in Dir what stored files were made of, to be looked at,
	// until one of them is deleted; never of recordings stored encrypted.
	KeepWork bool
	// Ready, if any, is told how long after a recording's end, or its order, all
	// of its files were stored.
	Ready func(after time.Duration)
	// Handover shares the steps of what is kept with the other machines on the
	// database, through our own object store.
	Handover bool
	// WorkerOnly does steps and records nothing.
	WorkerOnly bool
	Log        *slog.Logger
	Now        func() time.Time

	// begun is a test's: it is told of each step before it is done. late is how
	// long joining and storing wait for their node, lateBy by default.
	begun func(kind string)
	late  time.Duration
}

// Recorder is a service. Its observing methods return at once.
type Recorder struct {
	cfg   Config
	log   *slog.Logger
	queue *job.Queue
	tasks service.Tasks
	wake  chan struct{}
	// tight: a bound of the packets is reached, and none begin that nobody asked
	// for.
	tight atomic.Bool
	// kept wakes whoever hands over, stale whoever tidies up.
	kept, stale chan struct{}
	count       counters

	mu       sync.Mutex
	closed   bool
	sessions map[string]*live // by session id
	// undecided are sessions whose flags are still waited for.
	undecided map[string]bool
	// loaded are the sessions that steps read of late; see load.
	loaded []*loaded
	// restUntil is until when the steps of other machines are left alone.
	restUntil time.Time
	// senders are those of streams that run, or still end.
	senders map[*stream.Sender]bool
	streams stream.Counts
	ending  sync.WaitGroup
}

// New makes a recorder.
func New(cfg Config) *Recorder {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Workers <= 0 {
		cfg.Workers = runtime.NumCPU()
	}
	orElse(&cfg.Prefix, "recordings")
	orElse(&cfg.SpoolBytes, DefaultSpoolBytes)
	orElse(&cfg.FlagGrace, DefaultFlagGrace)
	orElse(&cfg.KeepFailed, DefaultKeepFailed)
	orElse(&cfg.StoreFor, DefaultStoreFor)
	if cfg.DiskFree == nil {
		cfg.DiskFree = diskFree
	}
	orElse(&cfg.late, lateBy)
	worker := "node " + cfg.Node
	if cfg.WorkerOnly {
		worker = fmt.Sprintf("worker %d %s of node %s", os.Getpid(), event.NewID(), cfg.Node)
	}
	return &Recorder{
		cfg: cfg, log: cfg.Log.With("component", "recorder"), wake: make(chan struct{}, cfg.Workers),
		kept: make(chan struct{}, 1), stale: make(chan struct{}, 1),
		queue: job.New(cfg.DB, job.Config{
			Worker: worker, Node: cfg.Node, Now: cfg.Now, Late: []string{stepJoin, stepStore}, LateBy: cfg.late,
		}),
		sessions: map[string]*live{}, undecided: map[string]bool{}, senders: map[*stream.Sender]bool{},
	}
}

func orElse[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// rawDir is where the packets of a session lie, workDir where a recording's
// files are made.
func (r *Recorder) rawDir(sessionID string) string { return filepath.Join(r.cfg.Dir, "raw", sessionID) }

func (r *Recorder) workDir(recording string) string {
	return filepath.Join(r.cfg.Dir, "work", recording)
}

// Start takes up what an earlier run of this node left behind, and begins to
// work.
func (r *Recorder) Start(ctx context.Context) error {
	for _, dir := range []string{"raw", "work"} {
		if err := os.MkdirAll(filepath.Join(r.cfg.Dir, dir), 0o700); err != nil {
			return fmt.Errorf("make recording folder: %w", err)
		}
	}
	if !r.cfg.WorkerOnly {
		if err := r.queue.Release(ctx, "node "+r.cfg.Node); err != nil {
			return err
		}
		if err := r.takeUp(ctx); err != nil {
			return err
		}
	}
	for range r.cfg.Workers {
		r.tasks.Go(r.work)
	}
	r.tasks.Go(r.tidyLoop)
	if r.cfg.Handover && r.cfg.Bus != nil {
		r.tasks.Go(r.listen)
	}
	if r.cfg.Handover && !r.cfg.WorkerOnly {
		r.tasks.Go(r.handLoop)
	}
	if !r.cfg.WorkerOnly {
		r.tasks.Go(r.sweepLoop)
		r.makeRoom(ctx)
		r.tasks.Go(r.roomLoop)
		if r.cfg.Bus != nil {
			r.tasks.Go(r.watchFlags)
			r.tasks.Go(r.watchSettings)
		}
	}
	return nil
}

// Close ends what is live, as far as the packets are written, and stops the
// steps under way: they are done again by whoever works next.
func (r *Recorder) Close() error {
	r.mu.Lock()
	r.closed = true
	var all []*live
	for _, l := range r.sessions {
		all = append(all, l)
	}
	for s := range r.senders {
		s.Hurry(closeStreams)
	}
	r.mu.Unlock()
	for _, l := range all {
		l.abandon()
	}
	r.ending.Wait()
	return r.tasks.Close()
}

// poke wakes the workers.
func (r *Recorder) poke() {
	for range r.cfg.Workers {
		select {
		case r.wake <- struct{}{}:
		default:
			return
		}
	}
}

// openRaw opens the packets of a session.
func (r *Recorder) openRaw(sessionID string) (*raw.Reader, error) {
	dir := r.rawDir(sessionID)
	key, err := raw.LoadKey(dir, r.cfg.Seal)
	if err != nil {
		return nil, fmt.Errorf("open packets of session %s: %w", sessionID, err)
	}
	return raw.Open(dir, key)
}
