package web

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// What differs from run to run stands in golden files as its kind.
var varying = []struct {
	re   *regexp.Regexp
	kind string
}{
	{regexp.MustCompile(`"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"`), `"<uuid>"`},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`), `<time>`},
	{regexp.MustCompile(`"\d+\.\d\dms"`), `"<duration>"`},
	{regexp.MustCompile(`exp=\d+`), `exp=<unix>`},
}

// golden compares the answer's body with testdata/<name>.golden.json.
func golden(t *testing.T, name string, a answer) {
	t.Helper()
	var got bytes.Buffer
	if err := json.Indent(&got, a.raw, "", "  "); err != nil {
		t.Fatalf("%s: %v: %s", name, err, a.raw)
	}
	text := got.Bytes()
	for _, v := range varying {
		text = v.re.ReplaceAll(text, []byte(v.kind))
	}
	path := filepath.Join("testdata", name+".golden.json")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(text, want) {
		t.Errorf("%s differs from %s (run with -update if that is meant):\n%s", name, path, text)
	}
}
