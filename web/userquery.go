package web

import (
	"context"
	"fmt"

	"github.com/uptrace/bun/dialect"

	"stillwatch/internal/db"
	"stillwatch/internal/db/filter"
	"stillwatch/web/api"
)

// userFields are the fields that users are listed by at the moment now, in
// nanoseconds since 1970.
func userFields(now int64) filter.Fields {
	return filter.Fields{
		"id":          {Column: "u.id", Kind: filter.Text, Sortable: true},
		"name":        {Column: "u.name", Kind: filter.Text, Sortable: true},
		"role":        {Column: "u.role", Kind: filter.Text},
		"online":      {Column: "u.online", Kind: filter.Bool},
		"created_at":  {Column: "u.created_at", Kind: filter.Instant, Sortable: true},
		"updated_at":  {Column: "u.updated_at", Kind: filter.Instant, Sortable: true},
		"last_active": {Column: "u.last_active", Kind: filter.Instant, Sortable: true},
		"teams":       {Column: "u.teams", Kind: filter.TextList},
		"custom":      {Column: "u.custom", Kind: filter.Custom},
		"banned": {Kind: filter.Bool, Expr: func(dialect.Name) string {
			return fmt.Sprintf("CASE WHEN u.id IN (SELECT user_id FROM bans WHERE cid = '' AND shadow = 0 AND lifted_at = 0 "+
				"AND (expires_at = 0 OR expires_at > %d)) THEN 1 ELSE 0 END", now)
		}},
	}
}

// usersPayload is what the query of QueryUsers says.
type usersPayload struct {
	FilterConditions map[string]any  `json:"filter_conditions"`
	Sort             []api.SortParam `json:"sort"`
	Limit            int             `json:"limit"`
	Offset           int             `json:"offset"`
	Next             string          `json:"next"`
}

// QueryUsers lists users.
func (s *Server) QueryUsers(ctx context.Context, req api.QueryUsersRequestObject) (api.QueryUsersResponseObject, error) {
	var in usersPayload
	if err := payload(req.Params.Payload, &in); err != nil {
		return nil, err
	}
	if in.Offset < 0 || in.Offset > maxOffset {
		return nil, badField("payload.offset", fmt.Sprintf("must be 0 to %d; next goes further", maxOffset))
	}
	fields := userFields(s.cfg.Now().UnixNano())
	p, err := fields.Page(sortOf(in.Sort), newestFirst, in.Limit, in.Next, "", "id")
	if err != nil {
		return nil, filtered("payload", err)
	}
	var rows []db.UserRow
	q, err := fields.Where(s.cfg.DB.NewSelect().Model(&rows), in.FilterConditions)
	if err != nil {
		return nil, filtered("payload.filter_conditions", err)
	}
	if err := p.Apply(q).Offset(int64(in.Offset)).Scan(ctx); err != nil {
		return nil, fmt.Errorf("query users: %w", err)
	}
	rows, next, _ := filter.Cut(p, rows, userSortValue)
	ids := make([]string, len(rows))
	for i, row := range rows {
		ids[i] = row.ID
	}
	users, err := s.cfg.DB.UsersIn(ctx, "", ids...)
	answer := api.QueryUsers200JSONResponse{Users: make([]api.User, len(ids)), Next: next}
	for i, id := range ids {
		answer.Users[i] = users[id]
	}
	return answer, err
}

func userSortValue(row *db.UserRow, field string) any {
	switch field {
	case "id":
		return row.ID
	case "name":
		return row.Name
	case "updated_at":
		return row.UpdatedAt
	case "last_active":
		return row.LastActive
	}
	return row.CreatedAt
}
