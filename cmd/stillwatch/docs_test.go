package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDependenciesPageNamesEachDirectModule(t *testing.T) {
	t.Parallel()
	page := read(t, "../../docs/DEPENDENCIES.md")
	mod := read(t, "../../go.mod")
	direct := 0
	for line := range strings.SplitSeq(mod, "\n") {
		f := strings.Fields(line)
		if len(f) < 2 || strings.Contains(line, "// indirect") || !regexp.MustCompile(`^v\d`).MatchString(f[1]) {
			continue
		}
		direct++
		if !strings.Contains(page, "`"+f[0]+"`") {
			t.Errorf("docs/DEPENDENCIES.md gives no reason for %s", f[0])
		}
	}
	if direct < 20 {
		t.Fatalf("found %d direct modules in go.mod only", direct)
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9.]+\\.[a-z]+/[^`]+|[a-z.]+\\.dev)` \\|").FindAllStringSubmatch(page, -1) {
		if !strings.Contains(mod, m[1]+" v") {
			t.Errorf("docs/DEPENDENCIES.md names %s, which go.mod does not", m[1])
		}
	}
}
