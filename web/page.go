package web

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"github.com/uptrace/bun"
)

// Bounds of "limit" for every list.
const (
	defaultLimit = 25
	maxLimit     = 100
)

// cursor is a place in a list that is sorted by time, newest first, then by
// id: the last row that was given out.
type cursor struct {
	at int64
	id string
}

func (c cursor) String() string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %s", c.at, c.id))
}

func parseCursor(s string) (cursor, error) {
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return cursor{}, badField("next", "is not a cursor of this list")
	}
	at, id, ok := strings.Cut(string(raw), " ")
	n, err := strconv.ParseInt(at, 10, 64)
	if !ok || err != nil {
		return cursor{}, badField("next", "is not a cursor of this list")
	}
	return cursor{n, id}, nil
}

// page is the part of a list that a request asks for.
type page struct {
	limit int
	after *cursor
}

// newPage checks limit (0 for the default; more than maxLimit counts as
// maxLimit) and next ("" for the first page).
func newPage(limit int, next string) (page, error) {
	if limit < 0 {
		return page{}, badField("limit", fmt.Sprintf("must be 1 to %d", maxLimit))
	}
	if limit == 0 {
		limit = defaultLimit
	}
	p := page{limit: min(limit, maxLimit)}
	if next == "" {
		return p, nil
	}
	c, err := parseCursor(next)
	p.after = &c
	return p, err
}

// apply sorts and cuts the query; at is the time column. It takes one row
// more than the page has, which tells whether there is a next page.
func (p page) apply(q *bun.SelectQuery, at string) *bun.SelectQuery {
	if p.after != nil {
		q = q.Where("(? < ? OR (? = ? AND ?TableAlias.id < ?))",
			bun.Ident(at), p.after.at, bun.Ident(at), p.after.at, p.after.id)
	}
	return q.OrderExpr("? DESC, ?TableAlias.id DESC", bun.Ident(at)).Limit(int64(p.limit) + 1)
}

// cut takes the extra row off again and returns the next page's cursor.
func cut[T any](p page, rows []T, at func(*T) cursor) ([]T, string) {
	if len(rows) <= p.limit {
		return rows, ""
	}
	rows = rows[:p.limit]
	return rows, at(&rows[len(rows)-1]).String()
}
