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
	// Two recordings of a session may have one object, where the same was made of
	// it: of the business lane and of the evidence.
	shared, err := r.cfg.DB.NewSelect().Model((*db.RecordingFileRow)(nil)).Where("cid = ?", file.CID).Where("storage = ?", file.Storage).
		Where("object_key = ?", file.ObjectKey).Where("id <> ?", file.ID).Where("deleted_at = 0").Exists(ctx)
	if err != nil {
		return fmt.Errorf("look who has the objects of file %s: %w", file.ID, err)
	}
	items := file.Items.V
	if shared {
		items = nil
	}
	for _, item := range items {
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

// stays tells whether the objects of a file whose retention is over are left
// where they are: in a storage of somebody else's. What was ordered to be
// deleted or erased is deleted there as well.
func (r *Recorder) stays(f db.RecordingFileRow) bool {
	return f.Storage != "" && !r.cfg.DeleteExternal && f.DeletedAt.IsZero() && !f.ExpiresAt.Equal(overdue.Time)
}

// unlist marks a file as gone, unless it is held, and leaves its objects.
func (r *Recorder) unlist(ctx context.Context, file db.RecordingFileRow, by, why string) error {
	return r.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		on, err := held(ctx, tx, file.RecordingID)
		if err != nil {
			return err
		}
		if on {
			return recording.ErrHeld
		}
		res, err := tx.NewUpdate().Model((*db.RecordingFileRow)(nil)).Set("deleted_at = ?", db.At(r.cfg.Now())).
			Where("id = ?", file.ID).Where("hold = 0").Where("deleted_at = 0").Exec(ctx)
		if err != nil {
			return fmt.Errorf("mark file %s: %w", file.ID, err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, recording.ErrHeld)
		}
		return r.audit(ctx, tx, by, VerbDelete, file.RecordingID, map[string]any{
			"file": file.ID, "object_key": file.ObjectKey, "sha256": file.SHA256, "why": why, "stays_in": file.Storage,
		})
	})
}

// sweepLoop deletes what has expired, and the packets of old failures.
func (r *Recorder) sweepLoop(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := errors.Join(r.Sweep(ctx), r.sweepRaw(ctx), r.sweepWork(ctx), r.sweepImports()); err != nil && ctx.Err() == nil {
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
	errs := []error{r.disarm(ctx), r.endOrphans(ctx), r.sweepFiles(ctx, now)}
	var old []db.RecordingRow
	err := r.cfg.DB.NewSelect().Model(&old).Where("state = ?", db.RecordingFailed).Where("finished_at > 0").
		Where("finished_at <= ?", db.At(now.Add(-r.cfg.KeepFailed))).
		Where("id NOT IN (SELECT recording_id FROM recording_holds WHERE released_at = 0)").Limit(sweepPage).Scan(ctx)
	if err != nil {
		return errors.Join(append(errs, fmt.Errorf("look for old failures: %w", err))...)
	}
	for _, run := range old {
		errs = append(errs, r.dropFailed(ctx, run))
	}
	return errors.Join(errs...)
}

// overdue is the expiry of what is to be deleted by the next sweep.
var overdue = db.At(time.Unix(0, 1))

// erased tells whether the call was ordered to be erased since the run began:
// what is made of it now comes too late.
func erased(ctx context.Context, tx bun.IDB, run db.RecordingRow) (bool, error) {
	gone, err := tx.NewSelect().Model((*db.TaskRow)(nil)).Where("kind = ?", db.TaskDeleteCall).Where("object = ?", run.CID).
		Where("created_at >= ?", run.CreatedAt).Exists(ctx)
	if err != nil {
		return false, fmt.Errorf("look whether %s is erased: %w", run.CID, err)
	}
	return gone, nil
}

// sweepFiles deletes the files whose retention is over, page by page. A store
// that refuses is left alone until the next sweep, and keeps nobody else's
// files from going.
func (r *Recorder) sweepFiles(ctx context.Context, now time.Time) error {
	var errs []error
	behind, refused := "", map[string]bool{}
	for ctx.Err() == nil {
		var files []db.RecordingFileRow
		err := r.cfg.DB.NewSelect().Model(&files).Where("hold = 0").Where("id > ?", behind).
			Where("(deleted_at = 0 AND expires_at > 0 AND expires_at <= ?) OR deleted_at < 0", db.At(now)).
			Order("id").Limit(sweepPage).Scan(ctx)
		if err != nil {
			return errors.Join(append(errs, fmt.Errorf("look for expired recordings: %w", err))...)
		}
		if len(files) == 0 {
			break
		}
		behind = files[len(files)-1].ID
		for _, f := range files {
			if refused[f.Storage] {
				continue
			}
			expire := r.deleteFile
			if r.stays(f) {
				expire = r.unlist
			}
			if err := expire(ctx, f, "system", "retention"); err != nil && !errors.Is(err, recording.ErrHeld) {
				refused[f.Storage] = true
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// orphanAge is how long after its last change a run that is on may be without
// a session.
const orphanAge = time.Minute

// endOrphans ends the runs that are on in a session that is over: they were
// ordered while it ended.
func (r *Recorder) endOrphans(ctx context.Context) error {
	var sessions []string
	err := r.cfg.DB.NewSelect().Model((*db.RecordingRow)(nil)).ColumnExpr("DISTINCT session_id").Where("node = ?", r.cfg.Node).
		Where("state = ?", db.RecordingOn).Where("session_id <> ''").
		Where("updated_at <= ?", db.At(r.cfg.Now().Add(-r.cfg.FlagGrace-orphanAge))).
		Where("NOT EXISTS (SELECT 1 FROM sessions WHERE sessions.id = ?TableAlias.session_id AND sessions.ended_at = 0)").Scan(ctx, &sessions)
	if err != nil {
		return fmt.Errorf("look for runs without a session: %w", err)
	}
	for _, id := range sessions {
		if !r.busy(id) {
			r.decideLater(id, true)
		}
	}
	return nil
}

// sweepWork removes what was made of recordings on the way to where nothing
// more is made: a process that dies once all is stored leaves it behind.
func (r *Recorder) sweepWork(ctx context.Context) error {
	dirs, err := os.ReadDir(filepath.Join(r.cfg.Dir, "work"))
	if err != nil {
		return fmt.Errorf("look for work: %w", err)
	}
	var errs []error
	for _, d := range dirs {
		needed, err := r.cfg.DB.NewSelect().Model((*db.RecordingRow)(nil)).Where("id = ?", d.Name()).
			Where("state IN (?, ?, ?)", db.RecordingOn, db.RecordingProcessing, db.RecordingFailed).Exists(ctx)
		if err != nil {
			return errors.Join(append(errs, fmt.Errorf("look who needs work %s: %w", d.Name(), err))...)
		}
		if !needed {
			errs = append(errs, r.cleanStored(ctx, d.Name()))
			continue
		}
		// Another worker may have been at it when it failed.
		errs = append(errs, r.cleanSealed(ctx, d.Name()))
	}
	return errors.Join(errs...)
}

// disarm ends the runs that wait for a session of a call that is over, or gone,
// and those that have waited for long enough.
func (r *Recorder) disarm(ctx context.Context) error {
	return r.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var runs []db.RecordingRow
		err := tx.NewSelect().Model(&runs).Where("session_id = ''").Where("state = ?", db.RecordingOn).
			Where("((armed_until > 0 AND armed_until <= ?) OR NOT EXISTS (SELECT 1 FROM calls WHERE calls.cid = ?TableAlias.cid AND calls.ended_at = 0 AND calls.deleted_at = 0))", db.At(r.cfg.Now())).
			Limit(sweepPage).Scan(ctx)
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

// dropFailed gives up for good what failed: its packets and half-made files. It
// does nothing if the run was held or is tried again by now.
func (r *Recorder) dropFailed(ctx context.Context, run db.RecordingRow) error {
	res, err := r.cfg.DB.NewUpdate().Model((*db.RecordingRow)(nil)).Set("state = ?", db.RecordingDiscarded).Set("updated_at = ?", db.At(r.cfg.Now())).
		Where("id = ?", run.ID).Where("state = ?", db.RecordingFailed).
		Where("NOT EXISTS (SELECT 1 FROM recording_holds WHERE recording_id = ? AND released_at = 0)", run.ID).Exec(ctx)
	if err != nil {
		return fmt.Errorf("discard %s: %w", run.ID, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err
	}
	return errors.Join(r.clean(run.ID), r.release(ctx, run.SessionID))
}
