package main

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestBenchWebhookDeliversEverything(t *testing.T) {
	var stdout, stderr bytes.Buffer
	args := []string{"bench", "webhook", "--rate", "100", "--actions", "20", "--duration", "1s", "--json"}
	if code := run(t.Context(), func() {}, args, &stdout, &stderr); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr.String())
	}
	var r webhookReport
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]webhookPhase{"alone": r.Alone, "beside": r.Beside} {
		if p.Sent != 100 || p.Delivered != 100 || p.ActionsSent != 20 || p.ActionsArrived != 20 || p.Dropped != 0 || p.LatencyMS.P50 <= 0 || p.RSSMB <= 0 {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if code := run(t.Context(), func() {}, []string{"bench", "webhook", "--rate", "0"}, &stdout, &stderr); code != 2 {
		t.Errorf("no rate: exit %d", code)
	}
}
