package web

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

func TestUpdateCall(t *testing.T) {
	t.Parallel()
	testUpdateCall(t, newBench(t))
}

func testUpdateCall(t *testing.T, b *bench) {
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice","custom":{"room":"7"},"team":"red","starts_at":"2026-02-01T08:00:00Z"}}`)
	b.now.Advance(time.Second)
	a := b.server(http.StatusOK, "PATCH", callURL, `{"custom":{"room":"8"}}`)
	golden(t, "call_updated", a)
	call := a.body["call"].(map[string]any)
	if call["starts_at"] != "2026-02-01T08:00:00Z" || call["team"] != "red" {
		t.Errorf("an update of custom changed %v, %v", call["starts_at"], call["team"])
	}
	a = b.server(http.StatusOK, "PATCH", callURL, `{"starts_at":null}`)
	if call := a.body["call"].(map[string]any); call["starts_at"] != nil || fmt.Sprint(call["custom"]) != "map[room:8]" {
		t.Errorf("starts_at %v, custom %v", call["starts_at"], call["custom"])
	}
	b.server(http.StatusBadRequest, "PATCH", callURL, `{"starts_at":"tomorrow"}`)
	b.server(http.StatusBadRequest, "PATCH", callURL, `{"starts_at":"1066-10-14T09:00:00Z"}`)
	b.server(http.StatusBadRequest, "PATCH", callURL, `{"custom":{"x":"`+strings.Repeat("x", maxCustom)+`"}}`)
	b.server(http.StatusNotFound, "PATCH", videoPrefix+"/call/default/nope", `{}`)
	if got := types(b.sent(event.TopicPublic)); got != "call.created call.updated call.updated" {
		t.Errorf("public events %q", got)
	}
}

// TestSettingsOfALiveCall: a change of frame recording counts at once.
func TestSettingsOfALiveCall(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice","settings_override":{"frame_recording":{"mode":"auto-on"}}}}`)
	b.server(http.StatusOK, "PATCH", callURL, `{"settings_override":{"frame_recording":{"mode":"auto-on","capture_interval_in_seconds":7}}}`)
	on, _, frames, err := CallFrames(t.Context(), b.db, "default:abc")
	if err != nil || !on || frames != (FrameRecording{ModeAutoOn, 7, "720p"}) {
		t.Errorf("on %t, %+v, %v", on, frames, err)
	}
	var orders []event.ControlKind
	for _, ev := range b.sent(event.TopicControl) {
		var c event.Control
		if err := ev.Decode(&c); err != nil {
			t.Fatal(err)
		}
		orders = append(orders, c.Kind)
	}
	if fmt.Sprint(orders) != "[frame_recording settings]" {
		t.Errorf("orders %v", orders)
	}
	b.server(http.StatusOK, "PATCH", callURL, `{"settings_override":{"frame_recording":{"mode":"disabled"}}}`)
	if on, _, _, _ := CallFrames(t.Context(), b.db, "default:abc"); on {
		t.Error("frames are recorded though that is disabled")
	}
	if got := types(b.sent(event.TopicPublic)); !strings.HasSuffix(got, "call.frame_recording_stopped call.updated") {
		t.Errorf("public events %q", got)
	}
	b.server(http.StatusBadRequest, "PATCH", callURL, `{"settings_override":{"frame_recording":{"mode":"auto-on","quality":"999p"}}}`)
	b.insert(&db.MemberRow{CID: "default:abc", UserID: "hanna", Role: RoleHost})
	hanna := b.user("hanna", "")
	b.want(http.StatusForbidden, b.do(hanna, "PATCH", callURL, `{"settings_override":{"frame_recording":{"mode":"disabled"}}}`))
	b.want(http.StatusOK, b.do(hanna, "PATCH", callURL, `{"custom":{"by":"hanna"}}`))
	b.want(http.StatusForbidden, b.do(b.user("bob", ""), "PATCH", callURL, `{"custom":{}}`))
}

func TestEditsOfAnOlderStateAreRefused(t *testing.T) {
	t.Parallel()
	testEditsOfAnOlderStateAreRefused(t, newBench(t))
}

func testEditsOfAnOlderStateAreRefused(t *testing.T, b *bench) {
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice"}}`)
	for _, resource := range []struct{ name, method, url, body string }{
		{"call", "PATCH", callURL, `{"custom":{"a":1}}`},
		{"call type", "PUT", typesURL + "/default", `{"settings":{"video":{"enabled":false}}}`},
	} {
		read := b.server(http.StatusOK, "GET", resource.url, nil).header.Get("ETag")
		if read == "" {
			t.Fatalf("%s: no ETag", resource.name)
		}
		if again := b.server(http.StatusOK, "GET", resource.url, nil).header.Get("ETag"); again != read {
			t.Errorf("%s: two reads have %s and %s", resource.name, read, again)
		}
		wrote := b.edit(http.StatusOK, resource.method, resource.url, resource.body, read).header.Get("ETag")
		if wrote == read || wrote != b.server(http.StatusOK, "GET", resource.url, nil).header.Get("ETag") {
			t.Errorf("%s: ETag %s before and %s after the change", resource.name, read, wrote)
		}
		a := b.edit(http.StatusPreconditionFailed, resource.method, resource.url, resource.body, read)
		if a.body["code"] != float64(CodeConflict) || a.body["exception_fields"].(map[string]any)["If-Match"] == nil {
			t.Errorf("%s: %s", resource.name, a.raw)
		}
		b.edit(http.StatusOK, resource.method, resource.url, resource.body, "*")
	}
	b.server(http.StatusCreated, "POST", typesURL, `{"name":"show"}`)
	tag := b.server(http.StatusOK, "GET", typesURL+"/show", nil).header.Get("ETag")
	b.edit(http.StatusPreconditionFailed, "DELETE", typesURL+"/show", "", `"old"`)
	b.edit(http.StatusOK, "DELETE", typesURL+"/show", "", tag)
}

func TestEndCall(t *testing.T) {
	t.Parallel()
	testEndCall(t, newBench(t))
}

func testEndCall(t *testing.T, b *bench) {
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice","members":[{"user_id":"hanna","role":"host"}],"settings_override":{"frame_recording":{"mode":"auto-on"}}}}`)
	b.want(http.StatusForbidden, b.do(b.user("bob", ""), "POST", callURL+"/mark_ended", nil))
	for range 2 { // twice is once
		b.want(http.StatusOK, b.do(b.user("hanna", ""), "POST", callURL+"/mark_ended", nil))
	}
	evs := b.sent(event.TopicPublic)
	if got := types(evs); got != "call.created call.frame_recording_started call.frame_recording_stopped call.ended" {
		t.Errorf("public events %q", got)
	}
	ended := body[event.CallEnding](t, evs[len(evs)-1])
	if ended.CallCID != "default:abc" || ended.User.ID != "hanna" || len(ended.Members) != 1 || !strings.Contains(string(ended.Call), `"ended_at":"2026-01-05T10:00:00Z"`) {
		t.Errorf("ended: %+v %s", ended, ended.Call)
	}
	if o := b.actions.last(t); o.kind != "end_call" || o.cid != "default:abc" || b.actions.count() != 1 {
		t.Errorf("ordered %+v, %d times", o, b.actions.count())
	}

	// It is shown, and nothing begins in it any more.
	a := b.server(http.StatusOK, "POST", callURL, `{"data":{"created_by_id":"alice"}}`)
	if call := a.body["call"].(map[string]any); call["ended_at"] == nil || a.body["created"] != false {
		t.Errorf("getOrCreate of an ended call: %s", a.raw)
	}
	for _, path := range []string{"/start_frame_recording", "/event"} {
		a := b.server(http.StatusBadRequest, "POST", callURL+path, nil)
		if msg := a.body["message"].(string); !strings.Contains(msg, "has ended") {
			t.Errorf("%s: %s", path, msg)
		}
	}
	g := Gatekeeper{DB: b.db, Now: b.now.Now}
	for name, err := range map[string]error{
		"join": g.Admit(t.Context(), "default", "abc", "bob", "user"), "watch": g.Watch(t.Context(), "default", "abc", "bob", "user"),
	} {
		if r, ok := err.(*Refusal); !ok || r.Status != http.StatusForbidden || r.Reason != "the call has ended" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
