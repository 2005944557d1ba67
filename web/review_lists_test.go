package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/auth"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// sendIf is a request of the backend with If-Match.
func (b *bench) sendIf(tag, method, target string, body any) answer {
	b.t.Helper()
	r := httptest.NewRequest(method, target+"?api_key=key", reader(b.t, body))
	r.Header.Set("Authorization", b.auth.ServerToken())
	r.Header.Set("If-Match", tag)
	return b.send(r)
}

func jsonOf(t *testing.T, text string) (v map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func testAppealAPI(t *testing.T, b *bench) {
	id := b.flagOn("bob")
	b.submit(http.StatusOK, id, "ban", nil)
	b.run()
	const appealURL = moderationPrefix + "/appeal"
	bob := b.user("bob", "")
	ask := `{"entity_type":"call","entity_id":"default:abc","appeal_reason":"a painting","attachments":["https://example.org/a.jpg"]}`
	if a := b.do(bob, "GET", callURL, nil); a.status != http.StatusForbidden {
		t.Fatalf("bob is not banned: %s", a.raw)
	}
	appeal := b.want(http.StatusCreated, b.do(bob, "POST", appealURL, ask)).body["appeal_id"].(string)
	if again := b.want(http.StatusCreated, b.do(bob, "POST", appealURL, ask)).body["appeal_id"]; again != appeal {
		t.Errorf("appealed twice: %s and %s", appeal, again)
	}
	b.want(http.StatusConflict, b.do(bob, "POST", appealURL, strings.Replace(ask, "a painting", "something else", 1)))
	b.want(http.StatusForbidden, b.do(bob, "POST", appealURL, strings.Replace(ask, "{", `{"user_id":"alice",`, 1)))
	b.want(http.StatusNotFound, b.do(b.user("eve", ""), "POST", appealURL, ask))
	b.want(http.StatusBadRequest, b.do(bob, "POST", appealURL, `{"entity_type":"user","entity_id":"alice","appeal_reason":"x"}`))
	b.want(http.StatusBadRequest, b.do(bob, "POST", appealURL, `{"entity_type":"message","entity_id":"1","appeal_reason":"x"}`))
	b.server(http.StatusBadRequest, "POST", appealURL, ask) // for whom?

	a := b.want(http.StatusOK, b.do(bob, "GET", appealURL+"/"+appeal, nil))
	golden(t, "appeal", a)
	b.want(http.StatusNotFound, b.do(b.user("eve", ""), "GET", appealURL+"/"+appeal, nil))
	b.want(http.StatusOK, b.do(b.user("ada", auth.RoleModerator), "GET", appealURL+"/"+appeal, nil))
	a = b.server(http.StatusOK, "POST", moderationPrefix+"/appeals", `{"filter":{"status":"submitted","user_id":"bob"}}`)
	if ids := idsOf(a, "items"); len(ids) != 1 || ids[0] != appeal {
		t.Errorf("%s", a.raw)
	}
	if got := b.server(http.StatusOK, "GET", queueURL+"/"+id, nil).body["item"].(map[string]any)["appeal"]; got.(map[string]any)["id"] != appeal {
		t.Errorf("the item shows %v", got)
	}
	a = b.server(http.StatusOK, "POST", submitURL, map[string]any{
		"appeal_id": appeal, "action_type": "unban", "user_id": "ada", "unban": map[string]any{"decision_reason": "it is one"},
	})
	item := a.body["appeal_item"].(map[string]any)
	if item["status"] != "accepted" || item["decision_reason"] != "it is one" || item["reviewed_by"] != "ada" || a.body["item"].(map[string]any)["id"] != id {
		t.Errorf("%s", a.raw)
	}
	if ev := public[event.AppealChange](b, event.AppealWasAccepted); ev.Appeal.ID != appeal || ev.Appeal.User.ID != "bob" {
		t.Errorf("%+v", ev)
	}
	b.want(http.StatusOK, b.do(bob, "GET", callURL, nil))
	b.server(http.StatusConflict, "POST", submitURL, map[string]any{"appeal_id": appeal, "action_type": "reject_appeal", "user_id": "mo"})
	b.server(http.StatusBadRequest, "POST", submitURL, map[string]any{"appeal_id": appeal, "action_type": "ban", "user_id": "mo"})
	b.server(http.StatusNotFound, "POST", submitURL, map[string]any{"appeal_id": "nope", "action_type": "unban", "user_id": "mo"})
}

func testBulkAppeals(t *testing.T, b *bench) {
	var ids []string
	for _, who := range []string{"bob", "carol"} {
		b.flagOn(who)
		a := b.want(http.StatusCreated, b.do(b.user(who, ""), "POST", moderationPrefix+"/appeal", `{"entity_type":"call","entity_id":"default:abc","appeal_reason":"x"}`))
		ids = append(ids, a.body["appeal_id"].(string))
	}
	const bulk = moderationPrefix + "/appeals/bulk_action"
	a := b.server(http.StatusOK, "POST", bulk, map[string]any{
		"appeal_ids": []string{ids[0], "nope", ids[1]}, "action_type": "reject_appeal", "decision_reason": "clear", "user_id": "ada",
	})
	var got []string
	for _, r := range a.body["results"].([]any) {
		one := r.(map[string]any)
		got = append(got, fmt.Sprint(one["success"], one["error"] != nil))
	}
	if strings.Join(got, ",") != "true false,false true,true false" {
		t.Errorf("%s", a.raw)
	}
	a = b.server(http.StatusOK, "POST", moderationPrefix+"/appeals", `{"filter":{"status":"rejected"}}`)
	if len(idsOf(a, "items")) != 2 {
		t.Errorf("%s", a.raw)
	}
	b.server(http.StatusBadRequest, "POST", bulk, map[string]any{"appeal_ids": ids, "action_type": "ban"})
	b.server(http.StatusBadRequest, "POST", bulk, nil)
}

func testQueues(t *testing.T, b *bench) {
	const queues = moderationPrefix + "/queues"
	a := b.want(http.StatusCreated, b.do(b.user("mo", auth.RoleModerator), "POST", queues,
		`{"name":"urgent","description":"d","filters":{"severity":{"$gte":80},"room":"7"},"sort":[{"field":"severity","direction":-1}]}`))
	queue := a.body["queue"].(map[string]any)
	id, tag := queue["id"].(string), a.header.Get("ETag")
	if queue["created_by"] != "mo" || tag == "" {
		t.Errorf("%s", a.raw)
	}
	if got := b.server(http.StatusOK, "GET", queues+"/"+id, nil); got.header.Get("ETag") != tag {
		t.Errorf("ETag %s, then %s", tag, got.header.Get("ETag"))
	}
	b.now.Advance(time.Second)
	a = b.want(http.StatusOK, b.sendIf(tag, "PATCH", queues+"/"+id, `{"name":"very urgent","description":""}`))
	queue = a.body["queue"].(map[string]any)
	if queue["name"] != "very urgent" || queue["description"] != "" || fmt.Sprint(queue["filters"]) != "map[room:7 severity:map[$gte:80]]" || len(queue["sort"].([]any)) != 1 {
		t.Errorf("%s", a.raw)
	}
	b.want(http.StatusPreconditionFailed, b.sendIf(tag, "PATCH", queues+"/"+id, `{"name":"x"}`))
	for i := range 3 {
		b.now.Advance(time.Second)
		b.server(http.StatusCreated, "POST", queues, map[string]any{"name": fmt.Sprint("q", i)})
	}
	a = b.server(http.StatusOK, "GET", queues+"?limit=3", nil)
	rest := b.server(http.StatusOK, "GET", queues+"?limit=3&next="+url.QueryEscape(a.body["next"].(string)), nil)
	if len(idsOf(a, "queues")) != 3 || len(idsOf(rest, "queues")) != 1 || idsOf(rest, "queues")[0] != id {
		t.Errorf("%s, then %s", a.raw, rest.raw)
	}
	for _, bad := range []string{`{}`, `{"name":"x","filters":{"severity":"y"}}`, `{"name":"x","sort":[{"field":"status","direction":1}]}`} {
		b.server(http.StatusBadRequest, "POST", queues, bad)
	}
	b.server(http.StatusOK, "POST", queues+"/"+id+"/delete", nil)
	b.server(http.StatusNotFound, "POST", queues+"/"+id+"/delete", nil)
	b.server(http.StatusNotFound, "GET", queues+"/"+id, nil)
	b.server(http.StatusNotFound, "PATCH", queues+"/"+id, `{"name":"x"}`)
}

func testLogs(t *testing.T, b *bench) {
	id := b.flagOn("bob")
	step := func(f func()) {
		b.now.Advance(time.Second)
		f()
	}
	step(func() { b.submit(http.StatusOK, id, "ban", map[string]any{"ban": map[string]any{"reason": "nudity"}}) })
	step(b.run)
	step(func() {
		b.server(http.StatusOK, "POST", moderationPrefix+"/unban?target_user_id=bob", `{"unbanned_by_id":"ada"}`)
	})
	step(func() { b.server(http.StatusOK, "POST", callURL+"/block", `{"user_id":"bob"}`) })
	step(func() { b.submit(http.StatusOK, id, "mark_reviewed", nil) })
	lines := func(filter string) (out []string) {
		t.Helper()
		next := ""
		for {
			a := b.server(http.StatusOK, "POST", moderationPrefix+"/logs", map[string]any{"filter": jsonOf(t, filter), "limit": 2, "next": next})
			for _, l := range a.body["logs"].([]any) {
				line := l.(map[string]any)
				out = append(out, fmt.Sprint(line["type"], " ", line["user_id"], " ", line["target_user_id"]))
			}
			if next, _ = a.body["next"].(string); next == "" {
				return out
			}
		}
	}
	want := "mark_reviewed mo bob,block system bob,kick system bob,unban ada bob,ban mo bob,flag mo bob"
	got := lines(`{}`)
	if len(got) == 6 && strings.HasPrefix(got[1], "kick") { // of the same instant
		got[1], got[2] = got[2], got[1]
	}
	if strings.Join(got, ",") != want {
		t.Errorf("%q, want %q", strings.Join(got, ","), want)
	}
	for filter, n := range map[string]int{`{"user_id":"mo"}`: 3, `{"type":{"$in":["ban","unban"]}}`: 2, `{"target_user_id":"eve"}`: 0, `{"channel_cid":"default:abc"}`: 4} {
		if got := lines(filter); len(got) != n {
			t.Errorf("%s finds %v, want %d", filter, got, n)
		}
	}
	a := b.server(http.StatusOK, "POST", moderationPrefix+"/logs", `{"filter":{"type":"ban"}}`)
	if line := a.body["logs"].([]any)[0].(map[string]any); line["review_queue_item_id"] != id || line["reason"] != "nudity" {
		t.Errorf("%s", a.raw)
	}
}

func testFlagLists(t *testing.T, b *bench) {
	id := b.flagOn("bob")
	b.now.Advance(time.Second)
	b.server(http.StatusOK, "POST", moderationPrefix+"/flag", `{"entity_type":"user","entity_id":"bob","user_id":"ada","reason":"name","custom":{"a":1}}`)
	a := b.server(http.StatusOK, "POST", moderationPrefix+"/flags", `{"filter":{"entity_creator_id":"bob"}}`)
	flags := a.body["flags"].([]any)
	if len(flags) != 2 || flags[0].(map[string]any)["entity_type"] != "user" || flags[1].(map[string]any)["review_queue_item_id"] != id {
		t.Fatalf("%s", a.raw)
	}
	for filter, n := range map[string]int{`{"user_id":"ada"}`: 1, `{"entity_type":"call","entity_id":"default:abc"}`: 1, `{"type":"image"}`: 0, `{"created_at":{"$gt":"2020-01-01T00:00:00Z"}}`: 2} {
		if a := b.server(http.StatusOK, "POST", moderationPrefix+"/flags", `{"filter":`+filter+`}`); len(a.body["flags"].([]any)) != n {
			t.Errorf("%s: %s", filter, a.raw)
		}
	}
	for body, n := range map[string]float64{`{"entity_creator_id":"bob"}`: 2, `{"entity_creator_id":"bob","entity_type":"user"}`: 1, `{"entity_creator_id":"eve"}`: 0} {
		if a := b.server(http.StatusOK, "POST", moderationPrefix+"/flag_count", body); a.body["count"] != n {
			t.Errorf("%s: %s", body, a.raw)
		}
	}
	b.server(http.StatusBadRequest, "POST", moderationPrefix+"/flag_count", nil)
}

func testBannedUsers(t *testing.T, b *bench) {
	at := b.now.Now()
	b.insert(
		&db.BanRow{ID: "b1", UserID: "bob", ByUserID: "mo", Reason: "nudity", CreatedAt: db.At(at)},
		&db.BanRow{ID: "b2", UserID: "carol", CID: "default:abc", ByUserID: "ada", CreatedAt: db.At(at.Add(time.Second)), ExpiresAt: db.At(at.Add(time.Minute))},
		&db.BanRow{ID: "b3", UserID: "dave", ByUserID: "mo", CreatedAt: db.At(at), LiftedAt: db.At(at)},
	)
	b.now.Advance(time.Hour)
	list := func(payload string) string {
		t.Helper()
		a := b.server(http.StatusOK, "GET", "/api/v2/chat/query_banned_users?payload="+url.QueryEscape(payload), nil)
		var out []string
		for _, r := range a.body["bans"].([]any) {
			out = append(out, r.(map[string]any)["user"].(map[string]any)["id"].(string))
		}
		return strings.Join(out, " ")
	}
	for payload, want := range map[string]string{
		"": "carol bob", `{"exclude_expired_bans":true}`: "bob", `{"filter_conditions":{"banned_by_id":"ada"}}`: "carol",
		`{"filter_conditions":{"channel_cid":"default:abc"}}`: "carol", `{"sort":[{"field":"created_at","direction":1}]}`: "bob carol",
		`{"limit":1}`: "carol", `{"limit":1,"offset":1}`: "bob", `{"filter_conditions":{"user_id":{"$in":["dave"]}}}`: "",
	} {
		if got := list(payload); got != want {
			t.Errorf("%s gives %q, want %q", payload, got, want)
		}
	}
	for _, bad := range []string{"{", `{"filter_conditions":{"zzz":1}}`, `{"offset":-1}`, `{"sort":[{"field":"reason","direction":1}]}`} {
		b.server(http.StatusBadRequest, "GET", "/api/v2/chat/query_banned_users?payload="+url.QueryEscape(bad), nil)
	}
}

func testUserMutes(t *testing.T, b *bench) {
	b.server(http.StatusOK, "POST", "/api/v2/users", `{"users":{"alice":{"id":"alice"},"bob":{"id":"bob"},"carol":{"id":"carol"}}}`)
	const mute, unmute = moderationPrefix + "/mute", moderationPrefix + "/unmute"
	alice := b.user("alice", "")
	a := b.want(http.StatusOK, b.do(alice, "POST", mute, `{"target_ids":["bob","carol","nobody"],"timeout":60}`))
	mutes := a.body["mutes"].([]any)
	first := mutes[0].(map[string]any)
	if len(mutes) != 2 || first["target"].(map[string]any)["id"] != "bob" || first["expires"] != b.now.Now().Add(time.Hour).Format(time.RFC3339Nano) ||
		fmt.Sprint(a.body["non_existing_users"]) != "[nobody]" {
		t.Errorf("%s", a.raw)
	}
	b.now.Advance(time.Minute)
	again := b.server(http.StatusOK, "POST", mute, `{"target_ids":["bob"],"user_id":"alice"}`).body["mutes"].([]any)[0].(map[string]any)
	if again["expires"] != nil || again["created_at"] != first["created_at"] || again["updated_at"] == first["updated_at"] {
		t.Errorf("muted again: %v", again)
	}
	b.want(http.StatusForbidden, b.do(alice, "POST", mute, `{"target_ids":["bob"],"user_id":"carol"}`))
	b.want(http.StatusForbidden, b.do(b.user("mo", auth.RoleModerator), "POST", unmute, `{"target_ids":["bob"],"user_id":"alice"}`))
	b.want(http.StatusBadRequest, b.do(alice, "POST", mute, `{"target_ids":["alice"]}`))
	b.server(http.StatusBadRequest, "POST", mute, `{"target_ids":["bob"]}`)
	b.want(http.StatusBadRequest, b.do(alice, "POST", mute, nil))
	b.want(http.StatusOK, b.do(alice, "POST", unmute, `{"target_ids":["bob"]}`))
	b.want(http.StatusOK, b.do(alice, "POST", unmute, `{"target_ids":["bob"]}`))
	if n, err := b.db.NewSelect().Model((*db.UserMuteRow)(nil)).Count(t.Context()); err != nil || n != 1 {
		t.Errorf("%d mutes, %v", n, err)
	}
}

func testFeedback(t *testing.T, b *bench) {
	id := b.flagOn("bob")
	const feedback = moderationPrefix + "/submit_moderation_feedback"
	b.server(http.StatusOK, "POST", feedback, map[string]any{"item_id": id, "expected_labels": []string{"art", "neutral", "art"}, "user_id": "mo"})
	b.server(http.StatusOK, "POST", feedback, map[string]any{"item_id": id, "expected_labels": []string{}, "notes": "none at all", "user_id": "mo"})
	b.server(http.StatusOK, "POST", feedback, map[string]any{"item_id": id, "expected_labels": []string{"art", "art"}, "user_id": "ada"})
	var rows []db.FeedbackRow
	if err := b.db.NewSelect().Model(&rows).Order("user_id").Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 2 || fmt.Sprint(rows[0].ExpectedLabels.V) != "[art]" || rows[1].Notes != "none at all" || len(rows[1].ExpectedLabels.V) != 0 {
		t.Errorf("%+v", rows)
	}
	labels := make([]string, 17)
	for i := range labels {
		labels[i] = fmt.Sprint("label", i)
	}
	b.server(http.StatusBadRequest, "POST", feedback, map[string]any{"item_id": id, "expected_labels": labels})
	b.server(http.StatusNotFound, "POST", feedback, map[string]any{"item_id": "nope", "expected_labels": labels[:16]})
	b.server(http.StatusBadRequest, "POST", feedback, nil)
}
