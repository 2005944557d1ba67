package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

const startKey = "stillwatch.start"

// duration is how long the request has taken so far, as "1.23ms".
func duration(c echo.Context) string {
	start, _ := c.Get(startKey).(time.Time)
	if start.IsZero() {
		return "0.00ms"
	}
	return fmt.Sprintf("%.2fms", float64(time.Since(start))/float64(time.Millisecond))
}

// decode reads the JSON body into v. A missing or empty body is an empty
// object; fields that v does not have are ignored.
func decode(c echo.Context, v any) error {
	body, err := io.ReadAll(c.Request().Body)
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return err
		}
		return badInput("the body broke off: %s", err)
	}
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return nil
	}
	if err := unmarshal(body, "", v); err != nil {
		return err
	}
	if err := exactKeys(body, v); err != nil {
		return err
	}
	return refuseZeroBytes(body)
}

// refuseZeroBytes refuses text that PostgreSQL cannot hold: U+0000, which JSON
// writes as an escape.
func refuseZeroBytes(body []byte) error {
	if !bytes.Contains(body, []byte(`\u0000`)) {
		return nil
	}
	var whole any
	if err := json.Unmarshal(body, &whole); err == nil && hasZeroByte(whole) {
		return badInput("the body has text with a zero byte")
	}
	return nil
}

func hasZeroByte(v any) bool {
	switch v := v.(type) {
	case string:
		return strings.ContainsRune(v, 0)
	case []any:
		return slices.ContainsFunc(v, hasZeroByte)
	case map[string]any:
		for key, value := range v {
			if hasZeroByte(key) || hasZeroByte(value) {
				return true
			}
		}
	}
	return false
}

// unmarshal is json.Unmarshal with the caller's view of what is wrong; prefix
// is the path of v in the request.
func unmarshal(raw []byte, prefix string, v any) error {
	err := json.Unmarshal(raw, v)
	var typ *json.UnmarshalTypeError
	if errors.As(err, &typ) {
		field := strings.Trim(prefix+"."+typ.Field, ".")
		if field == "" {
			return badInput("the body is a %s, not an object", typ.Value)
		}
		return badField(field, fmt.Sprintf("must be %s, is a %s", jsonName(typ), typ.Value))
	}
	if err != nil {
		return badInput("the body is not JSON: %s", err)
	}
	return nil
}

func jsonName(e *json.UnmarshalTypeError) string {
	switch e.Type.Kind().String() {
	case "int", "int64", "int32":
		return "an integer"
	case "float64":
		return "a number"
	case "bool":
		return "true or false"
	case "string":
		return "a string"
	case "slice":
		return "a list"
	case "struct", "map":
		return "an object"
	}
	return "a " + e.Type.String()
}

// describe puts a field map into one sentence, fields in order.
func describe(fields map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		parts = append(parts, name+" "+fields[name])
	}
	return strings.Join(parts, "; ")
}

// Names of calls and call types stand in paths and object keys; names of
// users in paths as well.
var (
	nameRE = regexp.MustCompile(`^[A-Za-z0-9_!~-][A-Za-z0-9_.!~-]{0,63}$`)
	userRE = regexp.MustCompile(`^[A-Za-z0-9_@+=|~-][A-Za-z0-9_@.+=|~-]{0,254}$`)
)

func validUser(id string) bool { return userRE.MatchString(id) }

const (
	wantName = "must be 1 to 64 of A-Z a-z 0-9 _ - . ! ~ and not begin with a dot"
	wantUser = "must be 1 to 255 of A-Z a-z 0-9 _ - . @ + = | ~ and not begin with a dot"
)

func checkCall(callType, id string) error {
	fields := map[string]string{}
	if !nameRE.MatchString(callType) {
		fields["type"] = wantName
	}
	if !nameRE.MatchString(id) {
		fields["id"] = wantName
	}
	if len(fields) > 0 {
		return badFields(fields)
	}
	return nil
}

// splitCID takes "type:id" apart.
func splitCID(field, cid string) (callType, id string, err error) {
	callType, id, ok := strings.Cut(cid, ":")
	if !ok || checkCall(callType, id) != nil {
		return "", "", badField(field, `must be "type:id"`)
	}
	return callType, id, nil
}
