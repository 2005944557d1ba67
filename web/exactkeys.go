package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// exactKeys refuses keys that the document's check and the decoder would read
// differently: the decoder takes "Limit" for "limit", and of a key that stands
// in an object twice it may take parts of both. What was checked would not be
// what is done. body is JSON that fits v.
func exactKeys(body []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	return keysOf(d, reflect.TypeOf(v), "")
}

// keysOf reads one value; t is nil inside of what is kept as it came.
func keysOf(d *json.Decoder, t reflect.Type, path string) error {
	token, err := d.Token()
	if err != nil {
		return badInput("the body is not JSON: %s", err)
	}
	t = plainType(t)
	switch token {
	case json.Delim('['):
		for i := 0; err == nil && d.More(); i++ {
			err = keysOf(d, elementOf(t), fmt.Sprintf("%s[%d]", path, i))
		}
	case json.Delim('{'):
		err = objectKeys(d, t, path)
	default:
		return nil
	}
	if err == nil {
		_, err = d.Token() // the end of the list or object
	}
	return err
}

func objectKeys(d *json.Decoder, t reflect.Type, path string) error {
	fields, seen := jsonFields(t), map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return badInput("the body is not JSON: %s", err)
		}
		key, _ := token.(string)
		at := strings.TrimPrefix(path+"."+key, ".")
		if seen[key] {
			return badField(at, "stands there twice")
		}
		seen[key] = true
		inner, known := fields[key]
		if !known {
			inner = elementOf(t)
			for name := range fields {
				if strings.EqualFold(name, key) {
					return badField(at, fmt.Sprintf("must be written %q", name))
				}
			}
		}
		if err := keysOf(d, inner, at); err != nil {
			return err
		}
	}
	return nil
}

var rawType = reflect.TypeFor[json.Unmarshaler]()

// plainType is what t points to, or nil where a type reads its JSON itself.
func plainType(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || reflect.PointerTo(t).Implements(rawType) {
		return nil
	}
	return t
}

// elementOf is the type of a list's or map's values, or nil.
func elementOf(t reflect.Type) reflect.Type {
	if t == nil || t.Kind() != reflect.Slice && t.Kind() != reflect.Array && t.Kind() != reflect.Map {
		return nil
	}
	return t.Elem()
}

// jsonFields are the fields of a struct by their names in JSON.
func jsonFields(t reflect.Type) map[string]reflect.Type {
	if t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	out := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && name != "-" && f.IsExported() {
			out[name] = f.Type
		}
	}
	return out
}
