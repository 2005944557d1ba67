package web

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/labstack/echo/v4"

	"stillwatch/internal/auth"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// TestAccessTable holds every route of the API against every kind of caller.
func TestAccessTable(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice"}}`)
	const any, member, mod, admin, server = 0, 1, 2, 3, 4
	table := map[string]int{
		"GET " + callPrefix:                             any,
		"POST " + callPrefix:                            any,
		"POST " + callPrefix + "/start_frame_recording": mod,
		"POST " + callPrefix + "/stop_frame_recording":  mod,
		"POST " + callPrefix + "/block":                 mod,
		"POST " + callPrefix + "/unblock":               mod,
		"POST " + callPrefix + "/kick":                  mod,
		"POST " + callPrefix + "/mute_users":            mod,
		"POST " + callPrefix + "/user_permissions":      admin,
		"POST " + callPrefix + "/start_recording":       admin,
		"POST " + callPrefix + "/stop_recording":        admin,
		"GET " + callPrefix + "/recordings":             any,

		"POST " + callPrefix + "/recordings/:recording_type/start": admin,
		"POST " + callPrefix + "/recordings/:recording_type/stop":  admin,
		"DELETE " + callPrefix + "/:session/recordings/:filename":  admin,
		"GET /api/v2/permissions":                                  mod,
		"GET /api/v2/roles":                                        mod,
		"GET /api/v2/rate_limits":                                  admin,
		"GET /permissions":                                         any,
		"PUT /permissions":                                         any, // what the probe sends is no permission
		"PATCH /permissions":                                       any,
		"GET /permissions/domain/:id":                              server, // or an administrator of the domain
		"PUT /permissions/domain/:id":                              any,
		"PATCH /permissions/domain/:id":                            any,
		"GET " + videoPrefix + "/calltypes":                        admin,
		"POST " + videoPrefix + "/calltypes":                       admin,
		"GET " + videoPrefix + "/calltypes/:name":                  admin,
		"PUT " + videoPrefix + "/calltypes/:name":                  admin,
		"DELETE " + videoPrefix + "/calltypes/:name":               admin,
		"POST " + moderationPrefix + "/ban":                        mod,
		"POST " + moderationPrefix + "/unban":                      mod,
		"POST " + moderationPrefix + "/flag":                       mod,
		"POST " + moderationPrefix + "/review_queue":               mod,
		"GET " + moderationPrefix + "/review_queue/:id":            mod,
		"POST " + moderationPrefix + "/submit_action":              mod,
		"POST " + moderationPrefix + "/flags":                      mod,
		"POST " + moderationPrefix + "/logs":                       mod,
		"POST " + moderationPrefix + "/flag_count":                 mod,
		"GET " + moderationPrefix + "/queues":                      mod,
		"POST " + moderationPrefix + "/queues":                     mod,
		"GET " + moderationPrefix + "/queues/:id":                  mod,
		"PATCH " + moderationPrefix + "/queues/:id":                mod,
		"POST " + moderationPrefix + "/queues/:id/delete":          mod,
		"POST " + moderationPrefix + "/submit_moderation_feedback": mod,
		"GET /api/v2/chat/query_banned_users":                      mod,
		"POST " + moderationPrefix + "/mute":                       any, // for oneself
		"POST " + moderationPrefix + "/unmute":                     any,
		"POST " + moderationPrefix + "/appeal":                     any,
		"GET " + moderationPrefix + "/appeal/:id":                  any, // one's own, else it is not found
		"POST " + moderationPrefix + "/appeals":                    mod,
		"POST " + moderationPrefix + "/appeals/bulk_action":        mod,
		"POST " + moderationPrefix + "/moderation_rule":            admin,
		"GET " + moderationPrefix + "/moderation_rule/:id":         mod,
		"DELETE " + moderationPrefix + "/moderation_rule/:id":      admin,
		"POST " + moderationPrefix + "/moderation_rules":           mod,
		"POST " + moderationPrefix + "/config":                     admin,
		"GET " + moderationPrefix + "/config/:key":                 mod,
		"DELETE " + moderationPrefix + "/config/:key":              admin,
		"POST " + moderationPrefix + "/configs":                    mod,
		"POST " + moderationPrefix + "/custom_check":               admin,
		"POST " + moderationPrefix + "/check":                      admin,
		"POST " + moderationPrefix + "/analyze":                    admin,
		"POST /api/v2/users":                                       admin,
		"PATCH /api/v2/users":                                      admin,
		"GET /api/v2/users":                                        mod,
		"GET /api/v2/tasks/:id":                                    admin,
		"PATCH " + callPrefix:                                      admin,
		"POST " + callPrefix + "/mark_ended":                       mod,
		"POST " + callPrefix + "/members":                          admin,
		"POST " + callPrefix + "/participants":                     member,
		"POST " + callPrefix + "/event":                            admin,
		"POST " + callPrefix + "/delete":                           admin,
		"POST " + videoPrefix + "/calls":                           any,
		"POST " + videoPrefix + "/call/members":                    any,
		"GET /api/v2/app":                                          admin,
		"PATCH /api/v2/app":                                        admin,
		"POST /api/v2/check_sqs":                                   admin,
		"POST /api/v2/check_sns":                                   admin,
		"GET /api/v2/external_storage":                             admin,
		"POST /api/v2/external_storage":                            admin,
		"PUT /api/v2/external_storage/:name":                       admin,
		"DELETE /api/v2/external_storage/:name":                    admin,
		"GET /api/v2/external_storage/:name/check":                 admin,
		"GET " + ownPrefix + "hooks":                               admin,
		"POST " + ownPrefix + "hooks/:id/test":                     admin,
		"POST " + ownPrefix + "hooks/:id/secret":                   admin,
		"POST " + ownPrefix + "hooks/:id/replay":                   admin,
		"GET " + ownPrefix + "hooks/:id/deliveries":                admin,
		"GET " + ownPrefix + "deliveries/:id":                      admin,
		"GET " + ownPrefix + "recordings":                          mod,
		"GET " + ownPrefix + "recordings/:id":                      mod,
		"POST " + ownPrefix + "recordings/:id/hold":                mod,
		"POST " + ownPrefix + "recordings/:id/retry":               mod,
		"POST " + ownPrefix + "recordings/:id/release":             mod,
		"POST " + ownPrefix + "recordings/splice":                  mod,
		"POST " + ownPrefix + "recordings/trim":                    mod,
		"GET " + ownPrefix + "frames":                              mod,
		"GET " + ownPrefix + "coverage":                            mod,
		"GET " + ownPrefix + "decisions":                           mod,
		"GET " + ownPrefix + "actions":                             mod,
		"GET " + ownPrefix + "participants":                        member,
		"GET " + livePath:                                          mod,
	}
	seen := 0
	for _, route := range b.echo.Routes() {
		if !isAPI(route.Path) || strings.HasPrefix(route.Path, "/api/v2/openapi") || route.Method == echo.RouteNotFound {
			continue
		}
		need, ok := table[route.Method+" "+route.Path]
		if !ok {
			t.Errorf("%s %s is not in the table", route.Method, route.Path)
			continue
		}
		seen++
		path := strings.NewReplacer(":type", "default", ":id", "abc", ":name", "default", ":recording_type", "raw", ":session", "s1", ":filename", "a.mp4").Replace(route.Path)
		if strings.HasSuffix(path, "/delete") {
			path = strings.Replace(path, "/abc/", "/gone/", 1) // the others need the call
		}
		for _, who := range []struct {
			token string
			level int
		}{
			{b.user("bob", "user"), any}, {b.user("mo", auth.RoleModerator), mod}, {b.user("ada", auth.RoleAdmin), admin}, {b.auth.ServerToken(), server},
		} {
			refused := b.probe(who.token, route.Method, path+"?cid=default:abc")
			if want := who.level < need; refused != want {
				t.Errorf("%s %s at level %d: refused %v, want %v", route.Method, path, who.level, refused, want)
			}
		}
		if a := b.do("", route.Method, path, nil); a.status != http.StatusUnauthorized {
			t.Errorf("%s %s without a token: %d", route.Method, path, a.status)
		}
	}
	if seen != len(table) {
		t.Errorf("%d of %d routes exist", seen, len(table))
	}
}

// probe tells whether the caller is refused for who they are. The context is
// over already, so that a stream that would open ends at once.
func (b *bench) probe(token, method, target string) bool {
	ctx, cancel := context.WithCancel(b.t.Context())
	if strings.HasPrefix(target, livePath) {
		cancel()
	}
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, method, target+"&api_key=key", strings.NewReader(`{"user_id":"zoe"}`))
	r.Header.Set("Authorization", token)
	return b.send(r).status == http.StatusForbidden
}

// Who could not stop a recording cannot take their picture out of it.
func TestWhoMayNarrowARecording(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	g := Gatekeeper{DB: b.db, Now: b.now.Now}
	may := func(user, role string) bool {
		t.Helper()
		err := g.Narrow(t.Context(), "default", "abc", user, role)
		if r, refused := err.(*Refusal); err != nil && (!refused || r.Status != http.StatusForbidden) {
			t.Fatal(err)
		}
		return err == nil
	}
	if err := g.Admit(t.Context(), "default", "abc", "bob", "user"); err != nil {
		t.Fatal(err)
	}
	if may("bob", "user") || may("mo", auth.RoleModerator) || !may("ada", auth.RoleAdmin) {
		t.Error("the grants of the type do not decide")
	}
	b.server(http.StatusOK, "POST", callURL+"/user_permissions", map[string]any{"user_id": "bob", "grant_permissions": []string{"StopRecording"}})
	if !may("bob", "user") {
		t.Error("bob has the permission and may not")
	}
	decided := db.JSON[db.RecordingDecision]{V: db.RecordingDecision{Record: true, Type: "all", Source: "user", Mandatory: true}}
	if _, err := b.db.NewUpdate().Model(&db.CallRow{CID: "default:abc", RecordingDecision: decided}).Column("recording_decision").WherePK().Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	if may("bob", "user") || may("ada", auth.RoleAdmin) {
		t.Error("what is recorded in any case is narrowed")
	}
}

func TestBadTokens(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	sign := func(method jwt.SigningMethod, key any, c jwt.MapClaims) string {
		s, err := jwt.NewWithClaims(method, c).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	none := sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, jwt.MapClaims{"server": true})
	other := sign(jwt.SigningMethodHS256, []byte("another secret"), jwt.MapClaims{"server": true})
	expired := b.auth.UserToken(auth.UserClaims{UserID: "a", ExpiresAt: b.now.Now().Add(-time.Minute)})
	for name, tc := range map[string]struct {
		token, target string
		status, code  int
	}{
		"no token":    {"", "/api/v2/app", 401, CodeAuth},
		"alg none":    {none, "/api/v2/app", 401, CodeSignature},
		"wrong key":   {other, "/api/v2/app", 401, CodeSignature},
		"expired":     {expired, "/api/v2/app", 401, CodeExpired},
		"garbage":     {"x.y.z", "/api/v2/app", 401, CodeAuth},
		"api key":     {b.auth.ServerToken(), "/api/v2/app?api_key=nope", 401, CodeKey},
		"key, own":    {b.auth.ServerToken(), ownPrefix + "frames?api_key=nope", 401, CodeKey},
		"bad user id": {b.user("a/../b", ""), "/api/v2/app", 401, CodeAuth},
	} {
		a := b.do(tc.token, "GET", tc.target, nil)
		if a.status != tc.status || a.body["code"] != float64(tc.code) {
			t.Errorf("%s: %d %s", name, a.status, a.raw)
		}
	}
	r := httptest.NewRequest("GET", "/api/v2/app", nil)
	r.Header.Set("Authorization", b.auth.ServerToken())
	if a := b.send(r); a.status != 401 || a.body["code"] != float64(CodeKey) {
		t.Errorf("no API key: %d %s", a.status, a.raw)
	}
	r = httptest.NewRequest("GET", "/api/v2/app?api_key=key", nil)
	r.Header.Set("Authorization", "Bearer "+b.auth.ServerToken())
	b.want(http.StatusOK, b.send(r))
	b.want(http.StatusForbidden, b.do(b.user("mo", auth.RoleModerator, "default:abc"), "POST", "/api/v2/moderation/ban", `{"target_user_id":"bob"}`))
	golden(t, "error_expired", b.do(expired, "GET", "/api/v2/app", nil))
}

func TestRoleFromDatabase(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.server(http.StatusOK, "POST", "/api/v2/users", `{"users":{"mo":{"id":"mo","role":"moderator"}}}`)
	b.want(http.StatusOK, b.do(b.user("mo", ""), "GET", ownPrefix+"frames?cid=default:abc", nil))
	b.want(http.StatusForbidden, b.do(b.user("mo", "user"), "GET", ownPrefix+"frames?cid=default:abc", nil))
}

func TestGatekeeper(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *Config) { c.DefaultMode = ModeAutoOn })
	g := Gatekeeper{DB: b.db, Now: b.now.Now}
	ctx := t.Context()
	refused := func(err error, status int, reason string) {
		t.Helper()
		r, ok := err.(*Refusal)
		if !ok || r.Status != status || !strings.Contains(r.Reason, reason) {
			t.Errorf("got %v, want %d with %q", err, status, reason)
		}
	}
	if err := g.Admit(ctx, "default", "abc", "bob", "user"); err != nil {
		t.Fatal(err)
	}
	if got := types(b.sent(event.TopicPublic)); got != "call.created call.frame_recording_started" {
		t.Errorf("the first to join enqueued %q", got)
	}
	if err := g.Admit(ctx, "default", "abc", "carol", "user"); err != nil {
		t.Fatal(err)
	}
	call := b.server(http.StatusOK, "GET", callURL, nil).body["call"].(map[string]any)
	if by := call["created_by"].(map[string]any)["id"]; by != "bob" {
		t.Errorf("created by %v", by)
	}
	refused(g.Admit(ctx, "nope", "abc", "bob", "user"), 404, `call type "nope" does not exist`)
	refused(g.Admit(ctx, "default", "a/b", "bob", "user"), 400, "id must be")
	refused(g.Admit(ctx, "default", "abc", "", "user"), 400, "user id")
	refused(g.Watch(ctx, "default", "zzz", "bob", "user"), 404, "default:zzz")

	until := b.now.Now().Add(time.Hour)
	b.insert(&db.BanRow{ID: "b1", UserID: "bob", ByUserID: "mo", Reason: "nudity", CreatedAt: db.At(b.now.Now()), ExpiresAt: db.At(until)})
	refused(g.Admit(ctx, "default", "abc", "bob", "user"), 403, "banned until "+until.Format(time.RFC3339)+": nudity")
	refused(g.Admit(ctx, "default", "new", "bob", "user"), 403, "nudity")
	refused(g.Watch(ctx, "default", "abc", "bob", "user"), 403, "nudity")
	b.want(http.StatusForbidden, b.do(b.user("bob", ""), "POST", callURL, nil))
	if err := g.Watch(ctx, "default", "abc", "bob", auth.RoleModerator); err != nil {
		t.Errorf("a moderator may not watch: %v", err)
	}
	b.now.Advance(time.Hour)
	if err := g.Admit(ctx, "default", "abc", "bob", "user"); err != nil {
		t.Errorf("after the ban's end: %v", err)
	}
}

func TestBlockKick(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	g := Gatekeeper{DB: b.db}
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice"}}`)
	for range 2 {
		b.server(http.StatusOK, "POST", callURL+"/block", `{"user_id":"bob"}`)
	}
	if got := b.actions.last(t); got.kind != "kick" || got.userID != "bob" || b.actions.count() != 1 {
		t.Errorf("blocking kicked %+v, %d times", got, b.actions.count())
	}
	if err := g.Admit(t.Context(), "default", "abc", "bob", ""); err == nil || !strings.Contains(err.Error(), "blocked") {
		t.Errorf("a blocked user: %v", err)
	}
	call := b.server(http.StatusOK, "GET", callURL, nil).body["call"].(map[string]any)
	if ids := call["blocked_user_ids"].([]any); len(ids) != 1 || ids[0] != "bob" {
		t.Errorf("blocked_user_ids %v", ids)
	}
	b.server(http.StatusOK, "POST", callURL+"/unblock", `{"user_id":"bob"}`)
	if err := g.Admit(t.Context(), "default", "abc", "bob", ""); err != nil {
		t.Errorf("after unblock: %v", err)
	}
	b.server(http.StatusOK, "POST", callURL+"/kick", `{"user_id":"bob","kicked_by_id":"alice"}`)
	if got := b.actions.last(t); got.kind != "kick" || got.by != "alice" {
		t.Errorf("kick ordered %+v", got)
	}
	if err := g.Admit(t.Context(), "default", "abc", "bob", ""); err != nil {
		t.Errorf("a kick keeps out: %v", err)
	}
	b.server(http.StatusOK, "POST", callURL+"/kick", `{"user_id":"bob","block":true}`)
	if err := g.Admit(t.Context(), "default", "abc", "bob", ""); err == nil {
		t.Error("kick with block does not keep out")
	}
	b.server(http.StatusBadRequest, "POST", callURL+"/kick", `{}`)
	if got := types(b.sent(event.TopicPublic)); got != "call.created call.blocked_user call.unblocked_user call.blocked_user" {
		t.Errorf("public events %q", got)
	}
}

// TestTheRoleOfATokenEndsWithIt: who once came with a moderator's token is
// none with a token that names no role.
func TestTheRoleOfATokenEndsWithIt(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.want(http.StatusCreated, b.do(b.user("mo", auth.RoleModerator), "POST", callURL, nil))
	if err := (Gatekeeper{DB: b.db}).Admit(t.Context(), "default", "other", "ada", auth.RoleAdmin); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"mo", "ada"} {
		b.want(http.StatusForbidden, b.do(b.user(id, ""), "GET", ownPrefix+"frames?cid=default:abc", nil))
	}
}

// TestAShadowBanIsNotShownToUsers: not to whom it is for, and not to others;
// the backend and moderators see it.
func TestAShadowBanIsNotShownToUsers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"bob","members":[{"user_id":"bob","role":"admin"},{"user_id":"alice"}]}}`)
	b.insert(&db.BanRow{ID: "b1", UserID: "bob", ByUserID: "mo", Shadow: true, CreatedAt: db.At(b.now.Now())})
	const shown = `"shadow_banned":true`
	for _, who := range []struct {
		token string
		sees  bool
	}{
		{b.user("bob", ""), false}, {b.user("alice", ""), false}, {b.user("mo", auth.RoleModerator), true}, {b.auth.ServerToken(), true},
	} {
		for path, body := range map[string]any{callURL: nil, videoPrefix + "/call/members": `{"type":"default","id":"abc"}`} {
			if a := b.want(http.StatusOK, b.do(who.token, "POST", path, body)); strings.Contains(string(a.raw), shown) != who.sees {
				t.Errorf("sees %t: %s", who.sees, a.raw)
			}
		}
	}
	if a := b.want(http.StatusOK, b.do(b.user("alice", ""), "POST", moderationPrefix+"/mute", `{"target_ids":["bob"]}`)); strings.Contains(string(a.raw), shown) {
		t.Errorf("to who mutes: %s", a.raw)
	}
	b.want(http.StatusOK, b.do(b.user("bob", ""), "POST", callURL+"/event", `{"custom":{}}`))
	evs := b.sent(event.TopicPublic)
	if !body[event.Custom](t, evs[len(evs)-1]).User.ShadowBanned {
		t.Error("the backend is not told of the shadow ban")
	}
}
