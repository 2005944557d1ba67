package db

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"stillwatch/internal/testkit"
)

func testBanned(t *testing.T, d *DB) {
	now := testkit.NewClock().Now()
	ban := func(user, cid string, change func(*BanRow)) *BanRow {
		b := &BanRow{ID: user + cid, UserID: user, CID: cid, ByUserID: "system", CreatedAt: At(now)}
		if change != nil {
			change(b)
		}
		return b
	}
	insert(t, d,
		ban("everywhere", "", nil),
		ban("here", "default:a", nil),
		ban("until later", "", func(b *BanRow) { b.ExpiresAt = At(now.Add(1)) }),
		ban("until now", "", func(b *BanRow) { b.ExpiresAt = At(now) }),
		ban("lifted", "", func(b *BanRow) { b.LiftedAt = At(now.Add(-1)) }),
		ban("shadow", "", func(b *BanRow) { b.Shadow = true }),
		&CallRow{CID: "default:a", Type: "default", ID: "a", BlockedUserIDs: JSON[[]string]{[]string{"blocked"}}, CreatedAt: At(now), UpdatedAt: At(now)},
	)
	for _, c := range []struct {
		user, cid string
		want      bool
		reason    string
	}{
		{"everywhere", "default:a", true, ""},
		{"everywhere", "default:b", true, ""},
		{"everywhere", "", true, ""},
		{"here", "default:a", true, ""},
		{"here", "default:b", false, ""},
		{"here", "", false, ""},
		{"until later", "default:a", true, ""},
		{"until now", "default:a", false, ""},
		{"lifted", "default:a", false, ""},
		{"shadow", "default:a", false, ""},
		{"nobody", "default:a", false, ""},
		{"blocked", "default:a", true, ReasonBlocked},
		{"blocked", "default:b", false, ""},
		{"blocked", "", false, ""},
	} {
		row, got, err := d.Banned(t.Context(), c.user, c.cid, now)
		if err != nil || got != c.want || row.Reason != c.reason || got && row.UserID != c.user {
			t.Errorf("%s in %q: %t %+v %v, want %t", c.user, c.cid, got, row, err, c.want)
		}
	}
}

func testBannedEverywhere(t *testing.T, d *DB) {
	now := time.Now()
	insert(t, d,
		&BanRow{ID: "1", UserID: "u", CID: "default:a", ByUserID: "m", CreatedAt: At(now)},
		&BanRow{ID: "2", UserID: "u", ByUserID: "m", CreatedAt: At(now)})
	row, _, err := d.Banned(t.Context(), "u", "default:a", now)
	if err != nil || row.CID != "" {
		t.Errorf("the wider ban is not the one told: %+v %v", row, err)
	}
}

// userFields are the fields that public events must show.
var userFields = []string{
	"banned", "blocked_user_ids", "created_at", "id", "image", "invisible", "language",
	"last_active", "name", "online", "role", "shadow_banned", "teams", "updated_at",
}

func testUser(t *testing.T, d *DB) {
	at := time.Date(2026, 1, 5, 10, 2, 2, 412345678, time.UTC)
	insert(t, d, &UserRow{
		ID: "bob", Name: "Bob", Image: "https://x/b.png", Role: "admin", Language: "en",
		Teams: JSON[[]string]{[]string{"red"}}, BlockedUserIDs: JSON[[]string]{[]string{"eve"}},
		Invisible: true, Online: true, LastActive: At(at), CreatedAt: At(at), UpdatedAt: At(at),
	})
	u, err := d.User(t.Context(), "bob")
	if err != nil {
		t.Fatal(err)
	}
	got, _ := json.Marshal(u)
	const want = `{"id":"bob","name":"Bob","image":"https://x/b.png","role":"admin","language":"en","teams":["red"],` +
		`"blocked_user_ids":["eve"],"banned":false,"shadow_banned":false,"invisible":true,"online":true,` +
		`"last_active":"2026-01-05T10:02:02.412345678Z","created_at":"2026-01-05T10:02:02.412345678Z",` +
		`"updated_at":"2026-01-05T10:02:02.412345678Z"}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func testUserUnknown(t *testing.T, d *DB) {
	u, err := d.User(t.Context(), "ghost")
	if err != nil || u.ID != "ghost" || u.Role != RoleUser {
		t.Fatalf("got %+v, %v", u, err)
	}
	raw, _ := json.Marshal(u)
	var m map[string]any
	_ = json.Unmarshal(raw, &m)
	for _, field := range userFields {
		if v, ok := m[field]; !ok || v == nil {
			t.Errorf("%s is missing or null in %s", field, raw)
		}
	}
}

func testUserBanned(t *testing.T, d *DB) {
	now := At(time.Now())
	insert(t, d,
		&BanRow{ID: "1", UserID: "all", ByUserID: "m", CreatedAt: now},
		&BanRow{ID: "2", UserID: "call", CID: "default:a", ByUserID: "m", CreatedAt: now},
		&BanRow{ID: "3", UserID: "shadow", Shadow: true, ByUserID: "m", CreatedAt: now})
	for _, c := range []struct {
		id, cid        string
		banned, shadow bool
	}{
		{"all", "", true, false},
		{"all", "default:b", true, false},
		{"call", "", false, false},
		{"call", "default:a", true, false},
		{"call", "default:b", false, false},
		{"shadow", "", false, true},
	} {
		u, err := d.UserIn(t.Context(), c.id, c.cid)
		if err != nil || u.Banned != c.banned || u.ShadowBanned != c.shadow {
			t.Errorf("%s in %q: banned %t shadow %t, %v", c.id, c.cid, u.Banned, u.ShadowBanned, err)
		}
	}
	if users, err := d.UsersIn(t.Context(), ""); err != nil || len(users) != 0 {
		t.Errorf("nobody asked for gives %v, %v", users, err)
	}
}

func testSawUser(t *testing.T, d *DB) {
	clock := testkit.NewClock()
	ctx := context.Background()
	if err := d.SawUser(ctx, "bob", true, clock.Now()); err != nil {
		t.Fatal(err)
	}
	made := clock.Now()
	clock.Advance(time.Minute)
	if err := d.SawUser(ctx, "bob", false, clock.Now()); err != nil {
		t.Fatal(err)
	}
	u, err := d.User(ctx, "bob")
	if err != nil || u.Role != RoleUser || u.Online || !u.CreatedAt.Equal(made) || !u.LastActive.Equal(clock.Now()) {
		t.Errorf("got %+v, %v", u, err)
	}
}

func testCallBody(t *testing.T, d *DB) {
	at := At(time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC))
	d.PublicURL = "https://host"
	insert(t, d,
		&CallRow{
			CID: "default:a b", Type: "default", ID: "a b", CreatedByID: "alice", Settings: JSON[json.RawMessage]{json.RawMessage(`{"x":1}`)},
			Custom: JSON[map[string]any]{map[string]any{"room": "7"}}, CurrentSessionID: "s1", FrameEgressID: "e1",
			BlockedUserIDs: JSON[[]string]{[]string{"eve"}}, CreatedAt: at, UpdatedAt: at,
		},
		&SessionRow{ID: "s1", CID: "default:a b", StartedAt: at},
		&ParticipantRow{UserSessionID: "us1", SessionID: "s1", CID: "default:a b", UserID: "bob", Role: "user", JoinedAt: at},
		&ParticipantRow{UserSessionID: "us2", SessionID: "s1", CID: "default:a b", UserID: "gone", Role: "user", JoinedAt: at, LeftAt: at},
		&UserRow{ID: "alice", Name: "Alice", Role: "user", CreatedAt: at, UpdatedAt: at})
	raw, err := d.CallBody(t.Context(), "default:a b")
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		CID              string
		CurrentSessionID string                 `json:"current_session_id"`
		CreatedBy        struct{ Name string }  `json:"created_by"`
		Settings         map[string]any         `json:"settings"`
		Ingress          struct{ WHIP address } `json:"ingress"`
		BlockedUserIDs   []string               `json:"blocked_user_ids"`
		Egress           struct {
			FrameRecording *statusBody `json:"frame_recording"`
		}
		Session struct {
			ID           string
			Participants []struct{ User struct{ ID string } }
			CountByRole  map[string]int `json:"participants_count_by_role"`
		}
	}
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	if got.CID != "default:a b" || got.CurrentSessionID != "s1" || got.CreatedBy.Name != "Alice" || got.Settings["x"] != 1.0 ||
		got.Ingress.WHIP.Address != "https://host/whip/default/a%20b" || !slices.Equal(got.BlockedUserIDs, []string{"eve"}) ||
		got.Egress.FrameRecording == nil || got.Egress.FrameRecording.Status != "running" || got.Session.ID != "s1" ||
		len(got.Session.Participants) != 1 || got.Session.Participants[0].User.ID != "bob" || got.Session.CountByRole["user"] != 1 {
		t.Errorf("got %s", raw)
	}
	if _, err := d.CallBody(t.Context(), "default:none"); !IsNotFound(err) {
		t.Errorf("a call that is not there: %v", err)
	}
}

func testCallBodyBare(t *testing.T, d *DB) {
	at := At(time.Now())
	insert(t, d, &CallRow{CID: "default:x", Type: "default", ID: "x", CreatedAt: at, UpdatedAt: at})
	raw, err := d.CallBody(t.Context(), "default:x")
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"custom", "blocked_user_ids", "ingress", "egress", "created_by", "settings"} {
		if m[field] == nil {
			t.Errorf("%s is missing or null in %s", field, raw)
		}
	}
	if rec := m["egress"].(map[string]any)["frame_recording"]; rec != nil {
		t.Errorf("frame recording runs: %v", rec)
	}
}

func testEnsureCallType(t *testing.T, d *DB) {
	row := CallTypeRow{Name: "default", Settings: JSON[json.RawMessage]{json.RawMessage(`{"a":1}`)}}
	if made, err := d.EnsureCallType(t.Context(), row); !made || err != nil {
		t.Fatalf("first: %t %v", made, err)
	}
	row.Settings.V = json.RawMessage(`{"a":2}`)
	if made, err := d.EnsureCallType(t.Context(), row); made || err != nil {
		t.Fatalf("second: %t %v", made, err)
	}
	var got CallTypeRow
	if err := d.NewSelect().Model(&got).Scan(t.Context()); err != nil || string(got.Settings.V) != `{"a":1}` || got.CreatedAt.IsZero() {
		t.Errorf("got %+v, %v", got, err)
	}
}
