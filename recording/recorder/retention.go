package recorder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/storage"
	"stillwatch/recording"
)

// Of the sweep.
const (
	sweepEvery = time.Minute
	sweepPage  = 100
)

// deleteByID removes a file and its objects now.
func (r *Recorder) deleteByID(ctx context.Context, fileID, by string) error {
	var file db.RecordingFileRow
	err := r.cfg.DB.NewSelect().Model(&file).Where("id = ?", fileID).Where("deleted_at = 0").Scan(ctx)
	if db.IsNotFound(err) {
		return recording.ErrUnknown
	}
	if err != nil {
		return fmt.Errorf("read file %s: %w", fileID, err)
	}
	return r.deleteFile(ctx, file, by, "order")
}

// deleteFile marks a file as gone, unless it is held, and then deletes its
// objects. The mark comes first, so that a hold that is placed at the same
// moment either prevents the deletion or comes too late, never half; objects
// that could not be deleted are found again by their mark.
func (r *Recorder) deleteFile(ctx context.Context, file db.RecordingFileRow, by, why string) error {
	err := r.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		on, err := held(ctx, tx, file.RecordingID)
		if err != nil {
			return err
		}
		if on {
			return recording.ErrHeld
		}
		res, err := tx.NewUpdate().Model((*db.RecordingFileRow)(nil)).Set("deleted_at = ?", -1).
			Where("id = ?", file.ID).Where("hold = 0").Where("deleted_at <= 0").Exec(ctx)
		if err != nil {
			return fmt.Errorf("mark file %s: %w", file.ID, err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, recording.ErrHeld)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, item := range file.Items.V {
		if err := r.cfg.Objects.Delete(ctx, storage.Ref(file.Storage, item.Key)); err != nil {
			return fmt.Errorf("delete %s: %w", item.Key, err)
		}
	}
	return r.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewUpdate().Model((*db.RecordingFileRow)(nil)).Set("deleted_at = ?", db.At(r.cfg.Now())).Where("id = ?", file.ID).Exec(ctx)
		if err != nil {
			return fmt.Errorf("mark file %s: %w", file.ID, err)
		}
		r.count.deleted.Add(1)
		return r.audit(ctx, tx, by, VerbDelete, file.RecordingID, map[string]any{
			"file": file.ID, "object_key": file.ObjectKey, "sha256": file.SHA256, "why": why,
		})
	})
}

// sweepLoop deletes what has expired, and the packets of old failures.
func (r *Recorder) sweepLoop(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := errors.Join(r.Sweep(ctx), r.sweepRaw(ctx), r.sweepImports()); err != nil && ctx.Err() == nil {
			r.log.Error("sweep of recordings is incomplete; the next one tries again", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Sweep deletes the files whose retention is over, what an earlier deletion
// left, and the packets of recordings that failed long ago.
func (r *Recorder) Sweep(ctx context.Context) error {
	now := r.cfg.Now()
	var files []db.RecordingFileRow
	err := r.cfg.DB.NewSelect().Model(&files).Where("hold = 0").
		Where("(deleted_at = 0 AND expires_at > 0 AND expires_at <= ?) OR deleted_at < 0", db.At(now)).
		Order("expires_at").Limit(sweepPage).Scan(ctx)
	if err != nil {
		return fmt.Errorf("look for expired recordings: %w", err)
	}
	errs := []error{r.disarm(ctx)}
	for _, f := range files {
		if err := r.deleteFile(ctx, f, "system", "retention"); err != nil && !errors.Is(err, recording.ErrHeld) {
			errs = append(errs, err)
		}
	}
	var old []db.RecordingRow
	err = r.cfg.DB.NewSelect().Model(&old).Where("state = ?", db.RecordingFailed).Where("finished_at > 0").
		Where("finished_at <= ?", db.At(now.Add(-r.cfg.KeepFailed))).Limit(sweepPage).Scan(ctx)
	if err != nil {
		return errors.Join(append(errs, fmt.Errorf("look for old failures: %w", err))...)
	}
	for _, run := range old {
		on, err := held(ctx, r.cfg.DB, run.ID)
		if err == nil && !on {
			err = r.dropFailed(ctx, run)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// disarm ends the runs that wait for a session of a call that is over.
func (r *Recorder) disarm(ctx context.Context) error {
	return r.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var runs []db.RecordingRow
		err := tx.NewSelect().Model(&runs).Where("session_id = ''").Where("state = ?", db.RecordingOn).
			Where("cid IN (SELECT cid FROM calls WHERE ended_at > 0 OR deleted_at > 0)").Limit(sweepPage).Scan(ctx)
		if err != nil {
			return fmt.Errorf("look for runs of calls that are over: %w", err)
		}
		for i := range runs {
			if err := r.endRun(ctx, tx, &runs[i], r.cfg.Now()); err != nil {
				return err
			}
		}
		return nil
	})
}

// rawAge is how old a folder of packets has to be to be looked at by the sweep:
// one that is being brought here has no rows yet.
const rawAge = 10 * time.Minute

// sweepRaw destroys packets that nothing needs any more, as those whose last
// step another process did.
func (r *Recorder) sweepRaw(ctx context.Context) error {
	dirs, err := os.ReadDir(filepath.Join(r.cfg.Dir, "raw"))
	if err != nil {
		return fmt.Errorf("look for packets: %w", err)
	}
	var errs []error
	for _, d := range dirs {
		info, err := d.Info()
		if err != nil || time.Since(info.ModTime()) < rawAge {
			continue
		}
		errs = append(errs, r.release(ctx, d.Name()))
	}
	return errors.Join(errs...)
}

// dropFailed gives up for good what failed: its packets and half-made files.
func (r *Recorder) dropFailed(ctx context.Context, run db.RecordingRow) error {
	_, err := r.cfg.DB.NewUpdate().Model((*db.RecordingRow)(nil)).Set("state = ?", db.RecordingDiscarded).Set("updated_at = ?", db.At(r.cfg.Now())).
		Where("id = ?", run.ID).Where("state = ?", db.RecordingFailed).Exec(ctx)
	if err != nil {
		return fmt.Errorf("discard %s: %w", run.ID, err)
	}
	return errors.Join(r.clean(run.ID), r.release(ctx, run.SessionID))
}
