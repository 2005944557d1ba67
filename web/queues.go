package web

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/db/filter"
	"stillwatch/internal/event"
	"stillwatch/web/api"
)

// maxQueues bounds the saved queues.
const maxQueues = 1000

var queueFields = filter.Fields{
	"id":         {Column: "id"},
	"created_at": {Column: "created_at", Kind: filter.Instant, Sortable: true},
}

// ListQueues lists the saved queues.
func (s *Server) ListQueues(ctx context.Context, req api.ListQueuesRequestObject) (api.ListQueuesResponseObject, error) {
	page, err := queueFields.Page(nil, newestFirst, req.Params.Limit, req.Params.Next, "", "id")
	if err != nil {
		return nil, err
	}
	var rows []db.ReviewQueueRow
	if err := page.Apply(s.cfg.DB.NewSelect().Model(&rows)).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read saved queues: %w", err)
	}
	out := api.ListQueues200JSONResponse{Queues: []api.QueueBody{}}
	rows, out.Next, _ = filter.Cut(page, rows, func(r *db.ReviewQueueRow, field string) any {
		if field == "created_at" {
			return r.CreatedAt
		}
		return r.ID
	})
	for _, r := range rows {
		body, err := queueBody(r)
		if err != nil {
			return nil, err
		}
		out.Queues = append(out.Queues, body)
	}
	return out, nil
}

func queueBody(r db.ReviewQueueRow) (api.QueueBody, error) {
	body := api.QueueBody{
		ID: r.ID, Name: r.Name, Description: r.Description, CreatedBy: r.CreatedBy, CreatedAt: r.CreatedAt.Time, UpdatedAt: r.UpdatedAt.Time,
		Filters: api.Filter{}, Sort: []api.SortParam{},
	}
	if err := json.Unmarshal(r.Filters.V, &body.Filters); err != nil {
		return body, fmt.Errorf("read filters of queue %s: %w", r.ID, err)
	}
	if err := json.Unmarshal(r.Sort.V, &body.Sort); err != nil {
		return body, fmt.Errorf("read order of queue %s: %w", r.ID, err)
	}
	return body, nil
}

// checkQueue refuses filters and orders that the review queue would.
func (s *Server) checkQueue(in api.QueueRequest) error {
	fields := reviewFields(s.cfg.Now())
	if _, err := fields.Where(s.cfg.DB.NewSelect().Model((*db.ReviewItemRow)(nil)), in.Filters); err != nil {
		return filtered("filters", err)
	}
	_, err := fields.Page(sortOf(in.Sort), newestFirst, 0, "", "", "id")
	return err
}

// CreateQueue saves a filter and an order of the review queue.
func (s *Server) CreateQueue(ctx context.Context, req api.CreateQueueRequestObject) (api.CreateQueueResponseObject, error) {
	in := orZero(req.Body)
	if in.Name == "" {
		return nil, badField("name", "is missing")
	}
	if err := s.checkQueue(in); err != nil {
		return nil, err
	}
	by, err := actor(request(ctx), "")
	if err != nil {
		return nil, err
	}
	now := db.At(s.cfg.Now())
	row := db.ReviewQueueRow{ID: event.NewID(), CreatedBy: by, CreatedAt: now, UpdatedAt: now}
	row.Filters.V, row.Sort.V = json.RawMessage("{}"), json.RawMessage("[]")
	changeQueue(&row, in)
	err = s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		n, err := tx.NewSelect().Model((*db.ReviewQueueRow)(nil)).Count(ctx)
		if err != nil {
			return fmt.Errorf("count saved queues: %w", err)
		}
		if n >= maxQueues {
			return badInput("there are %d saved queues already, the most there can be", maxQueues)
		}
		if _, err := tx.NewInsert().Model(&row).Exec(ctx); err != nil {
			return fmt.Errorf("save the queue: %w", err)
		}
		return s.auditAs(request(ctx), ctx, tx, "queue.create", "queue:"+row.ID, map[string]any{"name": row.Name})
	})
	if err != nil {
		return nil, err
	}
	body, err := queueBody(row)
	sendETag(ctx, etag(body.UpdatedAt, body))
	return api.CreateQueue201JSONResponse{Queue: body}, err
}

// changeQueue puts what the request gives into the row.
func changeQueue(row *db.ReviewQueueRow, in api.QueueRequest) {
	if in.Name != "" {
		row.Name = in.Name
	}
	if in.Description != nil {
		row.Description = *in.Description
	}
	if in.Filters != nil {
		row.Filters.V = untyped(in.Filters)
	}
	if in.Sort != nil {
		row.Sort.V = untyped(in.Sort)
	}
}

// GetQueue reads a saved queue.
func (s *Server) GetQueue(ctx context.Context, req api.GetQueueRequestObject) (api.GetQueueResponseObject, error) {
	var row db.ReviewQueueRow
	if err := s.queue(ctx, s.cfg.DB, req.ID, &row); err != nil {
		return nil, err
	}
	body, err := queueBody(row)
	sendETag(ctx, etag(body.UpdatedAt, body))
	return api.GetQueue200JSONResponse{Queue: body}, err
}

func (s *Server) queue(ctx context.Context, from bun.IDB, id string, row *db.ReviewQueueRow) error {
	err := from.NewSelect().Model(row).Where("id = ?", id).Scan(ctx)
	if db.IsNotFound(err) {
		return notFound("queue", id)
	}
	if err != nil {
		return fmt.Errorf("read queue %s: %w", id, err)
	}
	return nil
}

// UpdateQueue changes a saved queue: what the request does not give stays.
func (s *Server) UpdateQueue(ctx context.Context, req api.UpdateQueueRequestObject) (api.UpdateQueueResponseObject, error) {
	in := orZero(req.Body)
	if err := s.checkQueue(in); err != nil {
		return nil, err
	}
	var body api.QueueBody
	err := s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		// The write comes first: it locks the row.
		if _, err := tx.NewUpdate().Model((*db.ReviewQueueRow)(nil)).Set("name = name").Where("id = ?", req.ID).Exec(ctx); err != nil {
			return fmt.Errorf("lock queue %s: %w", req.ID, err)
		}
		var row db.ReviewQueueRow
		if err := s.queue(ctx, tx, req.ID, &row); err != nil {
			return err
		}
		before, err := queueBody(row)
		if err != nil {
			return err
		}
		if err := ifMatch(req.Params.IfMatch, etag(before.UpdatedAt, before)); err != nil {
			return err
		}
		changeQueue(&row, in)
		row.UpdatedAt = db.At(s.cfg.Now())
		if _, err := tx.NewUpdate().Model(&row).WherePK().Exec(ctx); err != nil {
			return fmt.Errorf("write queue %s: %w", req.ID, err)
		}
		if body, err = queueBody(row); err != nil {
			return err
		}
		return s.auditAs(request(ctx), ctx, tx, "queue.update", "queue:"+row.ID, map[string]any{"name": row.Name})
	})
	if err != nil {
		return nil, err
	}
	sendETag(ctx, etag(body.UpdatedAt, body))
	return api.UpdateQueue200JSONResponse{Queue: body}, nil
}

// DeleteQueue deletes a saved queue; the items stay.
func (s *Server) DeleteQueue(ctx context.Context, req api.DeleteQueueRequestObject) (api.DeleteQueueResponseObject, error) {
	err := s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		res, err := tx.NewDelete().Model((*db.ReviewQueueRow)(nil)).Where("id = ?", req.ID).Exec(ctx)
		if err != nil {
			return fmt.Errorf("delete queue %s: %w", req.ID, err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			if err == nil {
				err = notFound("queue", req.ID)
			}
			return err
		}
		return s.auditAs(request(ctx), ctx, tx, "queue.delete", "queue:"+req.ID, nil)
	})
	return api.DeleteQueue200JSONResponse{}, err
}
