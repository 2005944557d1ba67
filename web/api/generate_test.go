package api

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestGeneratedIsFresh makes what is generated anew and wants the same bytes.
func TestGeneratedIsFresh(t *testing.T) {
	t.Parallel()
	for kept, command := range map[string][]string{
		"api.gen.go":          {"../../build/tools/oapi-codegen", "-config", "", "openapi.yaml"},
		"../console/api.d.ts": {"../../internal/testkit/npm/node_modules/.bin/openapi-typescript", "openapi.yaml", "--output", ""},
	} {
		t.Run(filepath.Base(kept), func(t *testing.T) {
			t.Parallel()
			if _, err := os.Stat(command[0]); err != nil {
				t.Skipf("%s is missing: run make setup-test", command[0])
			}
			made := filepath.Join(t.TempDir(), filepath.Base(kept))
			last := made
			if filepath.Ext(kept) == ".go" {
				last = configFor(t, made)
			}
			var args []string
			for _, arg := range command[1:] {
				if arg == "" {
					arg = last
				}
				args = append(args, arg)
			}
			if out, err := exec.CommandContext(t.Context(), command[0], args...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			want, err := os.ReadFile(made)
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(kept)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s is not what openapi.yaml says: run make generate", kept)
			}
		})
	}
}

// configFor is codegen.yaml with another place for what is made.
func configFor(t *testing.T, made string) string {
	t.Helper()
	config, err := os.ReadFile("codegen.yaml")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "codegen.yaml")
	config = bytes.Replace(config, []byte("output: api.gen.go"), []byte("output: "+made), 1)
	if err := os.WriteFile(path, config, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
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
