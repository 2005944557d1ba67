package web

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/auth"
	"stillwatch/internal/db"
	"stillwatch/internal/testkit"
)

const callsURL = videoPrefix + "/calls"

// makeCalls makes the calls c0, c1, … a minute apart: the even ones by alice
// with bob as a member, the odd ones by carol.
func (b *bench) makeCalls(n int) {
	b.t.Helper()
	for i := range n {
		by, members := "alice", `[{"user_id":"bob","role":"host"}]`
		if i%2 == 1 {
			by, members = "carol", `[]`
		}
		b.server(http.StatusCreated, "POST", fmt.Sprintf("%s/call/default/c%d", videoPrefix, i),
			fmt.Sprintf(`{"data":{"created_by_id":%q,"members":%s,"custom":{"n":%d,"room":{"floor":"%d"}},"starts_at":"2026-02-01T%02d:00:00Z"}}`, by, members, i, i%3, i))
		b.now.Advance(time.Minute)
	}
}

// ids lists the ids of the calls in an answer.
func ids(a answer) string {
	var out []string
	calls, _ := a.body["calls"].([]any)
	for _, c := range calls {
		out = append(out, c.(map[string]any)["call"].(map[string]any)["id"].(string))
	}
	return strings.Join(out, " ")
}

// onBoth runs a test on a server over each database.
func onBoth(t *testing.T, test func(t *testing.T, b *bench)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, newBench(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, newBenchOn(t, testkit.Postgres(t)))
	})
}

func TestQueryCalls(t *testing.T) {
	t.Parallel()
	onBoth(t, testQueryCalls)
}

func testQueryCalls(t *testing.T, b *bench) {
	b.makeCalls(6)
	b.insert(&db.SessionRow{ID: "s1", CID: "default:c4", StartedAt: db.At(b.now.Now())},
		&db.ParticipantRow{UserSessionID: "us1", SessionID: "s1", CID: "default:c4", UserID: "bob", Role: "host", JoinedAt: db.At(b.now.Now())})
	if _, err := b.db.NewUpdate().Model((*db.CallRow)(nil)).Set("current_session_id = 's1'").Set("flagged = 1").Where("id = 'c4'").Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.server(http.StatusOK, "POST", videoPrefix+"/call/default/c3/mark_ended", nil)
	for filter, want := range map[string]string{
		`{}`:          "c5 c4 c3 c2 c1 c0",
		`{"id":"c2"}`: "c2",
		`{"cid":{"$in":["default:c1","default:c5"]}}`:             "c5 c1",
		`{"type":{"$ne":"default"}}`:                              "",
		`{"created_by_user_id":"alice"}`:                          "c4 c2 c0",
		`{"members":{"$in":["bob","nobody"]}}`:                    "c4 c2 c0",
		`{"members":{"$exists":false}}`:                           "c5 c3 c1",
		`{"ongoing":true}`:                                        "c4",
		`{"flagged":true}`:                                        "c4",
		`{"ended_at":{"$exists":true}}`:                           "c3",
		`{"custom.n":{"$gte":2,"$lt":4}}`:                         "c3 c2",
		`{"custom.room.floor":"1"}`:                               "c4 c1",
		`{"starts_at":{"$lte":"2026-02-01T01:00:00Z"}}`:           "c1 c0",
		`{"$or":[{"id":"c0"},{"custom.n":5}]}`:                    "c5 c0",
		`{"created_at":{"$gt":"2026-01-05T10:03:30.000000Z"}}`:    "c5 c4",
		`{"updated_at":{"$exists":true},"id":{"$gt":"c3"}}`:       "c5 c4",
		`{"custom.n":{"$exists":true},"$nor":[{"flagged":true}]}`: "c5 c3 c2 c1 c0",
	} {
		if got := ids(b.server(http.StatusOK, "POST", callsURL, `{"filter_conditions":`+filter+`}`)); got != want {
			t.Errorf("%s found %q, want %q", filter, got, want)
		}
	}
	a := b.server(http.StatusOK, "POST", callsURL, `{"filter_conditions":{"ongoing":true}}`)
	golden(t, "calls_queried", a)
	for sort, want := range map[string]string{
		`[{"field":"created_at","direction":1}]`:                          "c0 c1 c2",
		`[{"field":"starts_at","direction":-1}]`:                          "c5 c4 c3",
		`[{"field":"ended_at","direction":-1},{"field":"id"}]`:            "c3 c0 c1",
		`[{"field":"type","direction":1},{"field":"cid","direction":-1}]`: "c5 c4 c3",
	} {
		if got := ids(b.server(http.StatusOK, "POST", callsURL, `{"limit":3,"sort":`+sort+`}`)); got != want {
			t.Errorf("by %s: %q, want %q", sort, got, want)
		}
	}
}

func TestQueryCallsPages(t *testing.T) {
	t.Parallel()
	testQueryCallsPages(t, newBench(t))
}

func testQueryCallsPages(t *testing.T, b *bench) {
	b.makeCalls(5)
	page := func(limit int, cursors string) (string, string, string) {
		a := b.server(http.StatusOK, "POST", callsURL, fmt.Sprintf(`{"limit":%d%s}`, limit, cursors))
		next, _ := a.body["next"].(string)
		prev, _ := a.body["prev"].(string)
		return ids(a), next, prev
	}
	first, next, prev := page(2, "")
	if first != "c4 c3" || next == "" || prev != "" {
		t.Fatalf("first page %q, next %q, prev %q", first, next, prev)
	}
	second, last, back := page(2, `,"next":"`+next+`"`)
	if second != "c2 c1" || back == "" {
		t.Fatalf("second page %q, prev %q", second, back)
	}
	if got, _, _ := page(2, `,"prev":"`+back+`"`); got != first {
		t.Errorf("back from the second page: %q", got)
	}
	if got, end, _ := page(2, `,"next":"`+last+`"`); got != "c0" || end != "" {
		t.Errorf("last page %q, next %q", got, end)
	}
	for name, body := range map[string]string{
		"next":                          `{"next":"` + next + `","sort":[{"field":"id"}]}`,
		"prev":                          `{"next":"` + next + `","prev":"` + back + `"}`,
		"sort[0].field":                 `{"sort":[{"field":"custom.n"}]}`,
		"filter_conditions.secret":      `{"filter_conditions":{"secret":1}}`,
		"filter_conditions.ongoing.$gt": `{"filter_conditions":{"ongoing":{"$gt":true}}}`,
		"filter_conditions.$or[0].id":   `{"filter_conditions":{"$or":[{"id":7}]}}`,
	} {
		a := b.server(http.StatusBadRequest, "POST", callsURL, body)
		if fields, _ := a.body["exception_fields"].(map[string]any); fields[name] == nil {
			t.Errorf("%s: exception_fields %v", name, fields)
		}
	}
}

// TestUsersSeeTheirOwnCalls: what a user may not know of is not in any list.
func TestUsersSeeTheirOwnCalls(t *testing.T) {
	t.Parallel()
	testUsersSeeTheirOwnCalls(t, newBench(t))
}

func testUsersSeeTheirOwnCalls(t *testing.T, b *bench) {
	b.makeCalls(6)
	b.server(http.StatusOK, "POST", videoPrefix+"/call/default/c0/delete", nil)
	for name, tc := range map[string]struct{ token, want string }{
		"who made them":           {b.user("carol", ""), "c5 c3 c1"},
		"a member":                {b.user("bob", ""), "c4 c2"},
		"a stranger":              {b.user("eve", ""), ""},
		"a moderator":             {b.user("mo", auth.RoleModerator), "c5 c4 c3 c2 c1"},
		"one call":                {b.user("carol", "", "default:c3", "default:c4"), "c3"},
		"a moderator of one call": {b.user("mo", auth.RoleModerator, "default:c3"), "c3"},
		"the backend":             {b.auth.ServerToken(), "c5 c4 c3 c2 c1"},
	} {
		if got := ids(b.want(http.StatusOK, b.do(tc.token, "POST", callsURL, nil))); got != tc.want {
			t.Errorf("%s sees %q, want %q", name, got, tc.want)
		}
	}
	a := b.want(http.StatusOK, b.do(b.user("bob", ""), "POST", callsURL, `{"limit":1}`))
	call := a.body["calls"].([]any)[0].(map[string]any)
	if caps := call["own_capabilities"].([]any); !slices.Contains(caps, any(CapEndCall)) {
		t.Errorf("a host may %v", caps)
	}
	if members := call["members"].([]any); len(members) != 1 || members[0].(map[string]any)["role"] != "host" {
		t.Errorf("members %v", members)
	}
}
