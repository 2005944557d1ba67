package web

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"

	"stillwatch/internal/db"
	"stillwatch/internal/db/filter"
	"stillwatch/web/api"
)

// logRow is one line of the moderation log.
type logRow struct {
	bun.BaseModel `bun:"table:log,alias:log"`
	ID            string
	Type          string
	UserID        string
	TargetUserID  string
	CID           string `bun:"cid"`
	ItemID        string
	Reason        string
	Custom        db.JSON[json.RawMessage]
	CreatedAt     db.Time
}

// logSQL is the moderation log: what was ordered of the executors by policy
// and people; what people decided, but for the orders that stand there
// already; and what was done to a call's list of blocked users directly,
// which only the audit has, with "cid/user" as its object.
func logSQL(d dialect.Name) string {
	item, cut, rest := "COALESCE(json_extract(payload, '$.review_queue_item_id'), '')",
		"substr(object, 1, instr(object, '/') - 1)", "substr(object, instr(object, '/') + 1)"
	if d == dialect.PG {
		item, cut, rest = "COALESCE(payload::jsonb ->> 'review_queue_item_id', '')", "split_part(object, '/', 1)", "split_part(object, '/', 2)"
	}
	return strings.NewReplacer("{item}", item, "{cid}", cut, "{user}", rest).Replace(`(
		SELECT id, kind AS type, by_user_id AS user_id, user_id AS target_user_id, cid, {item} AS item_id, reason,
			'{}' AS custom, requested_at AS created_at FROM actions
		UNION ALL
		SELECT id, type, user_id, target_user_id, cid, item_id, reason, custom, at FROM review_actions
			WHERE type NOT IN ('ban', 'kick_user', 'end_call')
		UNION ALL
		SELECT id, CASE verb WHEN 'call.block' THEN 'block' ELSE 'unblock' END, actor, {user}, {cid}, '', '', '{}', at FROM audit
			WHERE verb IN ('call.block', 'call.unblock')
	) AS log`)
}

var logFields = filter.Fields{
	"id":             {Column: "id"},
	"user_id":        {Column: "user_id"},
	"target_user_id": {Column: "target_user_id"},
	"type":           {Column: "type"},
	"channel_cid":    {Column: "cid"},
	"created_at":     {Column: "created_at", Kind: filter.Instant, Sortable: true},
}

// QueryModerationLogs lists what moderators and the policy did.
func (s *Server) QueryModerationLogs(ctx context.Context, req api.QueryModerationLogsRequestObject) (api.QueryModerationLogsResponseObject, error) {
	in := orZero(req.Body)
	page, err := logFields.Page(sortOf(in.Sort), newestFirst, in.Limit, in.Next, in.Prev, "id")
	if err != nil {
		return nil, err
	}
	var rows []logRow
	q := s.cfg.DB.NewSelect().Model(&rows).ModelTableExpr(logSQL(s.cfg.DB.Dialect().Name()))
	if q, err = logFields.Where(q, in.Filter); err != nil {
		return nil, filtered("filter", err)
	}
	if err := page.Apply(q).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read the moderation log: %w", err)
	}
	out := api.QueryModerationLogs200JSONResponse{Logs: []api.ActionLog{}}
	rows, out.Next, out.Prev = filter.Cut(page, rows, func(r *logRow, field string) any {
		if field == "created_at" {
			return r.CreatedAt
		}
		return r.ID
	})
	for _, r := range rows {
		line := api.ActionLog{
			ID: r.ID, Type: r.Type, UserID: r.UserID, TargetUserID: r.TargetUserID, ChannelCid: r.CID, ReviewQueueItemID: r.ItemID,
			Reason: r.Reason, Custom: api.Custom{}, CreatedAt: r.CreatedAt.Time,
		}
		if err := json.Unmarshal(r.Custom.V, &line.Custom); err != nil {
			return nil, fmt.Errorf("read log line %s: %w", r.ID, err)
		}
		if line.Custom == nil {
			line.Custom = api.Custom{}
		}
		out.Logs = append(out.Logs, line)
	}
	return out, nil
}
