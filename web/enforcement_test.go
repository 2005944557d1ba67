package web

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"stillwatch/internal/auth"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
	"stillwatch/recording/permission"
)

func body[T any](t *testing.T, ev event.Envelope) (out T) {
	t.Helper()
	if err := ev.Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

func (b *bench) audits(verb string) int {
	b.t.Helper()
	n, err := b.db.NewSelect().Model((*db.AuditRow)(nil)).Where("verb = ?", verb).Count(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return int(n)
}

func TestBlockingIsTold(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice"}}`)
	mo := b.user("mo", auth.RoleModerator)
	for range 2 { // the second time of each changes nothing
		b.want(http.StatusOK, b.do(mo, "POST", callURL+"/block", `{"user_id":"bob"}`))
	}
	for range 2 {
		b.want(http.StatusOK, b.do(mo, "POST", callURL+"/unblock", `{"user_id":"bob"}`))
	}
	evs := b.sent(event.TopicPublic)[1:] // without call.created
	if got := types(evs); got != "call.blocked_user call.unblocked_user" {
		t.Fatalf("public events %q", got)
	}
	if e := body[event.BlockedUser](t, evs[0]); e.CallCID != "default:abc" || e.User.ID != "bob" || e.BlockedByUser.ID != "mo" {
		t.Errorf("blocked: %+v", e)
	}
	if e := body[event.UnblockedUser](t, evs[1]); e.CallCID != "default:abc" || e.User.ID != "bob" {
		t.Errorf("unblocked: %+v", e)
	}
	if b.audits("call.block") != 1 || b.audits("call.unblock") != 1 {
		t.Error("blocking is not in the audit once")
	}
	b.server(http.StatusBadRequest, "POST", callURL+"/block", nil)
	b.server(http.StatusNotFound, "POST", videoPrefix+"/call/default/zzz/block", `{"user_id":"bob"}`)
}

func TestMuteUsers(t *testing.T) {
	t.Parallel()
	muteUsers(t, newBench(t))
}

func muteUsers(t *testing.T, b *bench) {
	t.Helper()
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice","members":[{"user_id":"hanna","role":"host"}]}}`)
	muteURL := callURL + "/mute_users"
	hanna := b.user("hanna", "")

	b.want(http.StatusOK, b.do(hanna, "POST", muteURL, `{"user_ids":["bob","eve","bob"],"audio":true,"screenshare_audio":true}`))
	want := order{"mute", "bob eve", "default:abc", "hanna", "[TRACK_TYPE_AUDIO TRACK_TYPE_SCREEN_SHARE_AUDIO]", 0}
	if got := b.actions.last(t); got != want {
		t.Errorf("ordered %+v, want %+v", got, want)
	}
	b.server(http.StatusOK, "POST", muteURL, `{"user_ids":["bob"],"video":true,"screenshare":true,"muted_by_id":"mo"}`)
	want = order{"mute", "bob", "default:abc", "mo", "[TRACK_TYPE_VIDEO TRACK_TYPE_SCREEN_SHARE]", 0}
	if got := b.actions.last(t); got != want {
		t.Errorf("ordered %+v, want %+v", got, want)
	}

	// Everybody: those who are in the session now, but for who asks.
	n := b.actions.count()
	b.want(http.StatusOK, b.do(hanna, "POST", muteURL, `{"mute_all_users":true,"audio":true}`))
	if b.actions.count() != n {
		t.Error("an order without a session")
	}
	if _, err := b.db.NewUpdate().Model((*db.CallRow)(nil)).Set("current_session_id = 's2'").Where("cid = 'default:abc'").Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, p := range []db.ParticipantRow{
		{SessionID: "s2", UserID: "hanna"},
		{SessionID: "s2", UserID: "bob"},
		{SessionID: "s2", UserID: "bob"},
		{SessionID: "s2", UserID: "left", LeftAt: db.At(b.now.Now())},
		{SessionID: "s1", UserID: "before"},
		{SessionID: "s2", UserID: "zoe"},
	} {
		p.UserSessionID, p.CID, p.JoinedAt = fmt.Sprint("u", i), "default:abc", db.At(b.now.Now())
		b.insert(&p)
	}
	b.want(http.StatusOK, b.do(hanna, "POST", muteURL, `{"mute_all_users":true,"audio":true}`))
	if got := b.actions.last(t); got.userID != "bob zoe" {
		t.Errorf("muted %q, want bob and zoe", got.userID)
	}
	if b.audits("call.mute") != 3 {
		t.Errorf("%d audit rows", b.audits("call.mute"))
	}

	for _, wrong := range []string{`{}`, `{"user_ids":["bob"]}`, `{"audio":true}`, `{"user_ids":["a/b"],"audio":true}`, `{"user_ids":"bob","audio":true}`} {
		b.server(http.StatusBadRequest, "POST", muteURL, wrong)
	}
	b.want(http.StatusForbidden, b.do(b.user("bob", ""), "POST", muteURL, `{"user_ids":["eve"],"audio":true}`))
}

func TestUserPermissions(t *testing.T) {
	t.Parallel()
	userPermissions(t, newBench(t))
}

func userPermissions(t *testing.T, b *bench) {
	t.Helper()
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice","members":[{"user_id":"hanna","role":"host"}]}}`)
	b.server(http.StatusOK, "POST", "/api/v2/users", `{"users":{"mo":{"id":"mo","role":"moderator"}}}`)
	url, hanna := callURL+"/user_permissions", b.user("hanna", "")
	change := func(token string, status int, user, grant, revoke string) answer {
		t.Helper()
		return b.want(status, b.do(token, "POST", url, map[string]any{
			"user_id": user, "grant_permissions": strings.Fields(grant), "revoke_permissions": strings.Fields(revoke),
		}))
	}
	has := func(user string, want ...string) {
		t.Helper()
		a := b.want(http.StatusOK, b.do(b.user(user, ""), "GET", callURL, nil))
		got := []string{}
		for _, c := range a.body["own_capabilities"].([]any) {
			got = append(got, c.(string))
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s has %v, want %v", user, got, want)
		}
	}
	change(hanna, http.StatusOK, "bob", "MuteUsers start-frame-record-call", "")
	has("bob", CapMute, CapStartFrames)
	evs := b.sent(event.TopicPublic)[1:] // without call.created
	if got := types(evs); got != event.CallPermissionsUpdated {
		t.Fatalf("public events %q", got)
	}
	e := body[event.PermissionsUpdated](t, evs[0])
	if e.User.ID != "bob" || e.CallCID != "default:abc" || !slices.Equal(e.OwnCapabilities, []string{CapMute, CapStartFrames}) {
		t.Errorf("told %+v", e)
	}
	change(hanna, http.StatusOK, "bob", "MuteUsers KickUser", "mute-users") // to revoke wins
	has("bob", CapKick, CapStartFrames)
	change(b.auth.ServerToken(), http.StatusOK, "mo", "", "BlockUser")
	change(hanna, http.StatusOK, "mo", "", "BlockUser kick-user") // takes nothing from a moderator
	has("mo", CapEndCall, CapKick, CapMute, CapStartFrames, CapStopFrames)
	b.want(http.StatusForbidden, b.do(b.user("mo", ""), "POST", callURL+"/block", `{"user_id":"zoe"}`))
	change(b.auth.ServerToken(), http.StatusOK, "mo", "block-users", "") // the last word counts
	b.want(http.StatusOK, b.do(b.user("mo", ""), "POST", callURL+"/block", `{"user_id":"zoe"}`))

	// Nobody gives what they do not have.
	change(hanna, http.StatusForbidden, "hanna", "start-record-call", "")
	change(b.user("ada", auth.RoleAdmin), http.StatusOK, "bob", "start-record-call", "")
	change(b.user("mo", ""), http.StatusForbidden, "mo", "update-call-permissions", "")
	a := change(hanna, http.StatusBadRequest, "bob", "fly", "")
	if f := fmt.Sprint(a.body["exception_fields"]); !strings.Contains(f, "grant_permissions[0]") {
		t.Errorf("exception_fields %s", f)
	}
	before := len(b.sent(event.TopicPublic))
	change(hanna, http.StatusOK, "bob", "", "")
	if len(b.sent(event.TopicPublic)) != before {
		t.Error("no change was told")
	}
	if b.audits("call.permissions") != 6 {
		t.Errorf("%d audit rows", b.audits("call.permissions"))
	}
	// A grant is for the one call.
	b.server(http.StatusCreated, "POST", videoPrefix+"/call/default/xyz", `{"data":{"created_by_id":"alice"}}`)
	b.want(http.StatusForbidden, b.do(b.user("bob", ""), "POST", videoPrefix+"/call/default/xyz/start_frame_recording", nil))
}

func TestPermissionsAndRolesAreListed(t *testing.T) {
	t.Parallel()
	permissionsAndRoles(t, newBench(t))
}

// TestPermissionsOnPostgreSQL: the same on the other database.
func TestPermissionsOnPostgreSQL(t *testing.T) {
	t.Parallel()
	server := testkit.Postgres(t)
	admin, err := db.Open(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close() })
	for name, test := range map[string]func(*testing.T, *bench){
		"mute": muteUsers, "grants": userPermissions, "roles": permissionsAndRoles, "recording": callerDecides,
	} {
		if _, err := admin.ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
			t.Fatal(err)
		}
		b := newBenchOn(t, strings.Replace(server, "/postgres?", "/"+name+"?", 1), func(c *Config) {
			c.Recording = permission.System{Record: permission.Audio}
		})
		test(t, b)
	}
}

func permissionsAndRoles(t *testing.T, b *bench) {
	t.Helper()
	b.server(http.StatusOK, "POST", "/api/v2/users", `{"users":{"eve":{"id":"eve","role":"painter"}}}`)
	b.server(http.StatusCreated, "POST", typesURL, `{"name":"show","grants":{"singer":[]}}`)
	listed := b.server(http.StatusOK, "GET", "/api/v2/permissions", nil).body["permissions"].([]any)
	var ids []string
	for _, p := range listed {
		m := p.(map[string]any)
		ids = append(ids, m["id"].(string))
		if canonical(m["name"].(string)) != m["id"] || canonical(m["id"].(string)) != m["id"] || m["description"] == "" {
			t.Errorf("%v: the spellings do not name the same", m)
		}
	}
	if !slices.Equal(ids, capabilities) {
		t.Errorf("listed %v, want %v", ids, capabilities)
	}
	roles := map[string]bool{}
	for _, r := range b.server(http.StatusOK, "GET", "/api/v2/roles", nil).body["roles"].([]any) {
		m := r.(map[string]any)
		roles[m["name"].(string)] = m["custom"].(bool)
	}
	for role, custom := range map[string]bool{"user": false, "moderator": false, "admin": false, "host": false, "domain_admin": false, "painter": true, "singer": true} {
		if got, ok := roles[role]; !ok || got != custom {
			t.Errorf("role %s: listed %v, custom %v", role, ok, got)
		}
	}
}

// TestAHostDoesNotDisarmModerators: what a host takes away in a call binds
// participants, not those who watch it.
func TestAHostDoesNotDisarmModerators(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice","members":[{"user_id":"hanna","role":"host"},{"user_id":"bob","role":"host"}]}}`)
	for _, id := range []string{"mo", "bob"} {
		b.want(http.StatusOK, b.do(b.user("hanna", ""), "POST", callURL+"/user_permissions",
			`{"user_id":"`+id+`","revoke_permissions":["kick-user","start-frame-record-call","stop-frame-record-call"]}`))
	}
	kick := `{"user_id":"eve"}`
	b.want(http.StatusForbidden, b.do(b.user("bob", ""), "POST", callURL+"/kick", kick))
	b.want(http.StatusForbidden, b.do(b.user("mo", ""), "POST", callURL+"/kick", kick))
	mo := b.user("mo", auth.RoleModerator)
	b.want(http.StatusOK, b.do(mo, "POST", callURL+"/kick", kick))
	b.want(http.StatusOK, b.do(mo, "POST", callURL+"/stop_frame_recording", nil))
	b.want(http.StatusOK, b.do(mo, "POST", callURL+"/start_frame_recording", nil))
}
