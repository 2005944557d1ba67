package event_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"stillwatch/internal/event"
)

// TestPublicNames: every name of a public event that the package has is in
// the catalogue, or in the list of those that nothing causes yet.
func TestPublicNames(t *testing.T) {
	t.Parallel()
	var known []string
	for _, e := range event.Catalogue() {
		if slices.Contains(known, e.Type) {
			t.Errorf("%s is in the catalogue twice", e.Type)
		}
		known = append(known, e.Type)
		if notCaused[e.Type] != "" {
			t.Errorf("%s is in the catalogue and in the list of those that nothing causes", e.Type)
		}
	}
	for _, d := range documented {
		if !slices.Contains(known, d.typ) && notCaused[d.typ] == "" {
			t.Errorf("%s is neither in the catalogue nor explained", d.typ)
		}
	}
	for typ := range notCaused {
		if !isDocumented(typ) {
			t.Errorf("%s is explained and nobody asks for it", typ)
		}
	}
	for name, typ := range constants(t) {
		if !slices.Contains(known, typ) && notCaused[typ] == "" {
			t.Errorf("%s, %s, is neither in the catalogue nor explained", name, typ)
		}
	}
}

var constantRE = regexp.MustCompile(`(?m)^\t(\w+)\s+= "((?:call|user|moderation\w*|review_queue_item|appeal|flag|ingress|hook)\.[a-z_.]+|custom)"$`)

// constants are the public types that the package names, by the name it gives
// them.
func constants(t *testing.T) map[string]string {
	t.Helper()
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, source := range sources {
		if strings.HasSuffix(source, "_test.go") {
			continue
		}
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range constantRE.FindAllSubmatch(text, -1) {
			out[string(m[1])] = string(m[2])
		}
	}
	if len(out) < 40 {
		t.Fatalf("%d names found only", len(out))
	}
	return out
}

// TestEveryTypeIsCaused: what the catalogue promises is named by the code
// that sends it.
func TestEveryTypeIsCaused(t *testing.T) {
	t.Parallel()
	var code strings.Builder
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == "build" || d.Name() == ".git" || path == "../../internal/event") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		code.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, typ := range constants(t) {
		used := regexp.MustCompile(`\bevent\.` + name + `\b`).MatchString(code.String())
		if !used && notCaused[typ] == "" {
			t.Errorf("nothing sends %s", typ)
		}
	}
}

// TestDocumentedFields: backends find the fields that they look for.
func TestDocumentedFields(t *testing.T) {
	t.Parallel()
	for _, e := range event.Catalogue() {
		var body map[string]any
		if err := json.Unmarshal(indented(t, e.Example), &body); err != nil {
			t.Fatal(err)
		}
		for _, d := range documented {
			if d.typ != e.Type {
				continue
			}
			for field := range strings.FieldsSeq(d.fields) {
				if _, ok := body[field]; !ok {
					t.Errorf("%s has no %s", e.Type, field)
				}
			}
		}
	}
}

// TestEventsPage keeps docs/events/README.md.
func TestEventsPage(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(pageHead)
	for _, e := range event.Catalogue() {
		fmt.Fprintf(&b, "| `%s` | %s | [schema](%s.json) |\n", e.Type, e.Doc, e.Type)
	}
	b.WriteString(pageMiddle)
	for _, d := range documented {
		if why := notCaused[d.typ]; why != "" {
			fmt.Fprintf(&b, "| `%s` | %s |\n", d.typ, why)
		}
	}
	kept(t, filepath.Join(schemaDir, "README.md"), []byte(b.String()))
	files, err := filepath.Glob(filepath.Join(schemaDir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(event.Catalogue()) {
		t.Errorf("%d schemas are kept for %d event types", len(files), len(event.Catalogue()))
	}
}
