package recorder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/recording/job"
)

// The steps of a recording, by kind of job. Each may be done again from the
// start: what it leaves appears whole, by renaming.
const (
	stepPlan  = "plan"  // read the packets, order the rest
	stepChunk = "chunk" // render one chunk of the composite
	stepSound = "sound" // mix the sound
	stepJoin  = "join"  // join chunks and sound
	stepSplit = "split" // files of one participant
	stepDump  = "dump"  // the packets as they came
	stepEarly = "early" // the first minute, to be watched while the rest is made
	stepStore = "store" // put all into storage, tell of it
	stepEdit  = "edit"  // splice or trim stored files
)

// errEmpty is a recording with nothing in it.
var errEmpty = errors.New("nothing was sent that can be shown or heard")

// storePause is the pause between tries to store while the store is away.
const storePause = 5 * time.Second

// work does steps until ctx ends.
func (r *Recorder) work(ctx context.Context) {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for ctx.Err() == nil {
		j, err := r.claim(ctx)
		if err != nil && ctx.Err() == nil {
			r.log.Error("steps cannot be taken", "err", err)
		}
		if j != nil {
			r.do(ctx, j)
			continue
		}
		select {
		case <-ctx.Done():
		case <-r.wake:
		case <-tick.C:
		}
	}
}

// do does one step, renewing its lease meanwhile. Who loses the lease stops,
// and so does who could not renew it for as long as it lasts: somebody else may
// have it by now.
func (r *Recorder) do(ctx context.Context, j *job.Job) {
	log := r.log.With("recording", j.RecordingID, "step", j.Kind, "n", j.N)
	ctx, cancel := context.WithCancel(ctx)
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		tick := time.NewTicker(job.DefaultLease / 4)
		defer tick.Stop()
		last := time.Now()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				at := time.Now()
				switch err := r.queue.Extend(ctx, j); {
				case err == nil:
					last = at
				case errors.Is(err, job.ErrLost), time.Since(last) >= job.DefaultLease:
					cancel()
					return
				}
			}
		}
	}()
	started := time.Now()
	if r.cfg.begun != nil {
		r.cfg.begun(j.Kind)
	}
	log.Debug("step begins", "attempt", j.Attempts+1)
	err := r.step(ctx, j, log)
	cancel()
	<-renewed
	switch {
	case err == nil:
		r.count.steps.Add(1)
		log.Debug("step done", "took", time.Since(started).Round(time.Millisecond))
		r.poke()
	case errors.Is(err, job.ErrLost):
		log.Info("step was taken over by another worker")
	default:
		r.failed(j, err, log)
	}
}

// failed puts a step back, or gives its recording up.
func (r *Recorder) failed(j *job.Job, cause error, log *slog.Logger) {
	// The step's own context may have ended; saying so has time of its own.
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	if errors.Is(cause, context.Canceled) {
		if err := r.queue.Postpone(ctx, j, cause, 0); err != nil && !errors.Is(err, job.ErrLost) {
			log.Warn("step is free again when its lease ends", "err", err)
		}
		return
	}
	if errors.Is(cause, errNotHere) && r.cfg.Now().Sub(j.CreatedAt.Time) < r.cfg.StoreFor {
		log.Warn("what was handed over cannot be read here; the step is left to others", "err", cause)
		r.rest()
		pause := time.Duration(0)
		if r.ownStep(ctx, j) { // which resting does not keep from this machine
			pause = storePause
		}
		if err := r.queue.Postpone(ctx, j, cause, pause); err != nil {
			log.Warn("step is free again when its lease ends", "err", err)
		}
		return
	}
	if r.away(cause) && r.cfg.Now().Sub(j.CreatedAt.Time) < r.cfg.StoreFor {
		log.Warn("the store is away; the step waits", "err", cause)
		if err := r.queue.Postpone(ctx, j, cause, storePause); err != nil {
			log.Warn("step is free again when its lease ends", "err", err)
		}
		return
	}
	gone, err := r.queue.Fail(ctx, j, cause, func(ctx context.Context, tx bun.Tx) error { return r.giveUp(ctx, tx, j.RecordingID, cause) })
	switch {
	case err != nil:
		log.Error("a failure is not noted; the step is free again when its lease ends", "failure", cause, "err", err)
	case gone:
		r.count.failed.Add(1)
		log.Error("recording failed; its packets are kept", "err", cause)
		if err := r.cleanSealed(ctx, j.RecordingID); err != nil {
			log.Warn("what was made of a recording that is encrypted goes with the next sweep", "err", err)
		}
	default:
		log.Warn("step failed and is tried again", "err", cause, "attempt", j.Attempts+1)
	}
}

// ownStep tells whether a step is of a call that this machine carried.
func (r *Recorder) ownStep(ctx context.Context, j *job.Job) bool {
	own, err := r.cfg.DB.NewSelect().Model((*db.RecordingRow)(nil)).Where("id = ?", j.RecordingID).Where("node = ?", r.cfg.Node).Exists(ctx)
	return own || err != nil
}

// step does a step and stores its result.
func (r *Recorder) step(ctx context.Context, j *job.Job, log *slog.Logger) error {
	if j.Attempts >= job.DefaultTries {
		return fmt.Errorf("%w: %d workers died of it", job.ErrHopeless, j.Attempts)
	}
	var run db.RecordingRow
	err := r.cfg.DB.NewSelect().Model(&run).Where("id = ?", j.RecordingID).Scan(ctx)
	if db.IsNotFound(err) {
		return fmt.Errorf("%w: the recording is gone", job.ErrHopeless)
	}
	if err != nil {
		return fmt.Errorf("read recording: %w", err)
	}
	if run.State != db.RecordingProcessing {
		return r.queue.Done(ctx, j, struct{}{}, nil) // failed meanwhile; nothing to add
	}
	if err := os.MkdirAll(r.workDir(run.ID), 0o700); err != nil {
		return fmt.Errorf("make work folder: %w", err)
	}
	do, ok := map[string]func(context.Context, *task) error{
		stepPlan: r.planStep, stepChunk: r.chunkStep, stepSound: r.soundStep, stepJoin: r.joinStep,
		stepSplit: r.splitStep, stepDump: r.dumpStep, stepEarly: r.earlyStep, stepStore: r.storeStep, stepEdit: r.editStep,
	}[j.Kind]
	if !ok {
		return fmt.Errorf("%w: step %q is not known to this version", job.ErrHopeless, j.Kind)
	}
	t := &task{r: r, job: j, run: run, log: log, dir: r.workDir(run.ID)}
	if err := t.readPlan(); err != nil {
		return err
	}
	return do(ctx, t)
}

// next adds the step that follows once all of the given kinds are done. Call
// it in the transaction that ends one of them: the row of the recording is
// what those that end at the same time queue for.
func (t *task) next(ctx context.Context, tx bun.Tx, kind string, n int, payload piece, after ...string) error {
	if err := t.mark(ctx, tx); err != nil {
		return err
	}
	open, err := tx.NewSelect().Model((*db.RecordingJobRow)(nil)).Where("recording_id = ?", t.run.ID).
		Where("kind IN (?)", bun.List(after)).Where("state <> ?", db.JobDone).Exists(ctx)
	if err != nil {
		return fmt.Errorf("look for open steps of %s: %w", t.run.ID, err)
	}
	if open {
		return nil
	}
	return t.r.queue.Add(ctx, tx, t.run.ID, kind, n, payload)
}
