// Package filter turns the filters, sorting and cursors of a list's request
// into SQL, for SQLite and PostgreSQL alike. Only fields that the list names
// can be asked for, and nothing of a request is ever SQL.
package filter

import (
	"maps"
	"slices"
	"strings"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"
)

// Bounds of a filter.
const (
	// MaxDepth is how deep $and, $or and $nor may be nested.
	MaxDepth = 8
	// MaxConditions bounds the conditions of a filter, all levels together.
	MaxConditions = 100
	// MaxValues bounds the list of an $in or $nin.
	MaxValues = 100
	// maxText bounds a text to compare with, in bytes.
	maxText = 1024
)

// Kind is the type of a field's values, and thereby which operators it takes.
type Kind int

// Kinds of fields. Columns are never NULL; "" and 0 and [] count as absent.
const (
	// Text is compared byte by byte; $autocomplete and $q ignore ASCII case.
	Text Kind = iota
	// Number is an integer or a floating-point column.
	Number
	// Bool is a column of 0 and 1.
	Bool
	// Instant is nanoseconds since 1970; a request gives RFC 3339 or those.
	Instant
	// TextList is a JSON array of text. Equal means: has the element.
	TextList
	// Custom is a JSON object. Requests name a key, or a path of keys, behind
	// a dot: custom.room, custom.seat.row.
	Custom
)

// Field is a field of a list.
type Field struct {
	// Column is the column, with its table's alias where there are several.
	Column string
	Kind   Kind
	// Sortable fields may be sorted by; TextList and Custom never are.
	Sortable bool
	// Expr, if set, stands for Column: SQL of the same type, never NULL.
	Expr func(dialect.Name) string
	// Has, if set, stands for Column in a TextList that is a table of its own:
	// SQL with one placeholder that is true when the list has that element.
	Has string
	// HasAny goes with Has: SQL that is true when the list has any element.
	HasAny string
}

// Any is the name, in Fields, of the Custom field in whose object every name
// is looked up that the list does not have.
const Any = "*"

// Fields are the fields of a list, by the names that requests use.
type Fields map[string]Field

// Error refuses a filter, a sort order or a cursor.
type Error struct {
	// Field is the path within the filter, or "sort[0].field", "next", "prev".
	Field string
	// Want says what would be right.
	Want string
}

// Error implements error.
func (e *Error) Error() string { return e.Field + " " + e.Want }

// Where narrows q to the rows that meet the conditions, which are a JSON
// object decoded into a map. The error is an *Error.
func (f Fields) Where(q *bun.SelectQuery, conditions map[string]any) (*bun.SelectQuery, error) {
	if len(conditions) == 0 {
		return q, nil
	}
	b := builder{fields: f, dialect: q.DB().Dialect().Name()}
	cond, err := b.object(conditions, "", 0)
	if err != nil {
		return q, err
	}
	return q.Where(cond.sql, cond.args...), nil
}

// find returns the field of a name in a request, with the path behind the
// dot of a Custom one.
func (f Fields) find(name string) (Field, []string, bool) {
	if field, ok := f[name]; ok && field.Kind != Custom && name != Any {
		return field, nil, true
	}
	path := strings.Split(name, ".")
	if field, ok := f[path[0]]; ok && field.Kind == Custom && len(path) > 1 {
		return field, path[1:], true
	}
	field, ok := f[Any]
	return field, path, ok
}

// names lists the fields for an error.
func (f Fields) names(keep func(Field) bool) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(f)) {
		field := f[name]
		if !keep(field) || name == Any {
			continue
		}
		if field.Kind == Custom {
			name += ".<key>"
		}
		out = append(out, name)
	}
	return strings.Join(out, ", ")
}

// expr is the field's SQL.
func (f Field) expr(d dialect.Name) sqlText {
	if f.Expr != nil {
		return sqlText{"?", []any{bun.Safe(f.Expr(d))}}
	}
	return sqlText{"?", []any{bun.Ident(f.Column)}}
}

// ordered is the field's SQL where order matters: byte by byte for text, as
// SQLite does it and PostgreSQL does not by itself.
func (f Field) ordered(d dialect.Name) sqlText {
	e := f.expr(d)
	if f.Kind == Text && d == dialect.PG {
		e.sql += ` COLLATE "C"`
	}
	return e
}
