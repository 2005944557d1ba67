package web

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestScripts runs the tests of what the pages compute without a document.
func TestScripts(t *testing.T) {
	t.Parallel()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no node on this machine; make setup needs it as well")
	}
	files, err := filepath.Glob("*/testdata/*.test.mjs")
	if err != nil || len(files) < 2 {
		t.Fatalf("%d test scripts, %v", len(files), err)
	}
	out, err := exec.CommandContext(t.Context(), node, append([]string{"--test"}, files...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestScriptsAreTyped checks the console's scripts against the types that are
// made from the API document, and that a field it does not have is noticed.
func TestScriptsAreTyped(t *testing.T) {
	t.Parallel()
	const bin = "../internal/testkit/npm/node_modules/.bin/"
	if _, err := os.Stat(bin + "tsc"); err != nil {
		t.Skipf("%stsc is missing: run make setup-test", bin)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("console")); err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) ([]byte, error) {
		return exec.CommandContext(t.Context(), bin+name, args...).CombinedOutput()
	}
	if out, err := run("openapi-typescript", "api/openapi.yaml", "--output", filepath.Join(dir, "api.d.ts")); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := run("tsc", "-p", dir); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	wrong := `/** @type {import("../api.js").components["schemas"]["ActionsResponse"]} */ let a; console.log(a.nosuchfield);`
	if err := os.WriteFile(filepath.Join(dir, "static", "wrong.js"), []byte(wrong), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := run("tsc", "-p", dir); err == nil || !strings.Contains(string(out), "nosuchfield") {
		t.Errorf("a field that no answer has goes unnoticed: %v\n%s", err, out)
	}
}
