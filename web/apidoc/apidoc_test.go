package apidoc

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"stillwatch/web/api"
)

func get(t *testing.T, target string) (*httptest.ResponseRecorder, string) {
	t.Helper()
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	return w, w.Body.String()
}

func TestDocumentIsServed(t *testing.T) {
	t.Parallel()
	w, body := get(t, YAMLPath)
	if body != string(api.Document) || w.Header().Get("Content-Type") != "application/yaml" {
		t.Errorf("%s: %s, %d bytes", YAMLPath, w.Header().Get("Content-Type"), len(body))
	}
	w, body = get(t, JSONPath)
	doc, err := openapi3.NewLoader().LoadFromData([]byte(body))
	if err != nil || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%s: %s, %v", JSONPath, w.Header().Get("Content-Type"), err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Error(err)
	}
	yaml, err := api.Load()
	if err != nil {
		t.Fatal(err)
	}
	one, two := encode(t, yaml), encode(t, doc)
	if one != two {
		t.Error("the JSON is another document than the YAML")
	}
	if w, _ := get(t, Prefix+"nope.css"); w.Code != http.StatusNotFound {
		t.Errorf("a file that is not there: %d", w.Code)
	}
}

func encode(t *testing.T, doc *openapi3.T) string {
	t.Helper()
	raw, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

var (
	target = regexp.MustCompile(`href="#([^"]+)"`)
	inline = regexp.MustCompile(`(?i)<script|<style|\sstyle=|\son[a-z]+=|javascript:|(?:src|href)="https?:`)
)

// TestPageIsWhole holds the page against the document: every operation and
// schema is on it, every link inside it leads somewhere, and nothing stands
// in it that its content policy would refuse.
func TestPageIsWhole(t *testing.T) {
	t.Parallel()
	w, page := get(t, PagePath)
	if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("policy %q", csp)
	}
	doc, err := api.Load()
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			count++
			for _, want := range []string{`id="` + op.OperationID + `"`, ">" + path + "<", ">" + method + "<"} {
				if !strings.Contains(page, want) {
					t.Errorf("%s %s: the page lacks %q", method, path, want)
				}
			}
		}
	}
	if got := strings.Count(page, `class="operation"`); got != count || count < 90 {
		t.Errorf("%d operations on the page, %d in the document", got, count)
	}
	for name := range doc.Components.Schemas {
		if !strings.Contains(page, `id="schema-`+name+`"`) {
			t.Errorf("the page lacks the schema %s", name)
		}
	}
	for _, m := range target.FindAllStringSubmatch(page, -1) {
		if strings.Count(page, `id="`+m[1]+`"`) != 1 {
			t.Errorf("#%s leads to %d places", m[1], strings.Count(page, `id="`+m[1]+`"`))
		}
	}
	if found := inline.FindString(page); found != "" {
		t.Errorf("the page has %q", found)
	}
	if _, open := get(t, PagePath+"?open"); strings.Count(open, `<details class="operation" open>`) != count {
		t.Error("?open does not unfold every operation")
	}
}

// TestExamplesFit checks each example's body against the document.
func TestExamplesFit(t *testing.T) {
	t.Parallel()
	doc, err := api.Load()
	if err != nil {
		t.Fatal(err)
	}
	bodies := 0
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			text := bodyExample(op)
			if text == "" {
				continue
			}
			bodies++
			var value any
			if err := json.Unmarshal([]byte(text), &value); err != nil {
				t.Fatalf("%s %s: %v: %s", method, path, err, text)
			}
			if err := op.RequestBody.Value.Content.Get("application/json").Schema.Value.VisitJSON(value); err != nil {
				t.Errorf("%s: the example %s does not fit: %v", op.OperationID, text, err)
			}
			if command := curl(path, method, item, op); strings.ContainsAny(command, "{}") && strings.Contains(strings.SplitN(command, "\n", 2)[0], "{") {
				t.Errorf("%s: a parameter is left open: %s", op.OperationID, command)
			}
		}
	}
	if bodies < 25 {
		t.Errorf("%d examples with a body only", bodies)
	}
}

func TestProse(t *testing.T) {
	t.Parallel()
	if got := prose("`a<b>` & c"); got != "<code>a&lt;b&gt;</code> &amp; c" {
		t.Errorf("got %s", got)
	}
}
