package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"stillwatch/internal/auth"
	"stillwatch/internal/db"
	"stillwatch/recording/permission"
)

const (
	ownURL    = "/permissions"
	domainURL = "/permissions/domain/"
)

func recordingOf(a answer) string { return strings.TrimSpace(string(mustRaw(a.body["recording"]))) }

func mustRaw(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}

func permissionJSON(typ, profile string) string {
	return fmt.Sprintf(`{"recording":{"recordingType":%q,"recordingProfile":%q}}`, typ, profile)
}

func TestOwnRecordingPermissions(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	bob := b.user("bob", "")
	b.want(http.StatusNotFound, b.do(bob, "GET", ownURL, nil)) // none by default
	b.want(http.StatusNotFound, b.do(bob, "PATCH", ownURL, `{"recording":{"recordingType":"all"}}`))
	a := b.want(http.StatusOK, b.do(bob, "PUT", ownURL, permissionJSON("all", "always")))
	const want = `{"recordingProfile":"always","recordingType":"all"}`
	if recordingOf(a) != want {
		t.Errorf("set: %s", a.raw)
	}
	if a := b.want(http.StatusOK, b.do(bob, "GET", ownURL, nil)); recordingOf(a) != want {
		t.Errorf("read: %s", a.raw)
	}
	for patch, want := range map[string]string{
		`{"recording":{"recordingType":"video"}}`: "video", `{"recording":{"recordingType":"audio"}}`: "audio", `{"recording":{}}`: "",
	} {
		a := b.want(http.StatusOK, b.do(bob, "PATCH", ownURL, patch))
		if !strings.Contains(recordingOf(a), `"always"`) || !strings.Contains(recordingOf(a), want) {
			t.Errorf("%s: %s", patch, a.raw)
		}
	}
	// All pairs, the contradictory ones too, and nothing else.
	for _, typ := range []string{"all", "video", "audio", "none"} {
		for _, profile := range []string{"always", "optional", "skip"} {
			b.want(http.StatusOK, b.do(bob, "PUT", ownURL, permissionJSON(typ, profile)))
		}
	}
	for _, wrong := range []string{
		permissionJSON("both", "always"), permissionJSON("all", "never"), permissionJSON("", "always"), `{}`, ``,
		`{"recording":{"recordingType":"all"}}`, `{"recording":{"recordingType":["all","video"],"recordingProfile":"always"}}`,
	} {
		b.want(http.StatusBadRequest, b.do(bob, "PUT", ownURL, wrong))
	}
	b.want(http.StatusBadRequest, b.do(bob, "PATCH", ownURL, `{"recording":{"recordingProfile":"never"}}`))
	if a := b.want(http.StatusOK, b.do(bob, "GET", ownURL, nil)); recordingOf(a) != `{"recordingProfile":"skip","recordingType":"none"}` {
		t.Errorf("what was refused left its mark: %s", a.raw)
	}

	// Only one's own; the backend names whose.
	eve := b.user("eve", auth.RoleAdmin)
	for _, method := range []string{"GET", "PUT", "PATCH"} {
		b.want(http.StatusForbidden, b.do(eve, method, ownURL+"?user_id=bob", permissionJSON("all", "always")))
	}
	b.want(http.StatusOK, b.do(bob, "GET", ownURL+"?user_id=bob", nil))
	b.server(http.StatusOK, "GET", ownURL+"?user_id=bob", nil)
	b.server(http.StatusOK, "PUT", ownURL+"?user_id=zoe", permissionJSON("all", "skip"))
	b.server(http.StatusBadRequest, "GET", ownURL, nil)
	b.want(http.StatusForbidden, b.do(b.user("bob", "", "default:abc"), "PUT", ownURL, permissionJSON("all", "skip")))
	if b.audits("recording_permissions.set") != 17 {
		t.Errorf("%d audit rows", b.audits("recording_permissions.set"))
	}
}

func TestDomainRecordingPermissions(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.server(http.StatusOK, "POST", "/api/v2/users", `{"users":{
		"dora":{"id":"dora","role":"domain_admin","teams":["red"]},"ada":{"id":"ada","role":"admin","teams":["red"]},
		"dino":{"id":"dino","role":"domain_admin","teams":["blue"]},"ann":{"id":"ann","role":"admin"},
		"bob":{"id":"bob","teams":["red"]},"mo":{"id":"mo","role":"moderator","teams":["red"]}}}`)
	for _, method := range []string{"GET", "PUT", "PATCH"} {
		for user, may := range map[string]bool{"dora": true, "ada": true, "dino": false, "ann": false, "bob": false, "mo": false, "nobody": false} {
			a := b.do(b.user(user, ""), method, domainURL+"red", permissionJSON("video", "optional"))
			if (a.status != http.StatusForbidden) != may {
				t.Errorf("%s by %s: %d %s", method, user, a.status, a.raw)
			}
		}
		b.want(http.StatusForbidden, b.do(b.user("dora", "", "default:abc"), method, domainURL+"red", permissionJSON("video", "optional")))
	}
	a := b.server(http.StatusOK, "GET", domainURL+"red", nil)
	if recordingOf(a) != `{"recordingProfile":"optional","recordingType":"video"}` {
		t.Errorf("read: %s", a.raw)
	}
	a = b.want(http.StatusOK, b.do(b.user("dora", ""), "PATCH", domainURL+"red", `{"recording":{"recordingProfile":"skip"}}`))
	if recordingOf(a) != `{"recordingProfile":"skip","recordingType":"video"}` {
		t.Errorf("changed: %s", a.raw)
	}
	b.server(http.StatusNotFound, "GET", domainURL+"blue", nil)
	b.want(http.StatusBadRequest, b.do(b.user("dora", ""), "PUT", domainURL+"red", permissionJSON("most", "skip")))
	b.want(http.StatusNotFound, b.do(b.user("bob", ""), "GET", ownURL, nil)) // a domain is no user
}

// decided makes a call and returns what was decided for it.
func (b *bench) decided(token, id, request string) db.RecordingDecision {
	b.t.Helper()
	b.want(http.StatusCreated, b.do(token, "POST", videoPrefix+"/call/default/"+id, request))
	call, err := b.call(b.t.Context(), "default:"+id)
	if err != nil {
		b.t.Fatal(err)
	}
	return call.RecordingDecision.V
}

// TestTheCallerDecides: who starts the call, and their domain; nobody else.
func TestTheCallerDecides(t *testing.T) {
	t.Parallel()
	callerDecides(t, newBench(t, func(c *Config) { c.Recording = permission.System{Record: permission.Audio} }))
}

func callerDecides(t *testing.T, b *bench) {
	t.Helper()
	b.server(http.StatusOK, "POST", "/api/v2/users", `{"users":{
		"alice":{"id":"alice","teams":["red"]},"bob":{"id":"bob","teams":["red"]},"carl":{"id":"carl","teams":["none","blue","red"]},
		"dan":{"id":"dan","teams":["none"]}}}`)
	b.server(http.StatusOK, "PUT", domainURL+"red", permissionJSON("none", "skip"))
	b.server(http.StatusOK, "PUT", domainURL+"blue", permissionJSON("video", "optional"))
	b.server(http.StatusOK, "PUT", ownURL+"?user_id=alice", permissionJSON("all", "always"))
	b.server(http.StatusOK, "PUT", ownURL+"?user_id=skipper", permissionJSON("all", "skip"))
	with := func(record bool, members ...string) string {
		list := []map[string]string{}
		for _, m := range members {
			list = append(list, map[string]string{"user_id": m})
		}
		return string(mustRaw(map[string]any{"data": map[string]any{"record": record, "members": list}}))
	}
	type decision = db.RecordingDecision
	for i, c := range []struct {
		caller, request string
		want            decision
	}{
		// The example: Alice's calls are recorded, those of the others in her domain are not.
		{"alice", with(false), decision{Record: true, Type: "all", Source: "user", Mandatory: true}},
		{"bob", with(true), decision{Type: "none", Source: "domain", Denied: true}},
		// Who is called does not count.
		{"alice", with(false, "skipper", "bob"), decision{Record: true, Type: "all", Source: "user", Mandatory: true}},
		{"skipper", with(true, "alice"), decision{Type: "none", Source: "user", Denied: true}},
		// The first of the caller's domains that has permissions; there the caller chooses.
		{"carl", with(true), decision{Record: true, Type: "video", Source: "domain"}},
		{"carl", with(false), decision{Type: "none", Source: "domain"}},
		// Without any, the system.
		{"dan", with(false), decision{Record: true, Type: "audio", Source: "system"}},
		{"stranger", `{}`, decision{Record: true, Type: "audio", Source: "system"}},
	} {
		if got := b.decided(b.user(c.caller, ""), fmt.Sprint("c", i), c.request); got != c.want {
			t.Errorf("%s with %s: %+v, want %+v", c.caller, c.request, got, c.want)
		}
	}
	if got := b.decided(b.auth.ServerToken(), "backend", `{"data":{"created_by_id":"alice"}}`); !got.Mandatory {
		t.Errorf("the backend on Alice's behalf: %+v", got)
	}
	// Joining by media makes calls as well.
	g := Gatekeeper{DB: b.db, Now: b.now.Now, Recording: permission.System{Record: permission.Video}}
	for user, want := range map[string]decision{
		"alice": {Record: true, Type: "all", Source: "user", Mandatory: true}, "nobody": {Record: true, Type: "video", Source: "system"},
	} {
		if err := g.Admit(t.Context(), "default", "by-"+user, user, "user"); err != nil {
			t.Fatal(err)
		}
		if call, err := b.call(t.Context(), "default:by-"+user); err != nil || call.RecordingDecision.V != want {
			t.Errorf("%s by media: %+v, want %+v (%v)", user, call.RecordingDecision.V, want, err)
		}
	}
	// It stands from then on.
	b.server(http.StatusOK, "PUT", ownURL+"?user_id=alice", permissionJSON("all", "skip"))
	if call, err := b.call(t.Context(), "default:c0"); err != nil || !call.RecordingDecision.V.Mandatory {
		t.Errorf("a later change reached a call that exists: %+v, %v", call.RecordingDecision.V, err)
	}
}

func TestModerationEvidenceIsASetting(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	mode := func(a answer) any {
		return a.body["settings"].(map[string]any)["moderation_evidence"].(map[string]any)["mode"]
	}
	if got := mode(b.server(http.StatusOK, "GET", typesURL+"/default", nil)); got != "disabled" {
		t.Errorf("by default %v, want disabled", got)
	}
	a := b.server(http.StatusOK, "PUT", typesURL+"/default", `{"settings":{"moderation_evidence":{"mode":"on-flag"}}}`)
	if got := mode(a); got != "on-flag" {
		t.Errorf("set to %v", got)
	}
	b.server(http.StatusBadRequest, "PUT", typesURL+"/default", `{"settings":{"moderation_evidence":{"mode":"always"}}}`)
}
