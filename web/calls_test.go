package web

import (
	"net/http"
	"strings"
	"testing"

	"stillwatch/internal/event"
)

const callURL = "/api/v2/video/call/default/abc"

func TestGetOrCreateCall(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	body := `{"data":{"created_by_id":"alice","custom":{"room":"7"},"members":[{"user_id":"alice","role":"host"},{"user_id":"bob"}],
	 "settings_override":{"frame_recording":{"mode":"auto-on","capture_interval_in_seconds":5,"quality":"420p"}}},"ring":false,"members_limit":100,"zzz":1}`
	a := b.server(http.StatusCreated, "POST", callURL, body)
	golden(t, "call_created", a)
	if got := types(b.sent(event.TopicControl)) + " " + types(b.sent(event.TopicPublic)); got != "control.requested call.created call.frame_recording_started" {
		t.Errorf("auto-on enqueued %q", got)
	}
	again := b.server(http.StatusOK, "POST", callURL, nil)
	if again.body["created"] != false {
		t.Errorf("created twice: %s", again.raw)
	}
	if n := len(b.sent(event.TopicPublic)); n != 2 {
		t.Errorf("%d public events after the second request", n)
	}
	golden(t, "call_read", b.server(http.StatusOK, "GET", callURL+"?members_limit=1", nil))
	on, egress, frames, err := CallFrames(t.Context(), b.db, "default:abc")
	if err != nil || !on || egress == "" || frames != (FrameRecording{ModeAutoOn, 5, "420p"}) {
		t.Errorf("CallFrames: %v %q %+v %v", on, egress, frames, err)
	}
}

func TestCallRefusals(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	server := b.auth.ServerToken()
	for name, tc := range map[string]struct {
		token, method, target string
		body                  any
		status                int
		message               string
	}{
		"no creator":        {server, "POST", callURL, nil, 400, "created_by_id"},
		"unknown type":      {server, "POST", "/api/v2/video/call/nope/abc", `{"data":{"created_by_id":"a"}}`, 404, `call type "nope"`},
		"unknown call":      {server, "GET", callURL, nil, 404, `call "default:abc"`},
		"bad id":            {server, "GET", "/api/v2/video/call/default/a%20b", nil, 400, "id must be 1 to 64"},
		"bad member":        {server, "POST", callURL, `{"data":{"created_by_id":"a","members":[{"user_id":""}]}}`, 400, "data.members[0].user_id"},
		"bad override":      {server, "POST", callURL, `{"data":{"created_by_id":"a","settings_override":{"frame_recording":{"mode":"auto-on","quality":"999p"}}}}`, 400, "360p"},
		"user's override":   {b.user("u", ""), "POST", callURL, `{"data":{"settings_override":{"frame_recording":{"mode":"disabled"}}}}`, 403, "settings_override"},
		"user's role":       {b.user("u", ""), "POST", callURL, `{"data":{"members":[{"user_id":"u","role":"admin"}]}}`, 403, "members"},
		"other call":        {b.user("u", "", "default:zzz"), "POST", callURL, nil, 403, "not good for"},
		"a list":            {server, "POST", callURL, `[]`, 400, "must be an object"},
		"not JSON":          {server, "POST", callURL, `{"data":`, 400, "not JSON"},
		"wrong type inside": {server, "POST", callURL, `{"data":{"created_by_id":7}}`, 400, "data.created_by_id must be a string"},
	} {
		a := b.do(tc.token, tc.method, tc.target, tc.body)
		if a.status != tc.status || !strings.Contains(string(a.raw), tc.message) && !strings.Contains(a.body["message"].(string), tc.message) {
			t.Errorf("%s: %d %s", name, a.status, a.raw)
		}
	}
}

func TestUserCreatesCall(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a := b.want(http.StatusCreated, b.do(b.user("carol", ""), "POST", callURL, nil))
	call := a.body["call"].(map[string]any)
	if by := call["created_by"].(map[string]any)["id"]; by != "carol" {
		t.Errorf("created by %v", by)
	}
	if caps := a.body["own_capabilities"].([]any); len(caps) != 0 {
		t.Errorf("a plain user may %v", caps)
	}
}
