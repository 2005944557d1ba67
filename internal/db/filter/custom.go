package filter

import (
	"fmt"
	"strings"

	"github.com/uptrace/bun/dialect"
)

const (
	// maxKeys is how deep a custom field's path may go.
	maxKeys = 5
	// maxKey bounds one key of it, in bytes.
	maxKey = 64
)

// checkKeys holds the path of a custom field to what both databases can
// express: SQLite's JSON paths know no escape for a quote.
func checkKeys(keys []string, path string) error {
	wrong := len(keys) > maxKeys
	for _, key := range keys {
		wrong = wrong || key == "" || len(key) > maxKey || strings.ContainsFunc(key, func(r rune) bool {
			return r < ' ' || r == '"' || r == '\\' || r == 0x7f || r == 0xfffd
		})
	}
	if wrong {
		return &Error{path, fmt.Sprintf("must be up to %d keys of 1 to %d bytes, joined by dots, without quotes, backslashes and control characters", maxKeys, maxKey)}
	}
	return nil
}

// jsonPath is the value behind the keys as this dialect reads it: of type
// jsonb in PostgreSQL, a column and a path in SQLite.
func (b *builder) jsonPath(f Field, keys []string) sqlText {
	out := f.expr(b.dialect)
	if b.dialect == dialect.PG {
		out.sql += "::jsonb"
		for _, key := range keys {
			out.sql += " -> ?::text"
			out.args = append(out.args, key)
		}
		return text("(%s)", out)
	}
	return text("%s, %s", out, value(`$."`+strings.Join(keys, `"."`)+`"`))
}

// typed is cond where the value behind the keys has that JSON type, and
// false elsewhere. CASE keeps the database from casting what is not.
func (b *builder) typed(f Field, keys []string, pgType, sqliteTypes string, cond func(at sqlText) sqlText) sqlText {
	at := b.jsonPath(f, keys)
	if b.dialect == dialect.PG {
		return text("CASE WHEN jsonb_typeof(%s) = '"+pgType+"' THEN %s ELSE FALSE END", at, cond(at))
	}
	return text("CASE WHEN json_type(%s) IN ("+sqliteTypes+") THEN %s ELSE 0 END", at, cond(at))
}

// scalar is the SQL value of the text or number at a path.
func (b *builder) scalar(at sqlText, numeric bool) sqlText {
	switch {
	case b.dialect != dialect.PG:
		return text("json_extract(%s)", at)
	case numeric:
		return text("(%s #>> '{}')::double precision", at)
	}
	return text(`(%s #>> '{}') COLLATE "C"`, at)
}

func (b *builder) customExists(f Field, keys []string) sqlText {
	at := b.jsonPath(f, keys)
	if b.dialect == dialect.PG {
		return text("COALESCE(jsonb_typeof(%s), 'null') <> 'null'", at)
	}
	return text("COALESCE(json_type(%s), 'null') <> 'null'", at)
}

// custom is a condition on a key of a custom object. A value of another JSON
// type than the wanted one is not equal, not greater, and not less.
func (b *builder) custom(f Field, keys []string, op string, want any, path string) (sqlText, error) {
	if op == "$in" {
		return b.in(want, path, func(v any, at string) (sqlText, error) { return b.custom(f, keys, "$eq", v, at) })
	}
	if op == "$contains" {
		return b.customContains(f, keys, want, path)
	}
	sign, compares := comparisons[op]
	if on, ok := want.(bool); ok {
		if op != "$eq" {
			return sqlText{}, &Error{path, "must be text or a number"}
		}
		return b.customBool(f, keys, on), nil
	}
	if n, ok := number(want); ok {
		if !compares {
			return sqlText{}, &Error{path, "must be text"}
		}
		return b.typed(f, keys, "number", "'integer', 'real'", func(at sqlText) sqlText {
			return text("%s "+sign+" CAST(%s AS DOUBLE PRECISION)", b.scalar(at, true), value(n))
		}), nil
	}
	v, err := textValue(want, path)
	if err != nil {
		return sqlText{}, &Error{path, fmt.Sprintf("must be a number, true, false, or text of at most %d bytes", maxText)}
	}
	if !compares && op != "$autocomplete" && op != "$q" {
		return sqlText{}, noOperator(f, path)
	}
	return b.typed(f, keys, "string", "'text'", func(at sqlText) sqlText {
		if !compares {
			return b.search(b.scalar(at, false), op, v.(string))
		}
		return text("%s "+sign+" %s", b.scalar(at, false), value(v))
	}), nil
}

func (b *builder) customBool(f Field, keys []string, on bool) sqlText {
	at := b.jsonPath(f, keys)
	word := fmt.Sprint(on)
	if b.dialect == dialect.PG {
		return text("COALESCE("+"%s = '"+word+"'::jsonb, FALSE)", at)
	}
	return text("COALESCE(json_type(%s) = '"+word+"', 0)", at)
}

// customContains is true when the key holds a list that has the text.
func (b *builder) customContains(f Field, keys []string, want any, path string) (sqlText, error) {
	v, err := textValue(want, path)
	if err != nil {
		return sqlText{}, err
	}
	return b.typed(f, keys, "array", "'array'", func(at sqlText) sqlText {
		if b.dialect == dialect.PG {
			return text("jsonb_exists(%s, %s)", at, value(v))
		}
		return text("EXISTS (SELECT 1 FROM json_each(%s) AS el WHERE el.type = 'text' AND el.value = %s)", at, value(v))
	}), nil
}
