package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// layers is the import table of docs/ARCHITECTURE.md: what a package of this
// module may import of this module. The longest matching prefix counts; a
// trailing "!" names the package itself without those below it.
var layers = map[string][]string{
	"internal/event":           {},
	"internal/service":         {},
	"internal/telemetry":       {},
	"internal/config":          {},
	"internal/bus":             ground,
	"internal/blob":            ground,
	"internal/db":              ground,
	"internal/netguard":        ground,
	"internal/auth":            ground,
	"internal/codec":           {},
	"internal/seal":            {},
	"internal/jail":            {},
	"internal/signature":       {},
	"internal/evidence":        ground,
	"internal/testkit":         append([]string{"internal/testkit"}, floor...),
	"internal/retention":       floor,
	"internal/storage":         floor,
	"internal/synthetic":       ground,
	"models":                   append([]string{"models"}, floor...),
	"capture":                  append([]string{"models", "capture"}, floor...),
	"recording/permission":     {},
	"recording":                append([]string{"models", "recording"}, floor...),
	"actions":                  append([]string{"models", "actions"}, floor...),
	"actions/peer/peertest":    append([]string{"actions", "internal/testkit"}, floor...),
	"actions/awsqueue/awstest": append([]string{"actions", "internal/testkit"}, floor...),
	"moderation":               append([]string{"models!", "moderation"}, floor...),
	"web":                      append([]string{"web", "models!", "capture!", "moderation!", "recording!", "recording/permission", "actions!"}, floor...),
	"cmd":                      {""},
}

var (
	ground = []string{"internal/event", "internal/service", "internal/telemetry", "internal/config"}
	floor  = append([]string{"internal/bus", "internal/blob", "internal/db", "internal/netguard", "internal/auth", "internal/seal", "internal/signature", "internal/storage", "internal/evidence", "internal/jail", "internal/codec"}, ground...)
)

// onlyCmd are the packages with native code, imported by cmd alone.
var onlyCmd = []string{"stillwatch/models/onnx", "stillwatch/capture/picture"}

type listed struct {
	ImportPath string
	Imports    []string
}

func modulePackages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "stillwatch/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func within(path, rule string) bool {
	if own, ok := strings.CutSuffix(rule, "!"); ok {
		return path == own
	}
	return rule == "" || path == rule || strings.HasPrefix(path, rule+"/")
}

func allowed(pkg string) (rules []string, ok bool) {
	best := -1
	for prefix, r := range layers {
		if within(pkg, prefix) && len(prefix) > best {
			best, rules = len(prefix), r
		}
	}
	return rules, best >= 0
}

func TestImportTable(t *testing.T) {
	t.Parallel()
	packages := modulePackages(t)
	if len(packages) < 10 {
		t.Fatalf("go list found %d packages only", len(packages))
	}
	for _, p := range packages {
		pkg := strings.TrimPrefix(p.ImportPath, "stillwatch/")
		rules, ok := allowed(pkg)
		if !ok {
			t.Errorf("package %s is in no layer of the import table", pkg)
			continue
		}
		for _, imp := range p.Imports {
			own, inside := strings.CutPrefix(imp, "stillwatch/")
			if !inside || within(own, pkg) {
				continue
			}
			fine := false
			for _, r := range rules {
				fine = fine || within(own, r)
			}
			if !fine {
				t.Errorf("%s imports %s, which the import table forbids", pkg, own)
			}
			for _, native := range onlyCmd {
				if within(imp, native) && !within(pkg, "cmd") && !within(p.ImportPath, native) {
					t.Errorf("%s imports %s, which is for cmd alone", pkg, imp)
				}
			}
		}
	}
}
