package web

import (
	"maps"
	"math/rand/v2"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// maker makes values for requests: right ones from the document's schemas,
// and wrong ones out of them. It is a function of its seed.
type maker struct {
	*rand.Rand
	// known are values that exist in the database, by field name.
	known map[string][]any
}

func newMaker(seed uint64, known map[string][]any) *maker {
	return &maker{rand.New(rand.NewPCG(seed, 0x5111)), known}
}

func (m *maker) one(in float64) bool { return m.Float64() < 1/in }

func pick[T any](m *maker, from []T) T { return from[m.IntN(len(from))] }

// odd are texts that programs stumble over.
var odd = []string{
	"", " ", "\x00", "a/b", "../../etc/passwd", "%2e%2e%2f", "default:abc:def", ":", "nobody", "名前", "\u202eevil", "e\u0301\u0301\u0301", "\U0001F469\u200d\U0001F4BB",
	"\xff\xfe", "'; DROP TABLE users; --", "<script>alert(1)</script>", "null", "true", "-1", "1e309", "$eq", "a.b.c", "{}", "[]", `"`, `\`, "A" + strings.Repeat("a", 300),
	strings.Repeat("é", 5000), "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1677-01-01T00:00:00Z", "2300-01-01T00:00:00Z", "2026-13-45T99:99:99Z",
}

// numbers are those at the edges of what types hold.
var numbers = []any{0, -1, 1, 2, 60, 61, 1 << 31, -(1 << 31), 1<<53 + 1, int64(1<<63 - 1), -int64(1 << 62), 1e18, 1e19, 1e300, -1e300, 0.1}

// right makes a value that the schema allows, as far as can be said from the
// schema alone.
func (m *maker) right(name string, ref *openapi3.SchemaRef, depth int) any {
	s := ref.Value
	if len(s.AllOf) == 1 {
		return m.right(name, s.AllOf[0], depth)
	}
	if s.Nullable && m.one(8) {
		return nil
	}
	if values := m.known[name]; len(values) > 0 && !m.one(5) {
		if v := pick(m, values); s.VisitJSON(v) == nil {
			return v
		}
	}
	if len(s.Enum) > 0 {
		return pick(m, s.Enum)
	}
	switch {
	case s.Type.Is("object"):
		return m.object(name, s, depth)
	case s.Type.Is("array"):
		out := []any{}
		for range m.count(s.MinItems, s.MaxItems) {
			out = append(out, m.right(strings.TrimSuffix(name, "s"), s.Items, depth+1))
		}
		return out
	case s.Type.Is("integer"):
		return m.integer(s)
	case s.Type.Is("number"):
		low, high := 0.0, 1.0
		if s.Min != nil {
			low = *s.Min
		}
		if s.Max != nil {
			high = *s.Max
		}
		return low + m.Float64()*(high-low)
	case s.Type.Is("boolean"):
		return m.one(2)
	}
	return m.text(name, s)
}

// like is a copy of an example that speaks of what exists.
func (m *maker) like(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			out[key] = m.like(v[key])
			if known := m.known[key]; len(known) > 0 && reflect.TypeOf(known[0]) == reflect.TypeOf(v[key]) && m.one(2) {
				out[key] = pick(m, known)
			}
			if key == "item_id" || key == "appeal_id" {
				out[key] = m.known[key][0]
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = m.like(v[i])
		}
		return out
	}
	return v
}

func (m *maker) count(low uint64, high *uint64) int {
	most := low + 3
	if high != nil {
		most = min(most, *high)
	}
	return int(low) + m.IntN(int(most-low)+1)
}

func (m *maker) integer(s *openapi3.Schema) any {
	low, high := 0.0, 1e6
	if s.Min != nil {
		low = *s.Min
	}
	if s.Max != nil {
		high = *s.Max
	}
	switch m.IntN(4) {
	case 0:
		return int64(low)
	case 1:
		return int64(high)
	}
	return int64(low) + m.Int64N(int64(high-low)+1)
}

// object fills the required fields and some of the others. A field whose type
// is left open gets what the server might look into.
func (m *maker) object(name string, s *openapi3.Schema, depth int) map[string]any {
	out := map[string]any{}
	for _, field := range slices.Sorted(maps.Keys(s.Properties)) {
		if slices.Contains(s.Required, field) || depth < 5 && m.one(2) {
			out[field] = m.right(field, s.Properties[field], depth+1)
		}
	}
	if inner := s.AdditionalProperties.Schema; inner != nil {
		for range m.count(0, s.MaxProps) {
			out[m.text("id", &openapi3.Schema{})] = m.right(name, inner, depth+1)
		}
	} else if len(s.Properties) == 0 {
		switch {
		case strings.HasPrefix(name, "filter"):
			return m.filter(depth)
		case strings.HasPrefix(name, "settings"):
			return m.settings()
		}
		for range m.IntN(3) {
			out[pick(m, []string{"a", "b", "name", "type"})] = m.any(depth + 3)
		}
	}
	return out
}

// text makes a string for a field: matching the pattern, or of any kind.
func (m *maker) text(name string, s *openapi3.Schema) string {
	if s.Format == "date-time" {
		return pick(m, []string{"2026-01-05T10:00:00Z", "2026-01-05T10:00:00.123456789+02:00", "2030-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z"})
	}
	if s.Pattern != "" {
		out := pick(m, []string{"abc", "default", "a", "x-1", "default:abc", "call:default", "alice"})
		if s.VisitJSON(out) == nil {
			return out
		}
		return pick(m, []string{"default:abc", "default:gone"})
	}
	switch {
	case m.one(3):
		return pick(m, []string{"nudity", "5m", "30s", "ban", "flag", "call", "user", "keyframe", "mark_reviewed", "webhook", "en", "host", "start-frame-record-call"})
	case m.one(3):
		out := strings.ToValidUTF8(pick(m, odd), "?")
		if s.VisitJSON(out) == nil {
			return out
		}
	}
	return strings.Repeat("x", max(1, int(s.MinLength)))
}

// filter makes conditions of lists in every form.
func (m *maker) filter(depth int) map[string]any {
	out := map[string]any{}
	for range 1 + m.IntN(2) {
		field := pick(m, []string{"id", "cid", "type", "user_id", "created_at", "updated_at", "role", "status", "severity", "custom.a", "entity_type", "members", "name", "no_such", "teams", "ended_at", "flagged", "ongoing", ""})
		switch m.IntN(4) {
		case 0:
			out[field] = m.any(3)
		case 1, 2:
			op := pick(m, []string{"$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists", "$contains", "$autocomplete", "$q", "$regex"})
			var v any = pick(m, []any{"abc", "2026-01-05T10:00:00Z", true, 5, "default:abc", nil, "a%_\\"})
			if op == "$in" || op == "$nin" {
				v = []any{v, "b"}
			}
			out[field] = map[string]any{op: v}
		default:
			if depth < 12 {
				out[pick(m, []string{"$and", "$or", "$nor"})] = []any{m.filter(depth + 1), m.filter(depth + 4)}
			}
		}
	}
	return out
}

func (m *maker) settings() map[string]any {
	out := map[string]any{}
	for range 1 + m.IntN(2) {
		switch m.IntN(4) {
		case 0:
			out["frame_recording"] = map[string]any{
				"mode": pick(m, []any{"available", "disabled", "auto-on", "never", 1}), "capture_interval_in_seconds": pick(m, []any{2, 5, 60, 61, 1, "2"}),
				"quality": pick(m, []any{"720p", "999p", "360p", nil}),
			}
		case 1:
			out["recording"] = map[string]any{
				"mode": pick(m, []any{"available", "on-flag", "auto-on", "never"}), "layout": map[string]any{"name": pick(m, []any{"grid", "spotlight", "mosaic"}), "options": map[string]any{"a": 1}},
				"mix_limit": pick(m, []any{1, 9, 25, 26, "9"}), "formats": pick(m, []any{[]any{"mp4", "hls"}, []any{}, nil}),
				"slice_minutes": pick(m, []any{0, 120, 121, 721}), "background": pick(m, []any{"#101418", "red"}), "filename": pick(m, []any{"{{uuid}}", "../x"}),
			}
		case 2:
			out["limits"] = map[string]any{"max_participants": pick(m, numbers), "max_duration_seconds": 5}
		default:
			out[pick(m, []string{"audio", "ring", "video", "geofencing", "no_such", "frame_recording"})] = m.any(3)
		}
	}
	return out
}

// any makes a value of any type.
func (m *maker) any(depth int) any {
	switch n := m.IntN(9); {
	case n == 0:
		return nil
	case n == 1:
		return m.one(2)
	case n <= 3:
		return pick(m, numbers)
	case n <= 6 || depth > 6:
		return strings.ToValidUTF8(pick(m, odd), "?")
	case n == 7:
		return []any{m.any(depth + 2), m.any(depth + 2)}
	default:
		return map[string]any{pick(m, []string{"a", "id", "$eq", "é", ""}): m.any(depth + 2)}
	}
}

// wrong changes something in a value so that it may not fit any more.
func (m *maker) wrong(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 || m.one(5) {
			v[pick(m, []string{"no_such_field", "id", "user_id", "__proto__", "Type"})] = m.any(0)
			return v
		}
		key := pick(m, slices.Sorted(maps.Keys(v)))
		switch {
		case m.one(3):
			delete(v, key)
		case m.one(3):
			v[key] = deep(2 + m.IntN(300))
		default:
			v[key] = m.wrong(v[key])
		}
		return v
	case []any:
		if len(v) > 0 && m.one(2) {
			i := m.IntN(len(v))
			v[i] = m.wrong(v[i])
			return v
		}
		many := make([]any, 2000)
		for i := range many {
			many[i] = "x"
		}
		return many
	}
	return m.any(0)
}

// deep is a value nested so many times.
func deep(n int) any {
	var v any = "bottom"
	for i := range n {
		if i%2 == 0 {
			v = []any{v}
		} else {
			v = map[string]any{"a": v}
		}
	}
	return v
}

// segment is a value as part of a path: it stays one segment.
func segment(s string) string { return strings.ReplaceAll(url.PathEscape(s), "+", "%2B") }
