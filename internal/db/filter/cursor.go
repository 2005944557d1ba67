package filter

import (
	"bytes"
	"crypto/sha256"
	"database/sql/driver"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"time"
)

// maxCursor bounds a cursor in bytes: the most it can grow to is a few texts.
const maxCursor = 4096

// place is what a cursor holds: the list it belongs to and a row's values.
type place struct {
	List   string `json:"l"`
	Values []any  `json:"v"`
}

// encode writes a cursor. What it holds is no secret and no authority: a
// forged one finds no more than a filter would.
func (p Page) encode(values []any) string {
	plain := make([]any, len(values))
	for i, v := range values {
		plain[i] = simple(v)
	}
	b, err := json.Marshal(place{p.list, plain})
	if err != nil {
		panic("filter: a sort value is no text and no number: " + err.Error()) // the caller's bug
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// simple is v as it stands in a column.
func simple(v any) any {
	switch x := v.(type) {
	case time.Time:
		return x.UnixNano()
	case bool:
		if x {
			return 1
		}
		return 0
	case driver.Valuer:
		if plain, err := x.Value(); err == nil {
			return plain
		}
	}
	return v
}

// decode reads a cursor of this list in this order.
func (p Page) decode(field, cursor string) ([]any, error) {
	wrong := &Error{field, "must be a cursor that this list gave out in this order"}
	if len(cursor) > maxCursor {
		return nil, wrong
	}
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return nil, wrong
	}
	var at place
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if dec.Decode(&at) != nil || at.List != p.list || len(at.Values) != len(p.columns) {
		return nil, wrong
	}
	for i, c := range p.columns {
		if c.field.Kind == Text {
			at.Values[i], err = textCursor(at.Values[i])
		} else {
			at.Values[i], err = numberCursor(at.Values[i])
		}
		if err != nil {
			return nil, wrong
		}
	}
	return at.Values, nil
}

func textCursor(v any) (any, error) { return textValue(v, "") }

func numberCursor(v any) (any, error) {
	if n, ok := number(v); ok {
		return n, nil
	}
	return nil, &Error{"", "must be a number"}
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:6])
}
