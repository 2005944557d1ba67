package web

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/auth"
	"stillwatch/internal/db"
)

const usersURL = "/api/v2/users"

func (b *bench) makeUsers() {
	b.t.Helper()
	for _, u := range []string{
		`{"id":"ann","name":"Ann Lee","role":"admin","teams":["red"],"custom":{"age":30,"club":{"name":"chess"}}}`,
		`{"id":"bob","name":"Bob","teams":["red","blue"],"custom":{"age":20}}`,
		`{"id":"cat","name":"annabel"}`,
	} {
		b.server(http.StatusOK, "POST", usersURL, fmt.Sprintf(`{"users":{%q:%s}}`, u[7:10], u))
		b.now.Advance(time.Minute)
	}
	b.insert(&db.BanRow{ID: "b1", UserID: "bob", ByUserID: "mo", CreatedAt: db.At(b.now.Now()), ExpiresAt: db.At(b.now.Now().Add(time.Hour))},
		&db.BanRow{ID: "b2", UserID: "cat", CID: "default:abc", ByUserID: "mo", CreatedAt: db.At(b.now.Now())})
}

// users queries with the payload and lists the ids found.
func (b *bench) users(payload string) string {
	b.t.Helper()
	a := b.server(http.StatusOK, "GET", usersURL+"?payload="+url.QueryEscape(payload), nil)
	var out []string
	for _, u := range a.body["users"].([]any) {
		out = append(out, u.(map[string]any)["id"].(string))
	}
	return strings.Join(out, " ")
}

func TestQueryUsers(t *testing.T) {
	t.Parallel()
	testQueryUsers(t, newBench(t))
}

func testQueryUsers(t *testing.T, b *bench) {
	b.makeUsers()
	for payload, want := range map[string]string{
		``: "cat bob ann",
		`{"filter_conditions":{"id":{"$in":["ann","cat"]}}}`:                  "cat ann",
		`{"filter_conditions":{"name":{"$autocomplete":"ann"}}}`:              "cat ann",
		`{"filter_conditions":{"role":"admin"}}`:                              "ann",
		`{"filter_conditions":{"teams":{"$contains":"blue"}}}`:                "bob",
		`{"filter_conditions":{"banned":true}}`:                               "bob",
		`{"filter_conditions":{"banned":false}}`:                              "cat ann",
		`{"filter_conditions":{"custom.age":{"$gte":20}}}`:                    "bob ann",
		`{"filter_conditions":{"custom.club.name":"chess"}}`:                  "ann",
		`{"sort":[{"field":"name","direction":1}]}`:                           "ann bob cat",
		`{"sort":[{"field":"id"}],"limit":1,"offset":1}`:                      "bob",
		`{"filter_conditions":{"created_at":{"$gt":"2026-01-05T10:00:30Z"}}}`: "cat bob",
	} {
		if got := b.users(payload); got != want {
			t.Errorf("%s found %q, want %q", payload, got, want)
		}
	}
	b.now.Advance(time.Hour)
	if got := b.users(`{"filter_conditions":{"banned":true}}`); got != "" {
		t.Errorf("after the ban's end %q are banned", got)
	}
	for payload, field := range map[string]string{
		`{`:                                  "payload",
		`{"offset":-1}`:                      "payload.offset",
		`{"limit":"x"}`:                      "payload.limit",
		`{"sort":[{"field":"role"}]}`:        "payload.sort[0].field",
		`{"filter_conditions":{"secret":1}}`: "payload.filter_conditions.secret",
		`{"next":"x"}`:                       "payload.next",
	} {
		a := b.server(http.StatusBadRequest, "GET", usersURL+"?payload="+url.QueryEscape(payload), nil)
		if fields, _ := a.body["exception_fields"].(map[string]any); fields[field] == nil {
			t.Errorf("%s: exception_fields %v, want %s", payload, fields, field)
		}
	}
	b.want(http.StatusForbidden, b.do(b.user("bob", ""), "GET", usersURL, nil))
	b.want(http.StatusOK, b.do(b.user("mo", auth.RoleModerator), "GET", usersURL, nil))
}

func TestUpdateUsers(t *testing.T) {
	t.Parallel()
	testUpdateUsers(t, newBench(t))
}

func testUpdateUsers(t *testing.T, b *bench) {
	b.makeUsers()
	a := b.server(http.StatusOK, "PATCH", usersURL, `{"users":[
	 {"id":"ann","set":{"name":"Ann","age":31,"teams":["green"]},"unset":["role","club"]},{"id":"bob","set":{"custom":{"new":true}}}]}`)
	ann, bob := a.body["users"].(map[string]any)["ann"].(map[string]any), a.body["users"].(map[string]any)["bob"].(map[string]any)
	if ann["name"] != "Ann" || ann["role"] != "user" || fmt.Sprint(ann["custom"]) != "map[age:31]" || fmt.Sprint(ann["teams"]) != "[green]" {
		t.Errorf("ann became %v", ann)
	}
	if bob["name"] != "Bob" || fmt.Sprint(bob["custom"]) != "map[new:true]" || fmt.Sprint(bob["teams"]) != "[red blue]" {
		t.Errorf("bob became %v", bob)
	}
	// All or none.
	b.server(http.StatusNotFound, "PATCH", usersURL, `{"users":[{"id":"ann","set":{"name":"X"}},{"id":"nobody"}]}`)
	if got := b.users(`{"filter_conditions":{"name":"X"}}`); got != "" {
		t.Errorf("a refused request changed %q", got)
	}
	for _, body := range []string{
		`{}`, `{"users":[]}`, `{"users":[{"set":{}}]}`, `{"users":[{"id":"ann","set":{"id":"x"}}]}`, `{"users":[{"id":"ann","set":{"name":7}}]}`,
		`{"users":[{"id":"ann","set":{"role":"a b"}}]}`, `{"users":[{"id":"ann","set":{"big":"` + strings.Repeat("x", maxCustom) + `"}}]}`,
	} {
		b.server(http.StatusBadRequest, "PATCH", usersURL, body)
	}
}
