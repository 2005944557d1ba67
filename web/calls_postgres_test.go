package web

import (
	"fmt"
	"strings"
	"testing"

	"stillwatch/internal/testkit"
)

// TestCallsOnPostgres repeats on the other database what writes or asks by
// SQL of its own. The golden files are the same.
func TestCallsOnPostgres(t *testing.T) {
	t.Parallel()
	server := testkit.Postgres(t)
	admin := newBenchOn(t, server)
	n := 0
	for name, test := range map[string]func(*testing.T, *bench){
		"queryUsers": testQueryUsers, "updateUsers": testUpdateUsers, "members": testUpdateCallMembers, "queryMembers": testQueryCallMembers,
		"participants": testQueryCallParticipants, "update": testUpdateCall, "end": testEndCall, "delete": testDeleteCallHard,
		"recordings": testListRecordings, "runs": testRecordingRuns, "record": testRecordingStartStop,
		"pages": testQueryCallsPages, "own calls": testUsersSeeTheirOwnCalls, "older state": testEditsOfAnOlderStateAreRefused,
	} {
		n++
		own := fmt.Sprintf("t%d", n)
		if _, err := admin.db.ExecContext(t.Context(), "CREATE DATABASE "+own); err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) { test(t, newBenchOn(t, strings.Replace(server, "/postgres?", "/"+own+"?", 1))) })
	}
}
