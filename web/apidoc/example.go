package apidoc

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// samples are the values that examples show, by field name.
var samples = map[string]any{
	"type": "default", "cid": "default:abc", "user_id": "bob", "target_user_id": "bob", "created_by_id": "alice",
	"kicked_by_id": "mo", "banned_by_id": "mo", "unbanned_by_id": "mo", "muted_by_id": "mo", "user_ids": []any{"bob"},
	"target_ids": []any{"bob"}, "name": "default", "key": "call:default", "recording_type": "composite",
	"session": "e48dd421-6281-457e-8995-0ccc463da252", "filename": "rec_default_abc.mp4",
	"entity_type": "call", "entity_id": "default:abc", "entity_creator_id": "bob", "item_id": sampleID,
	"appeal_id": sampleID, "appeal_ids": []any{sampleID}, "role": "host", "reason": "nudity",
}

const sampleID = "0b6f2e0c-93a1-4c5e-8a57-2b1c9c6b7d10"

// curl is the operation as a command that can be pasted.
func curl(path, method string, item *openapi3.PathItem, op *openapi3.Operation) string {
	query := []string{"api_key=$KEY"}
	for _, ref := range append(slices.Clone(item.Parameters), op.Parameters...) {
		p := ref.Value
		switch {
		case p.In == openapi3.ParameterInPath:
			path = strings.ReplaceAll(path, "{"+p.Name+"}", pathSample(path, p))
		case p.In == openapi3.ParameterInQuery && p.Required:
			query = append(query, p.Name+"="+url.QueryEscape(fmt.Sprint(sample(p.Name, p.Schema))))
		}
	}
	lines := []string{fmt.Sprintf("curl -X %s \"$URL%s?%s\"", method, path, strings.Join(query, "&"))}
	if method == http.MethodGet {
		lines[0] = strings.Replace(lines[0], "-X GET ", "", 1)
	}
	lines = append(lines, `-H "Authorization: $TOKEN"`)
	if body := bodyExample(op); body != "" {
		lines = append(lines, "-d '"+strings.ReplaceAll(body, "'", `'\''`)+"'")
	}
	return strings.Join(lines, " \\\n  ")
}

func pathSample(path string, p *openapi3.Parameter) string {
	if p.Name == "id" {
		if strings.Contains(path, "/video/call/") {
			return "abc"
		}
		if p.Schema.Value.Pattern != "" {
			return "example"
		}
		return sampleID
	}
	return fmt.Sprint(sample(p.Name, p.Schema))
}

// lineLength is up to where a body stands on one line.
const lineLength = 90

// bodyExample is a body for the operation: the one that the document gives,
// or one made of the required fields; "" where nothing needs to be sent.
func bodyExample(op *openapi3.Operation) string {
	if op.RequestBody == nil {
		return ""
	}
	media := op.RequestBody.Value.Content.Get("application/json")
	if media == nil || media.Schema == nil {
		return ""
	}
	value := media.Example
	if value == nil {
		value = sample("", media.Schema)
	}
	text, err := json.Marshal(value)
	if err != nil || string(text) == "{}" {
		return ""
	}
	if len(text) > lineLength {
		text, _ = json.MarshalIndent(value, "", "  ") // as above
	}
	return string(text)
}

// sample makes a value of the schema, as small as it may be.
func sample(name string, ref *openapi3.SchemaRef) any {
	s := ref.Value
	if s.Example != nil {
		return s.Example
	}
	if v, ok := samples[name]; ok && fits(s, v) {
		return v
	}
	switch {
	case len(s.Enum) > 0:
		return s.Enum[0]
	case s.Type.Is("object"):
		out := map[string]any{}
		for _, field := range slices.Sorted(maps.Keys(s.Properties)) {
			if slices.Contains(s.Required, field) {
				out[field] = sample(field, s.Properties[field])
			}
		}
		return out
	case s.Type.Is("array"):
		if s.Items == nil {
			return []any{}
		}
		return []any{sample("", s.Items)}
	case s.Type.Is("integer"), s.Type.Is("number"):
		if s.Min != nil {
			return *s.Min
		}
		return 1
	case s.Type.Is("boolean"):
		return true
	case s.Format == "date-time":
		return "2026-01-05T10:00:00Z"
	default:
		return "example"
	}
}

func fits(s *openapi3.Schema, v any) bool { return s.VisitJSON(v) == nil }
