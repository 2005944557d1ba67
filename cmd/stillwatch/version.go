package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// version is set by the release build with -ldflags "-X main.version=...".
var version = "dev"

type versionCmd struct {
	JSON bool `help:"Print JSON."`
}

func (versionCmd) Help() string { return "Example: stillwatch version --json" }

// Run prints the version, the Go release and the revision.
func (c versionCmd) Run(e *env) error {
	revision := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	if c.JSON {
		return json.NewEncoder(e.stdout).Encode(map[string]string{"version": version, "go": runtime.Version(), "revision": revision})
	}
	_, err := fmt.Fprintln(e.stdout, strings.TrimSpace(fmt.Sprintf("stillwatch %s %s %s", version, runtime.Version(), revision)))
	return err
}
