package api

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestGeneratedIsFresh makes api.gen.go anew and wants the same bytes.
func TestGeneratedIsFresh(t *testing.T) {
	t.Parallel()
	const tool = "../../build/tools/oapi-codegen"
	if _, err := os.Stat(tool); err != nil {
		t.Skipf("%s is missing: run make setup-test", tool)
	}
	dir := t.TempDir()
	made, config := filepath.Join(dir, "api.gen.go"), filepath.Join(dir, "codegen.yaml")
	text, err := os.ReadFile("codegen.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("output: api.gen.go"), []byte("output: "+made), 1)
	if err := os.WriteFile(config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), tool, "-config", config, "openapi.yaml").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want, err := os.ReadFile(made)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("api.gen.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("api.gen.go is not what openapi.yaml says: run make generate")
	}
}

func TestDocument(t *testing.T) {
	t.Parallel()
	doc, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if _, err := AccessOf(op); err != nil {
				t.Error(err)
			}
			if op.Summary == "" || op.OperationID == "" || seen[op.OperationID] {
				t.Errorf("%s %s has no summary, or no name of its own (%q)", method, path, op.OperationID)
			}
			seen[op.OperationID] = true
			if fallback := op.Responses.Default(); fallback == nil || fallback.Ref != "#/components/responses/Error" {
				t.Errorf("%s does not say what errors look like", op.OperationID)
			}
		}
	}
}
