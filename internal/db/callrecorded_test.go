package db

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

// testCallRecorded is what a call shows of its full recordings.
func testCallRecorded(t *testing.T, d *DB) {
	at := At(time.Unix(1_700_000_000, 0))
	call := func(id, session string, decided RecordingDecision, ended bool) {
		row := CallRow{CID: "default:" + id, Type: "default", ID: id, CurrentSessionID: session, CreatedByID: "alice", CreatedAt: at, UpdatedAt: at}
		row.RecordingDecision.V = decided
		if ended {
			row.EndedAt = at
		}
		insert(t, d, &row)
	}
	n := 0
	run := func(id, session, kind, lane, state, mode, by string, flagged bool) {
		n++
		row := RecordingRow{
			ID: fmt.Sprint("r", n), CID: "default:" + id, SessionID: session, Type: kind, Lane: lane, State: state, RequestedBy: by,
			Flagged: Bool(flagged), Plan: JSON[json.RawMessage]{V: json.RawMessage(fmt.Sprintf(`{"composite":%q,"individual":%[1]q,"raw":%[1]q}`, mode))},
			StartedAt: at, CreatedAt: at, UpdatedAt: at,
		}
		insert(t, d, &row)
	}
	promise := RecordingDecision{Record: true, Type: "all", Source: "user"}
	call("none", "", RecordingDecision{}, false)
	call("promised", "", promise, false)
	call("over", "", promise, true)
	call("stopped", "s1", promise, false)
	run("stopped", "s1", "composite", LaneBusiness, RecordingReady, "auto-on", "", false)
	call("again", "s2", promise, false) // a session before this one was recorded
	run("again", "s0", "composite", LaneBusiness, RecordingReady, "auto-on", "", false)
	call("on", "s3", RecordingDecision{}, false)
	run("on", "s3", "composite", LaneBusiness, RecordingOn, "auto-on", "", false)
	run("on", "s3", "raw", LaneBusiness, RecordingOn, "available", "bob", false)
	call("armed", "", RecordingDecision{}, false)
	run("armed", "", "individual", LaneBusiness, RecordingOn, "available", "bob", false)
	call("armed-over", "", RecordingDecision{}, true)
	run("armed-over", "", "individual", LaneBusiness, RecordingOn, "available", "bob", false)
	call("waits", "s4", RecordingDecision{}, false)
	run("waits", "s4", "composite", LaneBusiness, RecordingOn, "on-flag", "", false)
	call("flagged", "s5", RecordingDecision{}, false)
	run("flagged", "s5", "composite", LaneBusiness, RecordingOn, "on-flag", "", true)
	call("asked", "s6", RecordingDecision{}, false)
	run("asked", "s6", "individual", LaneBusiness, RecordingOn, "on-flag", "bob", false)
	call("watched", "s7", RecordingDecision{}, false)
	run("watched", "s7", "composite", LaneEvidence, RecordingOn, "on-flag", "", true)
	for id, want := range map[string]string{
		"none": "false - - -", "promised": "true - - -", "over": "false - - -", "stopped": "false - - -", "again": "true - - -",
		"on": "true running - running", "armed": "true - - -", "armed-over": "false - - -", "waits": "false - - -",
		"flagged": "true running - -", "asked": "true - running -", "watched": "false - - -",
	} {
		raw, err := d.CallBody(t.Context(), "default:"+id)
		if err != nil {
			t.Fatal(err)
		}
		var body struct {
			Recording bool
			Egress    map[string]any
		}
		if err := json.Unmarshal(raw, &body); err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprint(body.Recording)
		for _, kind := range []string{"composite", "individual", "raw"} {
			status := "-"
			if e, ok := body.Egress[kind+"_recording"].(map[string]any); ok {
				status = fmt.Sprint(e["status"])
			}
			got += " " + status
		}
		if got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
}
