package retention

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// Of the tasks that delete calls.
const (
	// DefaultTaskEvery is the pause between looks for tasks.
	DefaultTaskEvery = time.Second
	// taskLease is after how long without progress a task counts as left behind
	// by a process that died.
	taskLease = 5 * time.Minute
	// taskRetry is the pause before a task that failed is tried again, taskTries
	// after how many tries it is given up.
	taskRetry = 30 * time.Second
	taskTries = 5
	// sessionGrace is how long a deleted call's session has to end by itself,
	// so that its end is told before its rows go.
	sessionGrace = time.Minute
)

// errLive puts a task off while the call's connections are being closed.
var errLive = errors.New("the call still has connections")

// RunTasks carries out the tasks that wait to delete calls, and returns how
// many it finished. A task that fails is tried again later.
func (s *Sweeper) RunTasks(ctx context.Context) (finished int, err error) {
	now := s.cfg.Now()
	var tasks []db.TaskRow
	err = s.db.NewSelect().Model(&tasks).Where("kind = ?", db.TaskDeleteCall).
		Where("(status = ? AND (error = '' OR updated_at <= ?)) OR (status = ? AND updated_at <= ?)",
			db.TaskWaiting, db.At(now.Add(-taskRetry)), db.TaskRunning, db.At(now.Add(-taskLease))).
		Order("created_at").Limit(int64(s.cfg.Page)).Scan(ctx)
	if err != nil {
		return 0, fmt.Errorf("read tasks: %w", err)
	}
	var errs []error
	for _, task := range tasks {
		done, err := s.runTask(ctx, task)
		if done {
			finished++
		}
		if err != nil && len(errs) < maxErrors {
			errs = append(errs, fmt.Errorf("task %s of %s: %w", task.ID, task.Object, err))
		}
	}
	return finished, errors.Join(errs...)
}

func (s *Sweeper) runTask(ctx context.Context, task db.TaskRow) (done bool, err error) {
	// The condition gives a task to one process.
	res, err := s.db.NewUpdate().Model((*db.TaskRow)(nil)).Set("status = ?", db.TaskRunning).Set("updated_at = ?", db.At(s.cfg.Now())).
		Where("id = ?", task.ID).Where("status = ?", task.Status).Where("updated_at = ?", task.UpdatedAt).Exec(ctx)
	if err != nil {
		return false, fmt.Errorf("take: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return false, err
	}
	counts, err := s.erase(ctx, task)
	switch {
	case errors.Is(err, errLive):
		return false, s.putBack(ctx, task, db.TaskWaiting, "")
	case err != nil && ctx.Err() != nil: // closing: no failure, and time enough to say so
		return false, s.putBack(context.WithoutCancel(ctx), task, db.TaskWaiting, "")
	case err != nil:
		tries, _ := task.Result.V["tries"].(float64)
		task.Result.V = map[string]any{"tries": tries + 1}
		state := db.TaskWaiting
		if tries+1 >= taskTries {
			state = db.TaskFailed
		}
		return false, errors.Join(err, s.putBack(ctx, task, state, err.Error()))
	}
	task.Result.V = counts
	return true, s.putBack(ctx, task, db.TaskCompleted, "")
}

// putBack writes a task's new state.
func (s *Sweeper) putBack(ctx context.Context, task db.TaskRow, status, why string) error {
	task.Status, task.Error, task.UpdatedAt = status, why, db.At(s.cfg.Now())
	if task.Result.V == nil {
		task.Result.V = map[string]any{}
	}
	if _, err := s.db.NewUpdate().Model(&task).WherePK().Column("status", "error", "result", "updated_at").Exec(ctx); err != nil {
		return fmt.Errorf("write as %s: %w", status, err)
	}
	return nil
}

// erase deletes what is kept of a deleted call: frames, objects first, then
// what was said and noted of it. Held frames stay with their verdicts, and
// with them the call's row, which keeps its id taken.
func (s *Sweeper) erase(ctx context.Context, task db.TaskRow) (map[string]any, error) {
	cid := task.Object
	var call db.CallRow
	err := s.db.NewSelect().Model(&call).Where("cid = ?", cid).Scan(ctx)
	if err != nil && !db.IsNotFound(err) {
		return nil, fmt.Errorf("read call: %w", err)
	}
	if call.CurrentSessionID != "" && s.cfg.Now().Sub(call.DeletedAt.Time) < sessionGrace {
		return nil, errLive
	}
	frames, err := s.eraseFrames(ctx, task)
	if err != nil {
		return nil, err
	}
	held := 0
	err = s.db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if held, err = eraseRows(ctx, tx, cid); err != nil {
			return err
		}
		detail, err := json.Marshal(map[string]any{"task_id": task.ID, "frames": frames, "held": held})
		if err != nil {
			return err
		}
		row := db.AuditRow{
			ID: event.DeriveID("erase", task.ID), At: db.At(s.cfg.Now()), Actor: "system", Verb: "call.erase", Object: cid,
			Detail: db.JSON[json.RawMessage]{V: detail},
		}
		_, err = tx.NewInsert().Model(&row).On("CONFLICT (id) DO NOTHING").Exec(ctx)
		return err
	})
	return map[string]any{"frames_deleted": frames, "frames_held": held}, err
}

// eraseFrames deletes the call's frames that are not held, page by page.
func (s *Sweeper) eraseFrames(ctx context.Context, task db.TaskRow) (count int, err error) {
	behind := ""
	for {
		var page []frame
		err := s.db.NewSelect().Model(&page).Where("cid = ?", task.Object).Where("hold = 0").Where("id > ?", behind).
			Order("id").Limit(int64(s.cfg.Page)).Scan(ctx)
		if err != nil {
			return count, fmt.Errorf("read frames: %w", err)
		}
		if len(page) == 0 {
			return count, nil
		}
		behind = page[len(page)-1].ID
		gone, failed, first := s.deleteObjects(ctx, page)
		if err := s.forget(ctx, task, gone); err != nil {
			return count, err
		}
		if count += len(gone); failed > 0 {
			return count, fmt.Errorf("%d objects are still there: %w", failed, first)
		}
	}
}

// forget deletes the rows of frames whose objects are gone, and what was made
// of them; and shows that the task goes on.
func (s *Sweeper) forget(ctx context.Context, task db.TaskRow, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	return s.db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewDelete().Model((*db.VerdictRow)(nil)).Where("frame_id IN (?)", bun.List(ids)).Exec(ctx); err != nil {
			return fmt.Errorf("delete verdicts: %w", err)
		}
		if _, err := tx.NewDelete().Model((*db.FrameRow)(nil)).Where("id IN (?)", bun.List(ids)).Exec(ctx); err != nil {
			return fmt.Errorf("delete frames: %w", err)
		}
		_, err := tx.NewUpdate().Model((*db.TaskRow)(nil)).Set("updated_at = ?", db.At(s.cfg.Now())).Where("id = ?", task.ID).Exec(ctx)
		return err
	})
}

// eraseRows deletes the rest of a call's rows and returns how many frames are
// held. Decisions, actions, reviews and the audit are kept: they are about
// people, and answer for what was done.
func eraseRows(ctx context.Context, tx bun.Tx, cid string) (held int, err error) {
	n, err := tx.NewSelect().Model((*frame)(nil)).Where("cid = ?", cid).Count(ctx)
	if err != nil {
		return 0, fmt.Errorf("count held frames: %w", err)
	}
	_, err = tx.NewDelete().Model((*db.VerdictRow)(nil)).Where("cid = ?", cid).
		Where("frame_id NOT IN (SELECT id FROM frames WHERE cid = ?)", cid).Exec(ctx)
	if err != nil {
		return 0, fmt.Errorf("delete verdicts: %w", err)
	}
	// The recorder deletes what has expired, if no hold is on it.
	_, err = tx.NewUpdate().Model((*db.RecordingFileRow)(nil)).Set("expires_at = 1").Where("cid = ?", cid).Where("hold = 0").Where("deleted_at = 0").Exec(ctx)
	if err != nil {
		return 0, fmt.Errorf("expire recordings: %w", err)
	}
	_, err = tx.NewUpdate().Model((*db.RecordingRow)(nil)).Set("finished_at = 1").Where("cid = ?", cid).Where("state = ?", db.RecordingFailed).Exec(ctx)
	if err != nil {
		return 0, fmt.Errorf("expire failed recordings: %w", err)
	}
	for _, model := range []any{(*db.GapRow)(nil), (*db.MemberRow)(nil), (*db.CallGrantRow)(nil), (*db.ParticipantRow)(nil), (*db.SessionRow)(nil)} {
		if _, err := tx.NewDelete().Model(model).Where("cid = ?", cid).Exec(ctx); err != nil {
			return 0, fmt.Errorf("delete %T: %w", model, err)
		}
	}
	if n == 0 {
		if _, err := tx.NewDelete().Model((*db.CallRow)(nil)).Where("cid = ?", cid).Where("deleted_at > 0").Exec(ctx); err != nil {
			return 0, fmt.Errorf("delete call: %w", err)
		}
	}
	return int(n), nil
}

// runTaskLoop looks for tasks until ctx ends.
func (s *Sweeper) runTaskLoop(ctx context.Context) {
	tick := time.NewTicker(DefaultTaskEvery)
	defer tick.Stop()
	for {
		if n, err := s.RunTasks(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("a call could not be deleted; it is tried again", "err", err)
		} else if n > 0 {
			s.log.Info("deleted calls are gone", "calls", n)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
