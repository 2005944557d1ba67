package web

import (
	"net/http"
	"testing"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

func TestDeleteCall(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.server(http.StatusNotFound, "POST", callURL+"/delete", nil)
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice","settings_override":{"frame_recording":{"mode":"auto-on"}}}}`)
	a := b.server(http.StatusOK, "POST", callURL+"/delete", nil)
	if a.body["task_id"] != nil || a.body["call"].(map[string]any)["cid"] != "default:abc" {
		t.Errorf("soft: %s", a.raw)
	}
	if got := types(b.sent(event.TopicPublic)); got != "call.created call.frame_recording_started call.frame_recording_stopped call.deleted" {
		t.Errorf("public events %q", got)
	}
	if o := b.actions.last(t); o.kind != "end_call" || o.cid != "default:abc" {
		t.Errorf("ordered %+v", o)
	}
	b.server(http.StatusNotFound, "GET", callURL, nil)
	b.server(http.StatusNotFound, "PATCH", callURL, `{}`)
	b.server(http.StatusNotFound, "POST", callURL+"/delete", nil)
	b.server(http.StatusNotFound, "POST", callURL, `{"data":{"created_by_id":"alice"}}`)
	if got := ids(b.server(http.StatusOK, "POST", callsURL, nil)); got != "" {
		t.Errorf("lists show %q", got)
	}
	g := Gatekeeper{DB: b.db, Now: b.now.Now}
	if r, ok := g.Admit(t.Context(), "default", "abc", "bob", "user").(*Refusal); !ok || r.Status != http.StatusNotFound {
		t.Errorf("joining: %v", r)
	}
}

func TestDeleteCallHard(t *testing.T) {
	t.Parallel()
	testDeleteCallHard(t, newBench(t))
}

func testDeleteCallHard(t *testing.T, b *bench) {
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice"}}`)
	task, _ := b.server(http.StatusOK, "POST", callURL+"/delete", `{"hard":true}`).body["task_id"].(string)
	if again := b.server(http.StatusOK, "POST", callURL+"/delete", `{"hard":true}`).body["task_id"]; again != task || task == "" {
		t.Errorf("two requests made the tasks %q and %v", task, again)
	}
	a := b.server(http.StatusOK, "GET", "/api/v2/tasks/"+task, nil)
	golden(t, "task_waiting", a)
	b.server(http.StatusNotFound, "GET", "/api/v2/tasks/nope", nil)
	if got := types(b.sent(event.TopicPublic)); got != "call.created call.deleted" {
		t.Errorf("public events %q", got)
	}
	_, err := b.db.NewUpdate().Model((*db.TaskRow)(nil)).Set("status = ?", db.TaskFailed).Set("error = 'the disk is full'").Where("id = ?", task).Exec(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "task_failed", b.server(http.StatusOK, "GET", "/api/v2/tasks/"+task, nil))
	if next := b.server(http.StatusOK, "POST", callURL+"/delete", `{"hard":true}`).body["task_id"]; next == task {
		t.Error("a task that failed is not followed by another")
	}
}
