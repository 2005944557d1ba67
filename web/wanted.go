package web

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// wantCID is what is wanted of a call's cid.
const wantCID = `must be a call's "type:id"`

// cidPattern is the document's pattern of a cid: two names.
var cidPattern = strings.TrimSuffix(nameRE.String(), "$") + ":" + strings.TrimPrefix(nameRE.String(), "^")

// wantKind is what is wanted of a parameter of each type that text can fail
// to be.
var wantKind = map[string]string{"integer": "must be an integer", "number": "must be a number", "boolean": "must be true or false"}

var missingRE = regexp.MustCompile(`^property ".*" is missing$`)

// wanted says what a value should have been, in the words that the handlers
// use as well, without expressions that only programmers read.
func wanted(e *openapi3.SchemaError) string {
	if e.Schema != nil {
		if want := wantedBy(e.SchemaField, e.Schema); want != "" {
			return want
		}
	}
	return strings.TrimPrefix(missingRE.ReplaceAllString(e.Reason, "is missing"), "value ")
}

// wantedBy is what the schema's keyword wants; "" where we have no words.
func wantedBy(keyword string, s *openapi3.Schema) string {
	switch {
	case keyword == "pattern" && s.Pattern == nameRE.String():
		return wantName
	case keyword == "pattern" && s.Pattern == userRE.String():
		return wantUser
	case keyword == "pattern" && s.Pattern == cidPattern:
		return wantCID
	case keyword == "minimum" && s.Min != nil:
		return fmt.Sprintf("must be at least %v", *s.Min)
	case keyword == "maximum" && s.Max != nil:
		return fmt.Sprintf("must be at most %v", *s.Max)
	case keyword == "minItems":
		return fmt.Sprintf("must have %d or more entries", s.MinItems)
	case keyword == "maxItems" && s.MaxItems != nil:
		return fmt.Sprintf("must have at most %d entries", *s.MaxItems)
	case keyword == "maxLength" && s.MaxLength != nil:
		return fmt.Sprintf("must have at most %d characters", *s.MaxLength)
	case keyword == "enum":
		values := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			values[i] = fmt.Sprint(v)
		}
		return "must be one of " + strings.Join(values, ", ")
	}
	return ""
}
