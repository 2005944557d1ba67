package web

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"

	"stillwatch/internal/db"
	"stillwatch/internal/db/filter"
	"stillwatch/internal/event"
	"stillwatch/web/api"
)

// reviewFields are what the review queue can be filtered and sorted by at
// the moment now: a lock counts while it holds. Names that are not here are
// looked up in moderation_payload.custom.
func reviewFields(now time.Time) filter.Fields {
	return filter.Fields{
		"id":                 {Column: "id"},
		"status":             {Column: "status"},
		"severity":           {Column: "severity", Kind: filter.Number, Sortable: true},
		"recommended_action": {Column: "recommended_action"},
		"entity_type":        {Column: "entity_type"},
		"entity_id":          {Column: "entity_id"},
		"entity_creator_id":  {Column: "entity_creator_id"},
		"channel_cid": {Expr: func(dialect.Name) string {
			return "CASE WHEN entity_type = 'call' THEN entity_id ELSE '' END"
		}},
		"assigned_to": {Expr: func(dialect.Name) string {
			return "CASE WHEN lock_expires_at > " + strconv.FormatInt(now.UnixNano(), 10) + " THEN assigned_to ELSE '' END"
		}},
		"reviewed_by": {Column: "reviewed_by"},
		"escalated":   {Column: "escalated", Kind: filter.Bool},
		"created_at":  {Column: "created_at", Kind: filter.Instant, Sortable: true},
		"updated_at":  {Column: "updated_at", Kind: filter.Instant, Sortable: true},
		"reviewed_at": {Column: "reviewed_at", Kind: filter.Instant},
		filter.Any: {Kind: filter.Custom, Expr: func(d dialect.Name) string {
			if d == dialect.PG {
				return "(payload::jsonb -> 'custom')"
			}
			return "json_extract(payload, '$.custom')"
		}},
	}
}

// QueryReviewQueue lists the review queue, or locks items of it for the
// caller and returns those.
func (s *Server) QueryReviewQueue(ctx context.Context, req api.QueryReviewQueueRequestObject) (api.QueryReviewQueueResponseObject, error) {
	in, now := orZero(req.Body), s.cfg.Now()
	fields := reviewFields(now)
	page, err := fields.Page(sortOf(in.Sort), newestFirst, in.Limit, in.Next, in.Prev, "id")
	if err != nil {
		return nil, err
	}
	out := api.QueryReviewQueue200JSONResponse{
		Items: []event.ReviewItem{}, ActionConfig: map[string]any{}, DefaultActionConfig: map[string]any{}, FilterConfig: map[string]any{},
	}
	var rows []db.ReviewItemRow
	q, err := fields.Where(s.cfg.DB.NewSelect().Model(&rows), in.Filter)
	if err != nil {
		return nil, filtered("filter", err)
	}
	switch {
	case in.StatsOnly:
	case in.LockItems:
		rows, err = s.lockItems(ctx, in, fields, now)
	default:
		if err = page.Apply(q).Scan(ctx); err == nil {
			rows, out.Next, out.Prev = filter.Cut(page, rows, reviewValue)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read the review queue: %w", err)
	}
	if out.Items, err = s.cfg.DB.ReviewItems(ctx, rows, now); err != nil {
		return nil, err
	}
	out.Stats, err = s.reviewStats(ctx)
	return out, err
}

// reviewValue is a row's value of a field that the queue may be sorted by.
func reviewValue(r *db.ReviewItemRow, field string) any {
	switch field {
	case "severity":
		return r.Severity
	case "created_at":
		return r.CreatedAt
	case "updated_at":
		return r.UpdatedAt
	}
	return r.ID
}

// reviewStats counts the items by status.
func (s *Server) reviewStats(ctx context.Context) (map[string]int, error) {
	var rows []struct {
		Status string
		N      int
	}
	err := s.cfg.DB.NewSelect().Model((*db.ReviewItemRow)(nil)).Column("status").ColumnExpr("count(*) AS n").
		Group("status").Limit(maxLimit).Scan(ctx, &rows)
	if err != nil {
		return nil, fmt.Errorf("count review items: %w", err)
	}
	stats := map[string]int{}
	for _, row := range rows {
		stats[row.Status] = row.N
	}
	return stats, nil
}

// Defaults of a lock on review items.
const (
	lockCount    = 25
	lockDuration = 5 * time.Minute
)

// lockItems takes items that match the filter and that nobody holds, in the
// order asked for, and gives the caller a lock on them: in one transaction,
// and without ever handing one item to two. Unless the filter says otherwise,
// they are those that wait for a decision.
func (s *Server) lockItems(ctx context.Context, in api.QueryReviewQueueRequest, fields filter.Fields, now time.Time) (rows []db.ReviewItemRow, err error) {
	by, err := actor(request(ctx), in.UserID)
	if err != nil {
		return nil, err
	}
	if by == systemUser {
		return nil, badField("user_id", "must name the moderator whom the items are locked for")
	}
	count, until := in.LockCount, now.Add(time.Duration(in.LockDuration)*time.Second)
	if count == 0 {
		count = lockCount
	}
	if in.LockDuration == 0 {
		until = now.Add(lockDuration)
	}
	page, err := fields.Page(sortOf(in.Sort), newestFirst, count, in.Next, in.Prev, "id")
	if err != nil {
		return nil, err
	}
	err = s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		rows = nil
		q, err := fields.Where(tx.NewSelect().Model(&rows), in.Filter)
		if err != nil {
			return filtered("filter", err)
		}
		if _, asked := in.Filter["status"]; !asked {
			q = q.Where("status = ?", event.ReviewPending)
		}
		q = page.Apply(q.Where("lock_expires_at <= ?", db.At(now))).Limit(int64(count))
		if err := skipLocked(q).Scan(ctx); err != nil || len(rows) == 0 {
			return err
		}
		ids := make([]string, len(rows))
		for i := range rows {
			rows[i].AssignedTo, rows[i].LockExpiresAt = by, db.At(until)
			ids[i] = rows[i].ID
		}
		_, err = tx.NewUpdate().Model((*db.ReviewItemRow)(nil)).Set("assigned_to = ?", by).Set("lock_expires_at = ?", db.At(until)).
			Where("id IN (?)", bun.List(ids)).Exec(ctx)
		if err != nil {
			return err
		}
		return audit(ctx, tx, now, by, "review.lock", "review_queue", map[string]any{"items": ids, "until": until.UTC()})
	})
	return rows, err
}

// skipLocked leaves out the rows that another transaction is about to lock.
// SQLite has one writer, so there is none.
func skipLocked(q *bun.SelectQuery) *bun.SelectQuery {
	if q.DB().Dialect().Name() == dialect.PG {
		return q.For("UPDATE SKIP LOCKED")
	}
	return q
}

// GetReviewQueueItem reads one item, with its ETag.
func (s *Server) GetReviewQueueItem(ctx context.Context, req api.GetReviewQueueItemRequestObject) (api.GetReviewQueueItemResponseObject, error) {
	item, err := s.cfg.DB.ReviewItem(ctx, req.ID, s.cfg.Now())
	if db.IsNotFound(err) {
		return nil, notFound("review item", req.ID)
	}
	if err != nil {
		return nil, err
	}
	sendETag(ctx, itemTag(item))
	return api.GetReviewQueueItem200JSONResponse{Item: item}, nil
}

// itemTag is the ETag of what is decided about on an item. Its lock is no
// part of it, nor what else its creator does meanwhile.
func itemTag(i event.ReviewItem) string {
	return etag(i.UpdatedAt, []any{i.ID, i.Status, i.FlagsCount, i.Severity, i.RecommendedAction, i.LatestModeratorAction, i.Escalated, len(i.Actions)})
}
