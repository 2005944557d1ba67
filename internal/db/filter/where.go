package filter

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/uptrace/bun/dialect"
)

// sqlText is a piece of SQL with its placeholders' values. Conditions are
// never NULL, so that NOT is safe.
type sqlText struct {
	sql  string
	args []any
}

// text builds SQL of a format whose %s are pieces.
func text(format string, pieces ...sqlText) sqlText {
	out := sqlText{}
	parts := make([]any, len(pieces))
	for i, p := range pieces {
		parts[i] = p.sql
		out.args = append(out.args, p.args...)
	}
	out.sql = fmt.Sprintf(format, parts...)
	return out
}

// value is a placeholder.
func value(v any) sqlText { return sqlText{"?", []any{v}} }

func not(c sqlText) sqlText { return text("NOT (%s)", c) }

var (
	always = sqlText{sql: "1 = 1"}
	never  = sqlText{sql: "1 = 0"}
)

// join puts conditions together with AND or OR.
func join(op string, conds []sqlText) sqlText {
	if len(conds) == 1 {
		return conds[0]
	}
	out := sqlText{}
	var parts []string
	for _, c := range conds {
		parts = append(parts, "("+c.sql+")")
		out.args = append(out.args, c.args...)
	}
	out.sql = strings.Join(parts, " "+op+" ")
	return out
}

// builder walks one filter.
type builder struct {
	fields  Fields
	dialect dialect.Name
	count   int
}

// object is the conditions of one JSON object, all of which must hold.
func (b *builder) object(conditions map[string]any, path string, depth int) (sqlText, error) {
	if depth > MaxDepth {
		return sqlText{}, &Error{path, fmt.Sprintf("must not be nested more than %d deep", MaxDepth)}
	}
	if len(conditions) == 0 {
		return always, b.counted(path)
	}
	var conds []sqlText
	for _, name := range slices.Sorted(maps.Keys(conditions)) {
		var c sqlText
		var err error
		at := under(path, name)
		switch name {
		case "$and", "$or", "$nor":
			c, err = b.logic(name, conditions[name], at, depth)
		default:
			c, err = b.field(name, conditions[name], at)
		}
		if err != nil {
			return c, err
		}
		conds = append(conds, c)
	}
	return join("AND", conds), nil
}

// counted bounds the filter, and thereby the depth of its SQL.
func (b *builder) counted(path string) error {
	if b.count++; b.count > MaxConditions {
		return &Error{path, fmt.Sprintf("is one condition too many: a filter has at most %d", MaxConditions)}
	}
	return nil
}

// logic is $and, $or or $nor over a list of objects.
func (b *builder) logic(op string, list any, path string, depth int) (sqlText, error) {
	items, ok := list.([]any)
	if !ok || len(items) == 0 || len(items) > MaxConditions {
		return sqlText{}, &Error{path, fmt.Sprintf("must be a list of 1 to %d objects", MaxConditions)}
	}
	var conds []sqlText
	for i, item := range items {
		at := fmt.Sprintf("%s[%d]", path, i)
		object, ok := item.(map[string]any)
		if !ok {
			return sqlText{}, &Error{at, "must be an object of conditions"}
		}
		c, err := b.object(object, at, depth+1)
		if err != nil {
			return c, err
		}
		conds = append(conds, c)
	}
	switch op {
	case "$and":
		return join("AND", conds), nil
	case "$nor":
		return not(join("OR", conds)), nil
	}
	return join("OR", conds), nil
}

// field is the condition on one field: a value to equal, or operators.
func (b *builder) field(name string, want any, path string) (sqlText, error) {
	field, keys, ok := b.fields.find(name)
	if !ok || strings.HasPrefix(name, "$") {
		return sqlText{}, &Error{path, "is no field of this list; it has " + b.fields.names(func(Field) bool { return true })}
	}
	if err := checkKeys(keys, path); err != nil {
		return sqlText{}, err
	}
	operators, ok := want.(map[string]any)
	if !ok {
		operators = map[string]any{"$eq": want}
	} else if len(operators) == 0 {
		return sqlText{}, &Error{path, "must be a value or an object of operators"}
	}
	var conds []sqlText
	for _, op := range slices.Sorted(maps.Keys(operators)) {
		if err := b.counted(path); err != nil {
			return sqlText{}, err
		}
		at := path
		if ok {
			at = under(path, op)
		}
		c, err := b.operator(field, keys, op, operators[op], at)
		if err != nil {
			return c, err
		}
		conds = append(conds, c)
	}
	return join("AND", conds), nil
}

// operator is one condition. Negations and null are those of $eq, $in and
// $exists turned round.
func (b *builder) operator(f Field, keys []string, op string, want any, path string) (sqlText, error) {
	switch op {
	case "$ne":
		c, err := b.operator(f, keys, "$eq", want, path)
		return not(c), err
	case "$nin":
		c, err := b.operator(f, keys, "$in", want, path)
		return not(c), err
	case "$exists":
		on, ok := want.(bool)
		if !ok {
			return sqlText{}, &Error{path, "must be true or false"}
		}
		c := b.exists(f, keys)
		if !on {
			c = not(c)
		}
		return c, nil
	}
	if want == nil && op == "$eq" {
		return not(b.exists(f, keys)), nil
	}
	if f.Kind == Custom {
		return b.custom(f, keys, op, want, path)
	}
	return b.column(f, op, want, path)
}

// exists is true when the field has a value other than its empty one.
func (b *builder) exists(f Field, keys []string) sqlText {
	switch f.Kind {
	case Custom:
		return b.customExists(f, keys)
	case Bool:
		return always
	case Text:
		return text("%s <> ''", f.expr(b.dialect))
	case TextList:
		if f.HasAny != "" {
			return sqlText{sql: f.HasAny}
		}
		return text("%s NOT IN ('[]', 'null')", f.expr(b.dialect))
	}
	return text("%s <> 0", f.expr(b.dialect))
}

func under(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
