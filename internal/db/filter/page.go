package filter

import (
	"fmt"
	"slices"
	"strings"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"
)

// Limits of a page.
const (
	// DefaultLimit is the length of a page of which nothing is said.
	DefaultLimit = 25
	// MaxLimit is the longest page; who asks for more gets this many.
	MaxLimit = 100
)

// Directions of a sort.
const (
	Rising  = 1
	Falling = -1
)

// Sort is one field to sort by.
type Sort struct {
	Field string
	// Direction is Rising or Falling; 0 counts as Rising.
	Direction int
}

// column is a Sort that has been checked.
type column struct {
	name    string
	field   Field
	falling bool
}

// Page is one page of a sorted list.
type Page struct {
	columns []column
	limit   int
	// from is where the page begins: the values of the row before it, or of
	// the row after it when back is set. Nil is the list's beginning.
	from []any
	back bool
	list string
}

// Page checks what a request says of order and place: sort (def where it is
// empty), limit, and at most one of the cursors next and prev that Cut gave.
// key is the field that no two rows share; it decides between rows that are
// otherwise equal. The error is an *Error.
func (f Fields) Page(sort, def []Sort, limit int, next, prev, key string) (Page, error) {
	p := Page{limit: limit}
	if p.limit <= 0 {
		p.limit = DefaultLimit
	}
	p.limit = min(p.limit, MaxLimit)
	if len(sort) == 0 {
		sort = def
	}
	seen := map[string]bool{}
	for i, s := range sort {
		at := fmt.Sprintf("sort[%d]", i)
		field, ok := f[s.Field]
		switch {
		case !ok || !field.Sortable || field.Kind >= TextList:
			return p, &Error{at + ".field", "must be one of " + f.names(func(field Field) bool { return field.Sortable })}
		case s.Direction < Falling || s.Direction > Rising:
			return p, &Error{at + ".direction", "must be 1 (rising) or -1 (falling)"}
		case seen[s.Field]:
			return p, &Error{at + ".field", "is sorted by already"}
		}
		seen[s.Field] = true
		p.columns = append(p.columns, column{s.Field, field, s.Direction == Falling})
	}
	if !seen[key] {
		falling := len(p.columns) > 0 && p.columns[len(p.columns)-1].falling
		p.columns = append(p.columns, column{key, f[key], falling})
	}
	p.list = f.signature(p.columns)
	return p, p.start(next, prev)
}

// start reads the cursor, if there is one.
func (p *Page) start(next, prev string) error {
	var err error
	switch {
	case next != "" && prev != "":
		return &Error{"prev", "must not be given together with next"}
	case next != "":
		p.from, err = p.decode("next", next)
	case prev != "":
		p.back = true
		p.from, err = p.decode("prev", prev)
	}
	return err
}

// Limit is how many rows the page has at most.
func (p Page) Limit() int { return p.limit }

// Apply sorts q and narrows it to the page and one row more, by which Cut
// sees whether the list goes on.
func (p Page) Apply(q *bun.SelectQuery) *bun.SelectQuery {
	d := q.DB().Dialect().Name()
	if p.from != nil {
		c := p.after(d, 0)
		q = q.Where(c.sql, c.args...)
	}
	for _, c := range p.columns {
		direction := "ASC"
		if c.falling != p.back {
			direction = "DESC"
		}
		e := c.field.ordered(d)
		q = q.OrderExpr(e.sql+" "+direction, e.args...)
	}
	return q.Limit(int64(p.limit) + 1)
}

// after is true for the rows behind p.from, looking at columns from i on. The
// first comparison of each level is implied; by it an index finds the place.
func (p Page) after(d dialect.Name, i int) sqlText {
	c, v := p.columns[i], value(p.from[i])
	sign := ">"
	if c.falling != p.back {
		sign = "<"
	}
	e := c.field.ordered(d)
	if i == len(p.columns)-1 {
		return text("%s "+sign+" %s", e, v)
	}
	return text("%s "+sign+"= %s AND (%s "+sign+" %s OR (%s))", e, v, e, v, p.after(d, i+1))
}

// Cut takes the rows that a query of p.Apply found and returns those of the
// page in their order, with the cursors of the pages after and before it; ""
// where there is none. value gives a row's value of a field that may be
// sorted by: a string, an integer, a float64, a bool, a time.Time, or a
// driver.Valuer of those.
func Cut[T any](p Page, rows []T, value func(row *T, field string) any) (page []T, next, prev string) {
	more := len(rows) > p.limit
	rows = rows[:min(len(rows), p.limit)]
	if p.back {
		rows = slices.Clone(rows)
		slices.Reverse(rows)
	}
	if len(rows) == 0 {
		return rows, "", ""
	}
	cursor := func(row *T) string {
		values := make([]any, len(p.columns))
		for i, c := range p.columns {
			values[i] = value(row, c.name)
		}
		return p.encode(values)
	}
	if more || p.back {
		next = cursor(&rows[len(rows)-1])
	}
	if p.from != nil && (more || !p.back) {
		prev = cursor(&rows[0])
	}
	return rows, next, prev
}

// signature names the list and its order, for cursors to be bound to.
func (f Fields) signature(columns []column) string {
	parts := []string{f.names(func(Field) bool { return true })}
	for _, c := range columns {
		parts = append(parts, fmt.Sprint(c.name, c.field.Column, c.field.Kind, c.falling))
	}
	return digest(strings.Join(parts, "|"))
}
