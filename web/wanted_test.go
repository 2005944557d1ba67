package web

import "testing"

// What the document's check refuses is told in the handlers' words.
func TestErrorsSayWhatWouldBeRight(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, tc := range []struct {
		method, target, body, want string
	}{
		{"GET", ownPrefix + "participants?cid=abc", "", `cid must be a call's "type:id"`},
		{"GET", ownPrefix + "participants", "", "cid is missing"},
		{"GET", ownPrefix + "frames?limit=x", "", "limit must be an integer"},
		{"POST", "/api/v2/video/calls", `{"limit":-1}`, "limit must be at least 0"},
		{"POST", "/api/v2/video/calls", `{"sort":[{"field":"cid","direction":2}]}`, "sort[0].direction must be one of -1, 1"},
		{"POST", moderationPrefix + "/custom_check", `{"entity_type":"a","entity_id":"b","flags":[]}`, "flags must have 1 or more entries"},
		{"POST", moderationPrefix + "/submit_action", `{"item_id":"none","action_type":"mark_reviewed"}`, `review item "none" does not exist`},
		{"POST", moderationPrefix + "/submit_action", `{"appeal_id":"none","action_type":"unban"}`, `appeal "none" does not exist`},
	} {
		var body any
		if tc.body != "" {
			body = tc.body
		}
		if a := b.do(b.auth.ServerToken(), tc.method, tc.target, body); a.body["message"] != tc.want {
			t.Errorf("%s %s: %d %.300s", tc.target, tc.body, a.status, a.raw)
		}
	}
}
