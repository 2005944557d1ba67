//go:build linux && (amd64 || arm64)

package jail

import "testing"

// BenchmarkRun is what the jail costs a command: its launcher's start.
func BenchmarkRun(b *testing.B) {
	c := Command{Name: "true", Dir: b.TempDir()}
	for b.Loop() {
		if err := Run(b.Context(), c); err != nil {
			b.Fatal(err)
		}
	}
}
