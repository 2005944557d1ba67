package config

import (
	"fmt"
	"strings"
)

// Reference returns the fully commented settings file with every default.
// docs/stillwatch.yaml is this text; a test holds them together.
func Reference() string {
	var b strings.Builder
	b.WriteString("# Every setting of stillwatch with its default.\n")
	b.WriteString("# Each can be given in the environment instead: the name stands behind it.\n")
	section := ""
	for _, f := range Fields() {
		group, name, _ := strings.Cut(f.Key, ".")
		if group != section {
			fmt.Fprintf(&b, "\n%s:\n", group)
			section = group
		}
		fmt.Fprintf(&b, "  # %s\n  # %s\n  %s: %s\n", f.Doc, f.Env, name, f.Default)
	}
	return b.String()
}
