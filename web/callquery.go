package web

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"

	"stillwatch/internal/auth"
	"stillwatch/internal/db"
	"stillwatch/internal/db/filter"
	"stillwatch/web/api"
)

var callFields = filter.Fields{
	"cid":                {Column: "c.cid", Kind: filter.Text, Sortable: true},
	"id":                 {Column: "c.id", Kind: filter.Text, Sortable: true},
	"type":               {Column: "c.type", Kind: filter.Text, Sortable: true},
	"team":               {Column: "c.team", Kind: filter.Text},
	"created_by_user_id": {Column: "c.created_by_id", Kind: filter.Text},
	"created_at":         {Column: "c.created_at", Kind: filter.Instant, Sortable: true},
	"updated_at":         {Column: "c.updated_at", Kind: filter.Instant, Sortable: true},
	"starts_at":          {Column: "c.starts_at", Kind: filter.Instant, Sortable: true},
	"ended_at":           {Column: "c.ended_at", Kind: filter.Instant, Sortable: true},
	"ongoing": {Kind: filter.Bool, Expr: func(dialect.Name) string {
		return "CASE WHEN c.current_session_id <> '' THEN 1 ELSE 0 END"
	}},
	"flagged": {Column: "c.flagged", Kind: filter.Bool},
	"members": {
		Kind: filter.TextList, Has: "c.cid IN (SELECT cid FROM call_members WHERE user_id = ?)",
		HasAny: "EXISTS (SELECT 1 FROM call_members AS cm WHERE cm.cid = c.cid)",
	},
	"custom": {Column: "c.custom", Kind: filter.Custom},
}

// newestFirst is the order of lists that ask for none.
var newestFirst = []filter.Sort{{Field: "created_at", Direction: filter.Falling}}

// QueryCalls lists calls: all of them to the backend and to moderators, to
// others those that they made or are a member of.
func (s *Server) QueryCalls(ctx context.Context, req api.QueryCallsRequestObject) (api.QueryCallsResponseObject, error) {
	in := orZero(req.Body)
	p, err := callFields.Page(sortOf(in.Sort), newestFirst, in.Limit, in.Next, in.Prev, "cid")
	if err != nil {
		return nil, err
	}
	var rows []db.CallRow
	q := visibleCalls(s.cfg.DB.NewSelect().Model(&rows), callerOf(ctx))
	if q, err = callFields.Where(q, in.FilterConditions); err != nil {
		return nil, filtered("filter_conditions", err)
	}
	if err := p.Apply(q).Scan(ctx); err != nil {
		return nil, fmt.Errorf("query calls: %w", err)
	}
	rows, next, prev := filter.Cut(p, rows, callSortValue)
	calls, err := s.callStates(ctx, rows, membersInList)
	if err != nil {
		return nil, err
	}
	return api.QueryCalls200JSONResponse{Calls: calls, Next: next, Prev: prev}, nil
}

// visibleCalls narrows a query over calls to what the caller may know of.
func visibleCalls(q *bun.SelectQuery, who auth.Identity) *bun.SelectQuery {
	q = q.Where("c.deleted_at = 0")
	if len(who.CallCIDs) > 0 && !who.Server {
		q = q.Where("c.cid IN (?)", bun.List(who.CallCIDs))
	}
	if who.Moderates() {
		return q
	}
	return q.Where("(c.created_by_id = ? OR c.cid IN (SELECT cid FROM call_members WHERE user_id = ?))", who.UserID, who.UserID)
}

func callSortValue(row *db.CallRow, field string) any {
	switch field {
	case "cid":
		return row.CID
	case "id":
		return row.ID
	case "type":
		return row.Type
	case "updated_at":
		return row.UpdatedAt
	case "starts_at":
		return row.StartsAt
	case "ended_at":
		return row.EndedAt
	}
	return row.CreatedAt
}
