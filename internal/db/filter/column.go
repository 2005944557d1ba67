package filter

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/uptrace/bun/dialect"
)

// comparisons are the operators that SQL has as well.
var comparisons = map[string]string{"$eq": "=", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}

// operatorsOf lists what a kind takes, for errors.
var operatorsOf = map[Kind]string{
	Text:     "$eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, $exists, $autocomplete, $q",
	Number:   "$eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, $exists",
	Instant:  "$eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, $exists",
	Bool:     "$eq, $ne, $in, $nin, $exists",
	TextList: "$eq, $ne, $in, $nin, $exists, $contains",
	Custom:   "$eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, $exists, $contains, $autocomplete, $q",
}

func noOperator(f Field, path string) *Error {
	return &Error{path, "is no operator for this field; it takes " + operatorsOf[f.Kind]}
}

// column is a condition on a field that is not Custom.
func (b *builder) column(f Field, op string, want any, path string) (sqlText, error) {
	if op == "$in" {
		return b.in(want, path, func(v any, at string) (sqlText, error) { return b.column(f, "$eq", v, at) })
	}
	v, err := f.value(want, path)
	if err != nil {
		return sqlText{}, err
	}
	if f.Kind == TextList {
		if op != "$eq" && op != "$contains" {
			return sqlText{}, noOperator(f, path)
		}
		return b.has(f, v), nil
	}
	if sign, ok := comparisons[op]; ok && (op == "$eq" || f.Kind != Bool) {
		left := f.ordered(b.dialect)
		if op == "$eq" {
			left = f.expr(b.dialect)
		}
		return text("%s "+sign+" %s", left, value(v)), nil
	}
	if f.Kind == Text && (op == "$autocomplete" || op == "$q") {
		return b.search(f.expr(b.dialect), op, v.(string)), nil
	}
	return sqlText{}, noOperator(f, path)
}

// in is true when one of the listed values is equal.
func (b *builder) in(list any, path string, equal func(v any, at string) (sqlText, error)) (sqlText, error) {
	values, ok := list.([]any)
	if !ok || len(values) > MaxValues {
		return sqlText{}, &Error{path, fmt.Sprintf("must be a list of at most %d values", MaxValues)}
	}
	if len(values) == 0 {
		return never, nil
	}
	var conds []sqlText
	for i, v := range values {
		c, err := equal(v, fmt.Sprintf("%s[%d]", path, i))
		if err != nil {
			return c, err
		}
		conds = append(conds, c)
	}
	return join("OR", conds), nil
}

// has is true when a TextList has the element.
func (b *builder) has(f Field, element any) sqlText {
	switch {
	case f.Has != "":
		return sqlText{f.Has, []any{element}}
	case b.dialect == dialect.PG:
		return text("jsonb_exists(%s::jsonb, %s)", f.expr(b.dialect), value(element))
	}
	return text("EXISTS (SELECT 1 FROM json_each(%s) AS el WHERE el.value = %s)", f.expr(b.dialect), value(element))
}

// search is a prefix ($autocomplete), or every word somewhere ($q). ASCII
// letters match in either case.
func (b *builder) search(expr sqlText, op, want string) sqlText {
	want = lowerASCII(want)
	if op == "$autocomplete" {
		return text(b.position()+" = 1", expr, value(want))
	}
	conds := []sqlText{}
	for word := range strings.FieldsSeq(want) {
		conds = append(conds, text(b.position()+" > 0", expr, value(word)))
	}
	if len(conds) == 0 {
		return always
	}
	return join("AND", conds)
}

// position formats where a text has another, from 1 on. "C" makes
// PostgreSQL's lower know ASCII alone, as SQLite's does.
func (b *builder) position() string {
	if b.dialect == dialect.PG {
		return `strpos(lower(%s COLLATE "C"), %s)`
	}
	return "instr(lower(%s), %s)"
}

func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// value checks and converts a value to compare the field with.
func (f Field) value(v any, path string) (any, error) {
	switch f.Kind {
	case Text, TextList:
		return textValue(v, path)
	case Bool:
		if on, ok := v.(bool); ok {
			if on {
				return int64(1), nil
			}
			return int64(0), nil
		}
		return nil, &Error{path, "must be true or false"}
	case Instant:
		return instantValue(v, path)
	}
	if n, ok := number(v); ok {
		return n, nil
	}
	return nil, &Error{path, "must be a number"}
}

func textValue(v any, path string) (any, error) {
	s, ok := v.(string)
	if !ok || len(s) > maxText || strings.ContainsRune(s, 0) || !utf8.ValidString(s) {
		return nil, &Error{path, fmt.Sprintf("must be text of at most %d bytes, without zero bytes", maxText)}
	}
	return s, nil
}

// The instants that nanoseconds in 64 bits can name.
var (
	firstInstant = time.Unix(0, math.MinInt64)
	lastInstant  = time.Unix(0, math.MaxInt64)
)

func instantValue(v any, path string) (any, error) {
	if s, ok := v.(string); ok {
		if t, err := time.Parse(time.RFC3339Nano, s); err == nil && t.After(firstInstant) && t.Before(lastInstant) {
			return t.UnixNano(), nil
		}
	}
	if n, ok := number(v); ok {
		if ns, ok := n.(int64); ok {
			return ns, nil
		}
	}
	return nil, &Error{path, "must be a time as in RFC 3339, or nanoseconds since 1970"}
}

// number is v as an int64 where it is whole, else as a float64.
func number(v any) (any, bool) {
	switch n := v.(type) {
	case float64:
		// 2^62: whole floats up to there convert exactly.
		if n == math.Trunc(n) && math.Abs(n) <= 1<<62 {
			return int64(n), true
		}
		return n, !math.IsNaN(n) && !math.IsInf(n, 0)
	case int:
		return int64(n), true
	case int64:
		return n, true
	case json.Number:
		if i, err := n.Int64(); err == nil {
			return i, true
		}
		x, err := n.Float64()
		if err != nil {
			return nil, false
		}
		return number(x)
	}
	return nil, false
}
