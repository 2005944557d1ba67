package recorder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/blob"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/recording/composite"
	"stillwatch/recording/handover"
	"stillwatch/recording/job"
)

const (
	// tidyEvery is how often what others may have made needless is looked for on
	// this machine.
	tidyEvery = 5 * time.Second
	// restFor is how long the steps of others are left alone by who cannot read
	// what they handed over.
	restFor = time.Minute
)

// claim takes a step: one of this node, or one that was handed over.
func (r *Recorder) claim(ctx context.Context) (*job.Job, error) {
	r.mu.Lock()
	resting := r.cfg.Now().Before(r.restUntil)
	r.mu.Unlock()
	if !r.cfg.Handover || resting {
		return r.queue.Claim(ctx)
	}
	return r.queue.ClaimAny(ctx)
}

// rest leaves the steps of other machines to others for a while.
func (r *Recorder) rest() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.restUntil = r.cfg.Now().Add(restFor)
}

// announce tells the other machines that there are steps, or fewer. That it
// fails costs them the time until they look by themselves.
func (r *Recorder) announce(ctx context.Context, sessionID string) {
	nudge(r.stale)
	if r.cfg.Bus == nil {
		return
	}
	ev := event.New(event.TypeRecordingSteps, sessionID, r.cfg.Now(), struct{}{})
	if err := r.cfg.Bus.Publish(ctx, event.TopicRecordings, ev); err != nil && ctx.Err() == nil {
		r.log.Debug("other machines see steps later", "err", err)
	}
}

// listen wakes this machine's workers when others announce something.
func (r *Recorder) listen(ctx context.Context) {
	err := r.cfg.Bus.Tail(ctx, event.TopicRecordings, func(event.Envelope) {
		r.poke()
		nudge(r.stale)
	})
	if err != nil && ctx.Err() == nil {
		r.log.Warn("steps of other machines are seen later", "err", err)
	}
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// tidyLoop removes what lies on this machine of recordings that another has
// finished, and what the store still holds of them.
func (r *Recorder) tidyLoop(ctx context.Context) {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		err := errors.Join(r.sweepHanded(ctx), r.sweepWork(ctx))
		if !r.cfg.WorkerOnly && n%int(sweepEvery/tidyEvery) == 0 {
			err = errors.Join(err, r.sweepHandovers(ctx))
		}
		if err != nil && ctx.Err() == nil {
			r.log.Error("what other machines finished is tidied up later", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-r.stale:
		case <-tick.C:
		}
	}
}

// errUnsent tells that a session was handed over while a step of it was done.
var errUnsent = errors.New("what was made is not handed over yet")

// done ends a step that made files, by their names in the work folder. Where
// the session is handed over they are, too, before the step counts as done:
// whoever goes on finds them. What is done while the packets are on their way
// is put with them; see Recorder.readyHandover.
func (t *task) done(ctx context.Context, result any, files []string, with func(ctx context.Context, tx bun.Tx) error) error {
	sent := false
	for {
		err := t.r.queue.Done(ctx, t.job, result, func(ctx context.Context, tx bun.Tx) error {
			if err := t.mark(ctx, tx); err != nil {
				return err
			}
			row, err := shared(ctx, tx, t.run.SessionID, db.HandoverReady)
			if err != nil {
				return err
			}
			if row != nil && !sent {
				return errUnsent
			}
			return with(ctx, tx)
		})
		if !errors.Is(err, errUnsent) {
			if err == nil && sent {
				t.r.announce(ctx, t.run.SessionID)
			}
			return err
		}
		if err := t.send(ctx, files); err != nil {
			return err
		}
		sent = true
	}
}

// mark locks the run's row: it is what those that end steps at the same time
// queue for.
func (t *task) mark(ctx context.Context, tx bun.Tx) error {
	_, err := tx.NewUpdate().Model((*db.RecordingRow)(nil)).Set("updated_at = ?", db.At(t.r.cfg.Now())).Where("id = ?", t.run.ID).Exec(ctx)
	if err != nil {
		return fmt.Errorf("mark recording %s: %w", t.run.ID, err)
	}
	return nil
}

// send hands over what the step made.
func (t *task) send(ctx context.Context, files []string) error {
	row, err := shared(ctx, t.r.cfg.DB, t.run.SessionID, db.HandoverReady)
	if err != nil || row == nil {
		return err
	}
	p, err := t.r.parcel(row)
	if err != nil {
		return err
	}
	for _, f := range files {
		n, err := p.Put(ctx, madeName(t.job.RecordingJobRow, f), filepath.Join(t.dir, f))
		if err != nil {
			return err
		}
		t.r.count.handed.Add(n)
	}
	// All may have ended meanwhile, and the store been emptied.
	if row, err = shared(ctx, t.r.cfg.DB, t.run.SessionID, db.HandoverReady); err != nil || row != nil {
		return err
	}
	var errs []error
	for _, f := range files {
		errs = append(errs, p.Delete(ctx, madeName(t.job.RecordingJobRow, f)))
	}
	return errors.Join(errs...)
}

// madeName is what a file of a step is called in the store. Each attempt has
// names of its own, so that nothing of one that came too late is taken for
// what counts.
func madeName(row db.RecordingJobRow, file string) string {
	return path.Join(row.RecordingID, fmt.Sprintf("%s-%d-%d", row.Kind, row.N, row.Token), filepath.ToSlash(file))
}

// madeBy lists the files that a step which is done has made, by their names in
// the work folder.
func madeBy(row db.RecordingJobRow) ([]string, error) {
	read := func(in json.RawMessage, v any) error {
		if err := json.Unmarshal(in, v); err != nil {
			return fmt.Errorf("%w: read %s %s: %w", errHopeless, row.Kind, row.ID, err)
		}
		return nil
	}
	var p piece
	switch row.Kind {
	case stepChunk:
		err := read(row.Payload.V, &p)
		return []string{filepath.Join(movieDir(p.Movie), composite.ChunkName(p.Chunk))}, err
	case stepSound:
		var res soundResult
		if err := errors.Join(read(row.Payload.V, &p), read(row.Result.V, &res)); err != nil || res.Silent {
			return nil, err
		}
		return []string{filepath.Join(movieDir(p.Movie), soundName)}, nil
	case stepJoin, stepSplit, stepDump, stepEdit:
		var out outputs
		err := read(row.Result.V, &out)
		return out.names(), err
	}
	return nil, nil
}

// names are the files of a result.
func (o outputs) names() []string {
	var all []string
	for _, f := range o.Files {
		all = append(all, f.Parts...)
	}
	return all
}

// bring sees to it that the files of a step that is done are here. What this
// machine did not make itself is fetched, also where something of the name
// lies here: it may be what was left of an attempt that did not count. What is
// nowhere is made again by whoever needs it.
func (t *task) bring(ctx context.Context, made db.RecordingJobRow) error {
	if made.State != db.JobDone || t.r.madeHere(made) {
		return nil
	}
	row, err := shared(ctx, t.r.cfg.DB, t.run.SessionID, db.HandoverReady)
	if err != nil || row == nil {
		return err
	}
	p, err := t.r.parcel(row)
	if err != nil {
		return err
	}
	files, err := madeBy(made)
	if err != nil {
		return err
	}
	for _, f := range files {
		if !filepath.IsLocal(f) {
			return fmt.Errorf("%w: step %s names the file %q", errHopeless, made.ID, f)
		}
		to := filepath.Join(t.dir, f)
		err := p.Fetch(ctx, madeName(made, f), to, 2*t.r.cfg.SpoolBytes)
		if errors.Is(err, handover.ErrChanged) || errors.Is(err, handover.ErrTooLarge) {
			// It is of no more use than one that is not there.
			t.log.Warn("what another machine made is damaged", "step", made.Kind, "file", f, "err", err)
			err = blob.ErrNotFound
		}
		if errors.Is(err, blob.ErrNotFound) {
			if made.Kind != stepChunk { // which is looked at before it is used
				_ = os.Remove(to)
			}
			continue
		}
		if err != nil {
			return err
		}
		if info, err := os.Stat(to); err == nil {
			t.r.count.fetched.Add(info.Size())
		}
	}
	return nil
}

// anyMovie stands for all of them in bringAll.
const anyMovie = -1

// bringAll is bring for all steps of the kinds, of one movie or of all.
func (t *task) bringAll(ctx context.Context, movie int, kinds ...string) error {
	for _, kind := range kinds {
		rows, err := t.r.queue.Of(ctx, t.r.cfg.DB, t.run.ID, kind)
		if err != nil {
			return err
		}
		for _, row := range rows {
			var p piece
			if err := json.Unmarshal(row.Payload.V, &p); movie != anyMovie && (err != nil || p.Movie != movie) {
				continue
			}
			if err := t.bring(ctx, row); err != nil {
				return err
			}
		}
	}
	return nil
}

// madeHere tells whether a step was done by a process that works in this
// folder.
func (r *Recorder) madeHere(row db.RecordingJobRow) bool {
	return row.Worker == "node "+r.cfg.Node || strings.HasPrefix(row.Worker, "worker ") && strings.HasSuffix(row.Worker, " of node "+r.cfg.Node)
}
