package event_test

import (
	"path"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"stillwatch/web/api"
)

// callSchema is the API document's schema of a call, as JSON schema draft
// 2020-12 with everything that it refers to put in its place.
func callSchema(t *testing.T) map[string]any {
	t.Helper()
	doc, err := api.Load()
	if err != nil {
		t.Fatal(err)
	}
	return translated(doc.Components.Schemas["Call"], map[string]bool{})
}

// translated carries over what the document uses of OpenAPI 3.0's schemas.
// What refers to itself is left open at the second time.
func translated(ref *openapi3.SchemaRef, open map[string]bool) map[string]any {
	s, name := ref.Value, path.Base(ref.Ref)
	if ref.Ref != "" {
		if open[name] {
			return map[string]any{}
		}
		open[name] = true
		defer delete(open, name)
	}
	if len(s.AllOf) == 1 {
		return orNull(s, translated(s.AllOf[0], open))
	}
	out := map[string]any{}
	if types := s.Type.Slice(); len(types) == 1 {
		out["type"] = types[0]
	}
	if s.Description != "" {
		out["description"] = s.Description
	}
	if s.Format != "" {
		out["format"] = s.Format
	}
	if s.Pattern != "" {
		out["pattern"] = s.Pattern
	}
	if len(s.Enum) > 0 {
		out["enum"] = s.Enum
	}
	if s.Min != nil {
		out["minimum"] = *s.Min
	}
	if s.Max != nil {
		out["maximum"] = *s.Max
	}
	if s.Items != nil {
		out["items"] = translated(s.Items, open)
	}
	if s.AdditionalProperties.Schema != nil {
		out["additionalProperties"] = translated(s.AdditionalProperties.Schema, open)
	}
	if len(s.Properties) > 0 {
		properties := map[string]any{}
		for name, p := range s.Properties {
			properties[name] = translated(p, open)
		}
		out["properties"] = properties
	}
	if len(s.Required) > 0 {
		out["required"] = s.Required
	}
	return orNull(s, out)
}

func orNull(s *openapi3.Schema, out map[string]any) map[string]any {
	if !s.Nullable {
		return out
	}
	return map[string]any{"anyOf": []any{out, map[string]any{"type": "null"}}}
}
