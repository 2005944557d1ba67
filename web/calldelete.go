package web

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/web/api"
)

// DeleteCall hides a call and closes its connections. With "hard" a task
// deletes what was kept of it as well, unless it is under hold; that can
// follow a deletion without it. Its id is free again when nothing is left.
func (s *Server) DeleteCall(ctx context.Context, req api.DeleteCallRequestObject) (api.DeleteCallResponseObject, error) {
	cid, hard := req.Type+":"+req.ID, orZero(req.Body).Hard
	answer := api.DeleteCallResponse{}
	err := s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		now := s.cfg.Now()
		res, err := tx.NewUpdate().Model((*db.CallRow)(nil)).Set("deleted_at = ?", db.At(now)).Set("updated_at = ?", db.At(now)).
			Set("ended_at = CASE WHEN ended_at = 0 THEN ? ELSE ended_at END", db.At(now)). // over, and told as deleted
			Where("cid = ?", cid).Where("deleted_at = 0").Exec(ctx)
		if err != nil {
			return fmt.Errorf("delete call %s: %w", cid, err)
		}
		n, err := res.RowsAffected()
		if err != nil {
			return err
		}
		answer.Call, err = s.cfg.DB.CallBody(ctx, cid)
		if db.IsNotFound(err) || err == nil && n == 0 && !hard {
			return notFound("call", cid)
		}
		if err != nil {
			return err
		}
		if n > 0 {
			if err := s.tellDeleted(ctx, tx, cid, hard); err != nil {
				return err
			}
		}
		if hard {
			answer.TaskID, err = ensureTask(ctx, tx, db.TaskDeleteCall, cid, now)
		}
		return err
	})
	return api.DeleteCall200JSONResponse(answer), err
}

// tellDeleted stops what is live of a call that was just deleted.
func (s *Server) tellDeleted(ctx context.Context, tx bun.Tx, cid string, hard bool) error {
	now := s.cfg.Now()
	if _, err := setFrameRecording(ctx, s.cfg.DB, tx, now, cid, false); err != nil {
		return err
	}
	if err := s.orderEnd(ctx, cid, "the call was deleted"); err != nil {
		return err
	}
	if err := s.cfg.DB.TellCallChanged(ctx, tx, event.CallDeleted, cid, now); err != nil {
		return err
	}
	return s.auditAs(request(ctx), ctx, tx, "call.delete", cid, map[string]any{"hard": hard})
}
