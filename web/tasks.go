package web

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/web/api"
)

// ensureTask makes a task that waits, unless one of the kind is open for the
// object, and returns its id.
func ensureTask(ctx context.Context, tx bun.Tx, kind, object string, now time.Time) (string, error) {
	row := db.TaskRow{
		ID: event.NewID(), Kind: kind, Object: object, Status: db.TaskWaiting,
		Result: db.JSON[map[string]any]{V: map[string]any{}}, CreatedAt: db.At(now), UpdatedAt: db.At(now),
	}
	if _, err := tx.NewInsert().Model(&row).On("CONFLICT DO NOTHING").Exec(ctx); err != nil {
		return "", fmt.Errorf("insert task %s: %w", kind, err)
	}
	var open db.TaskRow
	err := tx.NewSelect().Model(&open).Where("kind = ?", kind).Where("object = ?", object).
		Where("status IN (?)", bun.List([]string{db.TaskWaiting, db.TaskRunning})).Scan(ctx)
	if err != nil {
		return "", fmt.Errorf("read task %s of %s: %w", kind, object, err)
	}
	return open.ID, nil
}

// GetTask tells how a task is going.
func (s *Server) GetTask(ctx context.Context, req api.GetTaskRequestObject) (api.GetTaskResponseObject, error) {
	var row db.TaskRow
	err := s.cfg.DB.NewSelect().Model(&row).Where("id = ?", req.ID).Scan(ctx)
	if db.IsNotFound(err) {
		return nil, notFound("task", req.ID)
	}
	if err != nil {
		return nil, fmt.Errorf("read task %s: %w", req.ID, err)
	}
	answer := api.GetTask200JSONResponse{
		TaskID: row.ID, Status: api.TaskResponseStatus(row.Status), Result: orEmptyMap(row.Result.V),
		CreatedAt: row.CreatedAt.Time, UpdatedAt: row.UpdatedAt.Time,
	}
	if row.Error != "" {
		answer.Error = map[string]any{"description": row.Error}
	}
	return answer, nil
}
