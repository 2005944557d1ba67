package event_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"stillwatch/internal/event"
)

const (
	goldenDir = "testdata/golden"
	schemaDir = "../../docs/events"
)

// kept compares text with the file, or writes it there with UPDATE_GOLDEN=1.
func kept(t *testing.T, path string, text []byte) {
	t.Helper()
	if os.Getenv("UPDATE_GOLDEN") == "1" {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (UPDATE_GOLDEN=1 go test ./internal/event writes it)", err)
	}
	if !bytes.Equal(have, text) {
		t.Errorf("%s is out of date (UPDATE_GOLDEN=1 go test ./internal/event writes it anew):\n%s", path, text)
	}
}

func indented(t *testing.T, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestCatalogue keeps a body and a schema of every event type, and lets a
// validator that knows nothing of us hold one against the other.
func TestCatalogue(t *testing.T) {
	t.Parallel()
	r := &reflector{comments: comments(t), call: callSchema(t)}
	for _, e := range event.Catalogue() {
		body, schema := indented(t, e.Example), indented(t, r.schemaOf(e))
		kept(t, filepath.Join(goldenDir, e.Type+".json"), body)
		kept(t, filepath.Join(schemaDir, e.Type+".json"), schema)
		compiled := compile(t, schema)
		if err := validate(compiled, body); err != nil {
			t.Errorf("%s: %v", e.Type, err)
		}
		var fields map[string]any
		if err := json.Unmarshal(body, &fields); err != nil {
			t.Fatal(err)
		}
		if fields["type"] != e.Type || fields["created_at"] == nil || e.Doc == "" || !strings.HasSuffix(e.Doc, ".") {
			t.Errorf("%s: the example is of type %v at %v; %q", e.Type, fields["type"], fields["created_at"], e.Doc)
		}
		for _, wrong := range spoiled(fields) {
			if err := validate(compiled, indented(t, wrong)); err == nil {
				t.Errorf("%s: the schema allows %v", e.Type, wrong)
			}
		}
		// Collections are never null; a recording that does not run is.
		for _, m := range regexp.MustCompile(`"(\w+)": null`).FindAllStringSubmatch(string(body), -1) {
			if !strings.HasSuffix(m[1], "_recording") {
				t.Errorf("%s: %s is null in the example", e.Type, m[1])
			}
		}
	}
}

// spoiled are bodies that no schema may allow.
func spoiled(fields map[string]any) []map[string]any {
	with := func(name string, value any) map[string]any {
		out := map[string]any{}
		for k, v := range fields {
			out[k] = v
		}
		if out[name] = value; value == nil {
			delete(out, name)
		}
		return out
	}
	return []map[string]any{with("type", "other"), with("type", nil), with("created_at", "yesterday"), with("created_at", nil)}
}

func compile(t *testing.T, schema []byte) *jsonschema.Schema {
	t.Helper()
	const url = "mem:///schema.json"
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(url, doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile(url)
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

func validate(s *jsonschema.Schema, body []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return s.Validate(value)
}

// maxBody is what every event stays below, so that it fits into any queue
// with room to spare.
const maxBody = 20 << 10

// TestEventsAreThin: an event names a picture, it never carries one.
func TestEventsAreThin(t *testing.T) {
	t.Parallel()
	picture := regexp.MustCompile(`/9j/|data:image|iVBORw0KGgo|[A-Za-z0-9+/=]{1000,}`) // JPEG and PNG in base64, data URLs, anything long
	for _, e := range event.Catalogue() {
		body, err := json.Marshal(e.Example)
		if err != nil {
			t.Fatal(err)
		}
		if len(body) > maxBody {
			t.Errorf("%s: %d bytes", e.Type, len(body))
		}
		if found := picture.Find(body); found != nil {
			t.Errorf("%s carries %.40s", e.Type, found)
		}
	}
	if !picture.MatchString(strings.Repeat("A", 2000)) {
		t.Error("the test cannot find a picture")
	}
}
