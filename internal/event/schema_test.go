package event_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/event"
)

// enums are the named types that have a closed set of values.
var enums = map[reflect.Type][]any{
	reflect.TypeFor[event.TrackType](): {event.TrackVideo, event.TrackAudio, event.TrackScreenShare, event.TrackScreenShareAudio},
}

// fieldEnums are the fields of type string that do, by struct and JSON name.
var fieldEnums = map[string][]any{
	"ReviewItem.status": {event.ReviewPending, event.ReviewReviewed},
	"Appeal.status":     {event.AppealSubmitted, event.AppealAccepted, event.AppealRejected},
}

// reflector makes JSON schemas (draft 2020-12) of Go types: what a field may
// be left out of stands in its tag, what it means in its comment.
type reflector struct {
	comments map[string]string // by "Struct" and "Struct.Field"
	defs     map[string]any
	// call is the schema of a call, which package event knows as bytes only.
	call map[string]any
}

// schemaOf is the whole schema of an event type.
func (r *reflector) schemaOf(e event.Entry) map[string]any {
	r.defs = map[string]any{}
	s := r.object(reflect.TypeOf(e.Example))
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["$id"] = "urn:stillwatch:event:" + e.Type
	s["title"] = e.Type
	s["description"] = e.Doc
	s["properties"].(map[string]any)["type"] = map[string]any{"const": e.Type}
	if len(r.defs) > 0 {
		s["$defs"] = r.defs
	}
	return s
}

func (r *reflector) object(t reflect.Type) map[string]any {
	properties, required := map[string]any{}, []string{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() {
			continue
		}
		if f.Anonymous && name == "" {
			inner := r.object(f.Type)
			for k, v := range inner["properties"].(map[string]any) {
				properties[k] = v
			}
			required = append(required, inner["required"].([]string)...)
			continue
		}
		optional := strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
		s := r.value(t, f, optional)
		if doc := r.comments[t.Name()+"."+f.Name]; doc != "" {
			s["description"] = doc
		}
		if values := fieldEnums[t.Name()+"."+name]; values != nil {
			s["enum"] = values
		}
		properties[name] = s
		if !optional {
			required = append(required, name)
		}
	}
	return map[string]any{"type": "object", "properties": properties, "required": required}
}

// value is the schema of a field. A pointer that is always there may be null.
func (r *reflector) value(in reflect.Type, f reflect.StructField, optional bool) map[string]any {
	if f.Type == reflect.TypeFor[json.RawMessage]() {
		if f.Name == "Call" {
			r.defs["Call"] = r.call
			return map[string]any{"$ref": "#/$defs/Call"}
		}
		panic(fmt.Sprintf("what is %s.%s?", in, f.Name))
	}
	s := r.of(f.Type)
	if f.Type.Kind() == reflect.Pointer && !optional {
		return map[string]any{"anyOf": []any{s, map[string]any{"type": "null"}}}
	}
	return s
}

func (r *reflector) of(t reflect.Type) map[string]any {
	if values := enums[t]; values != nil {
		return map[string]any{"type": "string", "enum": values}
	}
	if t == reflect.TypeFor[time.Time]() {
		return map[string]any{"type": "string", "format": "date-time"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return r.of(t.Elem())
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64, reflect.Int32:
		return map[string]any{"type": "integer"}
	case reflect.Float64, reflect.Float32:
		return map[string]any{"type": "number"}
	case reflect.Interface:
		return map[string]any{}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": r.of(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": r.of(t.Elem())}
	case reflect.Struct:
		if _, known := r.defs[t.Name()]; !known {
			r.defs[t.Name()] = nil // ends a cycle
			s := r.object(t)
			if doc := r.comments[t.Name()]; doc != "" {
				s["description"] = doc
			}
			r.defs[t.Name()] = s
		}
		return map[string]any{"$ref": "#/$defs/" + t.Name()}
	}
	panic(fmt.Sprintf("no schema for %s", t))
}

var spaces = regexp.MustCompile(`\s+`)

// comments reads what the source says of its structs and their fields.
func comments(t *testing.T) map[string]string {
	t.Helper()
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range tree.Decls {
			if decl, ok := d.(*ast.GenDecl); ok && decl.Tok == token.TYPE {
				note(decl, out)
			}
		}
	}
	return out
}

func note(decl *ast.GenDecl, out map[string]string) {
	for _, spec := range decl.Specs {
		named := spec.(*ast.TypeSpec)
		body, ok := named.Type.(*ast.StructType)
		if !ok {
			continue
		}
		out[named.Name.Name] = spaces.ReplaceAllString(strings.TrimSpace(decl.Doc.Text()), " ")
		for _, field := range body.Fields.List {
			for _, name := range field.Names {
				out[named.Name.Name+"."+name.Name] = spaces.ReplaceAllString(strings.TrimSpace(field.Doc.Text()), " ")
			}
		}
	}
}
