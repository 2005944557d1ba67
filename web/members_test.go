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

const membersURL = videoPrefix + "/call/members"

// memberIDs lists members as "id/role".
func memberIDs(a answer) string {
	var out []string
	for _, m := range a.body["members"].([]any) {
		m := m.(map[string]any)
		out = append(out, fmt.Sprint(m["user_id"], "/", m["role"]))
	}
	return strings.Join(out, " ")
}

func TestUpdateCallMembers(t *testing.T) {
	t.Parallel()
	testUpdateCallMembers(t, newBench(t))
}

func testUpdateCallMembers(t *testing.T, b *bench) {
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice","members":[{"user_id":"hanna","role":"host"},{"user_id":"bob","custom":{"seat":3}}]}}`)
	b.now.Advance(time.Second)
	a := b.server(http.StatusOK, "POST", callURL+"/members", `{"update_members":[{"user_id":"bob","role":"speaker"},{"user_id":"carol"}],"remove_members":["hanna","nobody"]}`)
	if got := memberIDs(a); got != "bob/speaker carol/user" {
		t.Errorf("members %q", got)
	}
	golden(t, "members_updated", a)
	if got := types(b.sent(event.TopicPublic)); got != "call.created call.updated" {
		t.Errorf("public events %q", got)
	}
	// Members that are changed in nothing else keep role and custom data.
	a = b.server(http.StatusOK, "POST", callURL+"/members", `{"update_members":[{"user_id":"bob"}]}`)
	if bob := a.body["members"].([]any)[0].(map[string]any); bob["role"] != "speaker" || fmt.Sprint(bob["custom"]) != "map[seat:3]" {
		t.Errorf("bob became %v", bob)
	}
	b.server(http.StatusBadRequest, "POST", callURL+"/members", `{"update_members":[{"user_id":"a b"}]}`)
	b.server(http.StatusBadRequest, "POST", callURL+"/members", `{"update_members":[{"user_id":"x","role":"a b"}]}`)
	b.server(http.StatusBadRequest, "POST", callURL+"/members", `{"update_members":[{"user_id":"x","custom":{"a\u0000":1}}]}`)
	if got := memberIDs(b.server(http.StatusOK, "GET", callURL, nil)); got != "bob/speaker carol/user" {
		t.Errorf("after refusals: %q", got)
	}
}

// TestHostsGiveWhatTheyHave: nobody rises above who raises them.
func TestHostsGiveWhatTheyHave(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice","members":[{"user_id":"hanna","role":"host"}]}}`)
	hanna := b.user("hanna", "")
	b.want(http.StatusOK, b.do(hanna, "POST", callURL+"/members", `{"update_members":[{"user_id":"bob","role":"host"},{"user_id":"carol","role":"listener"}]}`))
	a := b.want(http.StatusForbidden, b.do(hanna, "POST", callURL+"/members", `{"update_members":[{"user_id":"bob","role":"admin"}]}`))
	if msg := a.body["message"].(string); !strings.Contains(msg, "gives the permission") {
		t.Errorf("refused with %q", msg)
	}
	b.want(http.StatusForbidden, b.do(b.user("dave", ""), "POST", callURL+"/members", `{"update_members":[{"user_id":"dave"}]}`))
}

func TestMembersAreBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice"}}`)
	rows := make([]db.MemberRow, maxMembers)
	for i := range rows {
		rows[i] = db.MemberRow{CID: "default:abc", UserID: fmt.Sprintf("u%04d", i), Role: "user", CreatedAt: db.At(b.now.Now().Add(time.Duration(i)))}
	}
	b.insert(&rows)
	b.server(http.StatusOK, "POST", callURL+"/members", `{"update_members":[{"user_id":"u0007"}]}`)
	b.server(http.StatusBadRequest, "POST", callURL+"/members", `{"update_members":[{"user_id":"one.more"}]}`)
	b.server(http.StatusOK, "POST", callURL+"/members", `{"update_members":[{"user_id":"one.more"}],"remove_members":["u0000"]}`)
	if n := len(b.server(http.StatusOK, "GET", callURL, nil).body["members"].([]any)); n != maxLimit {
		t.Errorf("a call shows %d members, want %d", n, maxLimit)
	}

	seen, next := 0, ""
	for pages := 1; ; pages++ {
		a := b.server(http.StatusOK, "POST", membersURL, fmt.Sprintf(`{"type":"default","id":"abc","limit":500,"next":%q}`, next))
		seen += len(a.body["members"].([]any))
		if next, _ = a.body["next"].(string); next == "" {
			if pages != maxMembers/maxLimit {
				t.Errorf("%d pages", pages)
			}
			break
		}
	}
	if seen != maxMembers {
		t.Errorf("pages show %d members, want %d", seen, maxMembers)
	}
}

func TestQueryCallMembers(t *testing.T) {
	t.Parallel()
	testQueryCallMembers(t, newBench(t))
}

func testQueryCallMembers(t *testing.T, b *bench) {
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice","members":[{"user_id":"hanna","role":"host","custom":{"seat":1}},{"user_id":"bob","custom":{"seat":2}},{"user_id":"carol"}]}}`)
	for body, want := range map[string]string{
		`{"type":"default","id":"abc"}`:                                                            "bob/user carol/user hanna/host",
		`{"type":"default","id":"abc","filter_conditions":{"role":"host"}}`:                        "hanna/host",
		`{"type":"default","id":"abc","filter_conditions":{"custom.seat":{"$gt":1}}}`:              "bob/user",
		`{"type":"default","id":"abc","sort":[{"field":"user_id","direction":-1}],"limit":2}`:      "hanna/host carol/user",
		`{"type":"default","id":"abc","filter_conditions":{"user_id":{"$in":["carol","nobody"]}}}`: "carol/user",
	} {
		if got := memberIDs(b.server(http.StatusOK, "POST", membersURL, body)); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
	b.server(http.StatusBadRequest, "POST", membersURL, `{}`)
	b.server(http.StatusNotFound, "POST", membersURL, `{"type":"default","id":"nope"}`)
	b.want(http.StatusForbidden, b.do(b.user("bob", "", "default:zzz"), "POST", membersURL, `{"type":"default","id":"abc"}`))
}

func TestQueryCallParticipants(t *testing.T) {
	t.Parallel()
	testQueryCallParticipants(t, newBench(t))
}

func testQueryCallParticipants(t *testing.T, b *bench) {
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice"}}`)
	now := b.now.Now()
	b.insert(&db.SessionRow{ID: "s1", CID: "default:abc", StartedAt: db.At(now)})
	for i, user := range []string{"ann", "bob", "carol", "gone"} {
		row := &db.ParticipantRow{UserSessionID: "us-" + user, SessionID: "s1", CID: "default:abc", UserID: user, Role: "user", JoinedAt: db.At(now.Add(time.Duration(i) * time.Second))}
		if user == "gone" {
			row.LeftAt = db.At(now.Add(time.Minute))
		}
		b.insert(row)
	}
	if _, err := b.db.NewUpdate().Model((*db.CallRow)(nil)).Set("current_session_id = 's1'").Where("id = 'abc'").Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	url := callURL + "/participants"
	who := func(a answer) string {
		var out []string
		for _, p := range a.body["participants"].([]any) {
			out = append(out, p.(map[string]any)["user"].(map[string]any)["id"].(string))
		}
		return strings.Join(out, " ")
	}
	a := b.server(http.StatusOK, "POST", url+"?limit=2", nil)
	if who(a) != "ann bob" || a.body["total_participants"] != 3.0 {
		t.Errorf("first page %q of %v", who(a), a.body["total_participants"])
	}
	a = b.server(http.StatusOK, "POST", url+"?limit=2", map[string]any{"next": a.body["next"]})
	if who(a) != "carol" || a.body["next"] != nil {
		t.Errorf("second page %q, next %v", who(a), a.body["next"])
	}
	a = b.want(http.StatusOK, b.do(b.user("bob", ""), "POST", url, `{"filter_conditions":{"user_id":{"$ne":"bob"}}}`))
	if who(a) != "ann carol" || a.body["total_participants"] != 3.0 {
		t.Errorf("filtered %q of %v", who(a), a.body["total_participants"])
	}
	b.want(http.StatusForbidden, b.do(b.user("gone", ""), "POST", url, nil))
}
