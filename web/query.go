package web

import (
	"encoding/json"
	"errors"

	"stillwatch/internal/db/filter"
	"stillwatch/web/api"
)

// sortOf is the order that a request asks for.
func sortOf(params []api.SortParam) []filter.Sort {
	out := make([]filter.Sort, len(params))
	for i, p := range params {
		out[i] = filter.Sort{Field: p.Field, Direction: int(p.Direction)}
	}
	return out
}

// filtered puts the name of the request's filter before the field that it is
// refused for.
func filtered(name string, err error) error {
	var wrong *filter.Error
	if errors.As(err, &wrong) {
		return badField(name+"."+wrong.Field, wrong.Want)
	}
	return err
}

// payload reads the object that a GET carries as JSON text. Fields that v
// does not have are ignored; "" is the empty object.
func payload(text string, v any) error {
	if text == "" {
		return nil
	}
	if !json.Valid([]byte(text)) {
		return badField("payload", "must be a JSON object as text")
	}
	return unmarshal([]byte(text), "payload", v)
}
