package web

import (
	"net/http"
	"testing"

	"stillwatch/internal/event"
)

func TestSendCallEvent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice","members":[{"user_id":"hanna","role":"host"}]}}`)
	b.server(http.StatusOK, "POST", callURL+"/event", `{"custom":{"hand":"raised"},"user_id":"alice"}`)
	b.want(http.StatusOK, b.do(b.user("hanna", ""), "POST", callURL+"/event", `{"user_id":"alice"}`))
	b.want(http.StatusForbidden, b.do(b.user("bob", ""), "POST", callURL+"/event", `{"custom":{}}`))
	b.server(http.StatusBadRequest, "POST", callURL+"/event", `{"user_id":"a b"}`)
	evs := b.sent(event.TopicPublic)[1:]
	if got := types(evs); got != "custom custom" {
		t.Fatalf("public events %q", got)
	}
	first, second := body[event.Custom](t, evs[0]), body[event.Custom](t, evs[1])
	if first.User.ID != "alice" || first.Custom["hand"] != "raised" || first.CallCID != "default:abc" {
		t.Errorf("sent %+v", first)
	}
	// A user speaks for themselves only, and custom is never null.
	if second.User.ID != "hanna" || second.Custom == nil {
		t.Errorf("sent %+v", second)
	}
}
