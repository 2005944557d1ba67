package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/auth"
	"stillwatch/internal/db"
)

func TestBanUnban(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	g := Gatekeeper{DB: b.db, Now: b.now.Now}
	b.server(http.StatusOK, "POST", "/api/v2/moderation/ban", `{"target_user_id":"bob","banned_by_id":"mod1","reason":"nudity","timeout":1440}`)
	want := order{"ban", "bob", "", "mod1", "nudity", 24 * time.Hour}
	if got := b.actions.last(t); got != want {
		t.Errorf("ordered %+v, want %+v", got, want)
	}
	if err := g.Admit(t.Context(), "default", "abc", "bob", ""); err == nil {
		t.Error("a banned user may enter")
	}
	b.server(http.StatusOK, "POST", "/api/v2/moderation/unban?target_user_id=bob", nil)
	if got := b.actions.last(t); got.kind != "unban" || got.by != systemUser {
		t.Errorf("ordered %+v", got)
	}
	if err := g.Admit(t.Context(), "default", "abc", "bob", ""); err != nil {
		t.Errorf("after unban: %v", err)
	}
	// A moderator acts in their own name, whatever the request says.
	b.want(http.StatusOK, b.do(b.user("mo", auth.RoleModerator), "POST", "/api/v2/moderation/ban", `{"target_user_id":"bob","banned_by_id":"mod1","channel_cid":"default:abc"}`))
	if got := b.actions.last(t); got.by != "mo" || got.cid != "default:abc" || got.timeout != 0 {
		t.Errorf("ordered %+v", got)
	}
	for _, body := range []string{
		`{}`, `{"target_user_id":"a b"}`, `{"target_user_id":"bob","timeout":-5}`,
		`{"target_user_id":"bob","timeout":99999999999}`, `{"target_user_id":"bob","ip_ban":true}`, `{"target_user_id":"bob","channel_cid":"zzz"}`,
		`{"target_user_id":"bob","reason":"` + strings.Repeat("x", 1001) + `"}`,
	} {
		b.server(http.StatusBadRequest, "POST", "/api/v2/moderation/ban", body)
	}
	b.server(http.StatusBadRequest, "POST", "/api/v2/moderation/unban", nil)
}

func TestFlag(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a := b.server(http.StatusOK, "POST", "/api/v2/moderation/flag", `{"entity_type":"call","entity_id":"default:abc","entity_creator_id":"bob","reason":"look","user_id":"mod1","custom":{}}`)
	if a.body["item_id"] != "item-1" {
		t.Errorf("%s", a.raw)
	}
	if got, want := b.actions.last(t), (order{"flag", "bob", "default:abc", "mod1", "look", 0}); got != want {
		t.Errorf("ordered %+v, want %+v", got, want)
	}
	b.server(http.StatusBadRequest, "POST", "/api/v2/moderation/flag", `{"entity_type":"user","entity_id":"a b"}`)
	b.server(http.StatusBadRequest, "POST", "/api/v2/moderation/flag", `{"entity_type":"call","entity_id":"default:abc"}`)
}

func TestReviewQueue(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice"}}`)
	for i := range 5 {
		status := "pending"
		if i == 4 {
			status = "reviewed"
		}
		b.insert(&db.ReviewItemRow{
			ID: fmt.Sprintf("item-%d", i), EntityType: "call", EntityID: "default:abc", EntityCreatorID: "bob", Status: status,
			RecommendedAction: "flag", Severity: 80, CreatedAt: db.At(b.now.Now().Add(time.Duration(i) * time.Second)), UpdatedAt: db.At(b.now.Now()),
			Payload: db.JSON[json.RawMessage]{V: json.RawMessage(`{"texts":[],"images":["/s/a"],"videos":[],"audios":[],"custom":{}}`)},
			Flags:   db.JSON[json.RawMessage]{V: json.RawMessage(`[{"type":"image","entity_type":"call","entity_id":"default:abc","labels":["nudity"],"result":[],"reason":"","user_id":"system","created_at":"2026-01-05T10:00:00Z","updated_at":"2026-01-05T10:00:00Z"}]`)},
		})
	}
	const url = "/api/v2/moderation/review_queue"
	var ids []string
	next := ""
	for {
		a := b.server(http.StatusOK, "POST", url, map[string]any{
			"filter": map[string]string{"status": "pending", "entity_type": "call"}, "limit": 2, "next": next,
			"sort": []any{map[string]any{"field": "created_at", "direction": -1}},
		})
		if next == "" {
			golden(t, "review_queue", a)
		}
		for _, item := range a.body["items"].([]any) {
			ids = append(ids, item.(map[string]any)["id"].(string))
		}
		if next = a.body["next"].(string); next == "" {
			break
		}
	}
	if got := strings.Join(ids, " "); got != "item-3 item-2 item-1 item-0" {
		t.Errorf("paged through %q", got)
	}
	a := b.server(http.StatusOK, "POST", url, `{"stats_only":true}`)
	if fmt.Sprint(a.body["stats"]) != "map[pending:4 reviewed:1]" || len(a.body["items"].([]any)) != 0 {
		t.Errorf("%s", a.raw)
	}
	b.server(http.StatusBadRequest, "POST", url, `{"filter":{"severity":"1"}}`)
	b.server(http.StatusBadRequest, "POST", url, `{"sort":[{"field":"status","direction":-1}]}`)
	b.server(http.StatusBadRequest, "POST", url, `{"next":"!"}`)
	b.server(http.StatusBadRequest, "POST", url, `{"limit":-1}`)
}

func TestUsers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	body := `{"users":{"bob":{"id":"bob","name":"Bob","role":"user","teams":["red"],"custom":{"a":1},"zzz":0}}}`
	golden(t, "users", b.server(http.StatusOK, "POST", "/api/v2/users", body))
	before := b.server(http.StatusOK, "POST", "/api/v2/users", body).body["users"].(map[string]any)["bob"].(map[string]any)
	b.now.Advance(time.Hour)
	after := b.server(http.StatusOK, "POST", "/api/v2/users", `{"users":{"bob":{"name":"Robert"}}}`).body["users"].(map[string]any)["bob"].(map[string]any)
	if after["name"] != "Robert" || after["created_at"] != before["created_at"] || after["updated_at"] == before["updated_at"] {
		t.Errorf("before %v, after %v", before, after)
	}
	for _, bad := range []string{`{}`, `{"users":{}}`, `{"users":{"a b":{}}}`, `{"users":{"a":{"id":"b"}}}`, `{"users":{"a":{"role":"no way"}}}`, `{"users":[]}`} {
		b.server(http.StatusBadRequest, "POST", "/api/v2/users", bad)
	}
}
