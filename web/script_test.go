package web

import (
	"os"
	"os/exec"
	"path/filepath"
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
// made from the API document.
func TestScriptsAreTyped(t *testing.T) {
	t.Parallel()
	const tsc = "../internal/testkit/npm/node_modules/.bin/tsc"
	if _, err := os.Stat(tsc); err != nil {
		t.Skipf("%s is missing: run make setup-test", tsc)
	}
	out, err := exec.CommandContext(t.Context(), tsc, "-p", "console").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
