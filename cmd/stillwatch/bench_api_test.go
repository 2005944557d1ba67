package main

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
	"time"
)

// TestBenchAPI runs the benchmark in small: every operation of its load must
// be carried out, or its figures would be those of refusals.
func TestBenchAPI(t *testing.T) {
	cfg := settings(t, t.TempDir())
	var out bytes.Buffer
	e := &env{ctx: t.Context(), stdout: &out, stderr: os.Stderr, cfg: cfg}
	cmd := benchAPICmd{Rate: 100, Calls: 40, Duration: 2 * time.Second, JSON: true}
	if err := cmd.Run(e); err != nil {
		t.Fatal(err)
	}
	var report apiReport
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatal(err)
	}
	if report.Sent != 200 || report.Errors != 0 || len(report.Operations) != len(apiOperations) {
		t.Errorf("%d requests of %d operations, %d errors", report.Sent, len(report.Operations), report.Errors)
	}
	for name, op := range report.Operations {
		if op.Errors > 0 || op.Client.N == 0 {
			t.Errorf("%s: %d of %d failed: %s", name, op.Errors, op.Client.N, op.Error)
		}
	}
}
