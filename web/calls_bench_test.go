package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/auth"
	"stillwatch/internal/db"
)

// benchCalls is how many calls stand in the database of BenchmarkCalls.
const benchCalls = 10_000

// fillCalls writes calls with two members each, users, and one live session.
func fillCalls(b *testing.B, d *db.DB, now time.Time) {
	b.Helper()
	settings := settingsColumn(DefaultSettings())
	for from := 0; from < benchCalls; from += 500 {
		calls, members, users := []db.CallRow{}, []db.MemberRow{}, []db.UserRow{}
		for i := from; i < from+500; i++ {
			at := db.At(now.Add(time.Duration(i-benchCalls) * time.Minute))
			call := db.CallRow{
				CID: fmt.Sprintf("default:c%05d", i), Type: "default", ID: fmt.Sprintf("c%05d", i), CreatedByID: fmt.Sprintf("u%05d", i),
				Settings: settings, CreatedAt: at, UpdatedAt: at,
			}
			call.Custom.V, call.BlockedUserIDs.V = map[string]any{"n": i, "room": fmt.Sprint(i % 97)}, []string{}
			calls = append(calls, call)
			users = append(users, userRow(userRequest{ID: call.CreatedByID, Name: "User " + call.ID}, at.Time))
			for _, user := range []string{call.CreatedByID, fmt.Sprintf("u%05d", i*7%benchCalls)} {
				members = append(members, db.MemberRow{CID: call.CID, UserID: user, Role: "user", CreatedAt: at, UpdatedAt: at, Custom: db.JSON[map[string]any]{V: map[string]any{}}})
			}
		}
		seen := map[string]bool{}
		distinct := members[:0]
		for _, m := range members {
			if key := m.CID + m.UserID; !seen[key] {
				seen[key] = true
				distinct = append(distinct, m)
			}
		}
		for _, rows := range []any{&calls, &distinct, &users} {
			if _, err := d.NewInsert().Model(rows).Exec(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkCalls measures each operation of calls and users alone, over a
// database of 10,000 calls. ns/op is the whole handler, without the network.
func BenchmarkCalls(b *testing.B) {
	d, err := db.Open(b.Context(), "sqlite://"+filepath.Join(b.TempDir(), "bench.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { d.Close() })
	keys := auth.New("key", "0123456789abcdef0123456789abcdef")
	server := New(Config{
		Listen: "127.0.0.1:0", DB: d, Auth: keys, Actions: &fakeActions{db: d, now: time.Now}, Live: newFakeLive(), Signer: fakeSigner{},
	})
	if err := Seed(b.Context(), d, ModeAvailable); err != nil {
		b.Fatal(err)
	}
	fillCalls(b, d, time.Now())
	token := keys.ServerToken()
	n := 0
	for _, op := range []struct {
		name, token, method, target string
		body                        func() string
	}{
		{"getCall", token, "GET", "/call/default/c05000", nil},
		{"getOrCreateCall/known", token, "POST", "/call/default/c05000", nil},
		{"getOrCreateCall/new", token, "POST", "/call/default/new%d", func() string { return `{"data":{"created_by_id":"u00001","members":[{"user_id":"u00002"}]}}` }},
		{"updateCall", token, "PATCH", "/call/default/c05000", func() string { return fmt.Sprintf(`{"custom":{"n":%d}}`, n) }},
		{"sendCallEvent", token, "POST", "/call/default/c05000/event", func() string { return `{"custom":{"a":1},"user_id":"u00001"}` }},
		{"updateCallMembers", token, "POST", "/call/default/c05000/members", func() string { return fmt.Sprintf(`{"update_members":[{"user_id":"u%05d"}]}`, n%50) }},
		{"queryCallMembers", token, "POST", "/call/members", func() string { return `{"type":"default","id":"c05000"}` }},
		{"queryCallParticipants", token, "POST", "/call/default/c05000/participants", nil},
		{"queryCalls/newest", token, "POST", "/calls", nil},
		{"queryCalls/100", token, "POST", "/calls", func() string { return `{"limit":100}` }},
		{"queryCalls/custom", token, "POST", "/calls", func() string { return `{"filter_conditions":{"custom.room":"96"}}` }},
		{"queryCalls/custom, none", token, "POST", "/calls", func() string { return `{"filter_conditions":{"custom.room":"x"}}` }},
		{"queryCalls/member", token, "POST", "/calls", func() string { return `{"filter_conditions":{"members":{"$in":["u00007"]}}}` }},
		{"queryCalls/ongoing", token, "POST", "/calls", func() string { return `{"filter_conditions":{"ongoing":true}}` }},
		{"queryCalls/by ended_at", token, "POST", "/calls", func() string { return `{"sort":[{"field":"ended_at","direction":-1}]}` }},
		{"queryCalls/as a user", keys.UserToken(auth.UserClaims{UserID: "u00007"}), "POST", "/calls", nil},
		{"listCallTypes", token, "GET", "/calltypes", nil},
	} {
		b.Run(op.name, func(b *testing.B) {
			for b.Loop() {
				n++
				target, body := videoPrefix+op.target, ""
				if strings.Contains(target, "%d") {
					target = fmt.Sprintf(target, n)
				}
				if op.body != nil {
					body = op.body()
				}
				r := httptest.NewRequest(op.method, target+"?api_key=key", strings.NewReader(body))
				r.Header.Set("Authorization", op.token)
				w := httptest.NewRecorder()
				server.Handler().ServeHTTP(w, r)
				if w.Code >= http.StatusBadRequest {
					b.Fatalf("%d: %s", w.Code, w.Body)
				}
			}
		})
	}
}
