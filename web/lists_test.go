package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

func (b *bench) frame(i int, at time.Time) *db.FrameRow {
	return &db.FrameRow{
		ID: fmt.Sprintf("frame-%02d", i), CID: "default:abc", SessionID: "s", EgressID: "e", UserID: "bob", TrackID: "t",
		TrackType: string(event.TrackVideo), Codec: "VP8", CapturedAt: db.At(at), ObjectKey: fmt.Sprintf("frames/%02d.jpg", i),
		SHA256: "00", PHash: "00", Width: 1280, Height: 720, Bytes: 9, ExpiresAt: db.At(at.Add(14 * 24 * time.Hour)),
	}
}

func raw(s string) db.JSON[json.RawMessage] { return db.JSON[json.RawMessage]{V: json.RawMessage(s)} }

func TestFrames(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	at := b.now.Now()
	for i := range 5 {
		// Two frames of one instant: the id decides their order.
		b.insert(b.frame(i, at.Add(time.Duration(i/2)*time.Second)))
	}
	deleted := b.frame(9, at)
	deleted.DeletedAt = db.At(at)
	b.insert(deleted, &db.VerdictRow{
		ID: "v", FrameID: "frame-04", CID: "default:abc", UserID: "bob", State: "known",
		Scores: raw(`[{"label":"Neutral","score":0.9}]`), Models: raw(`[]`), At: db.At(at),
	})
	var ids []string
	next := ""
	for {
		a := b.server(http.StatusOK, "GET", ownPrefix+"frames?cid=default:abc&limit=2&next="+next, nil)
		if next == "" {
			golden(t, "frames", a)
		}
		for _, f := range a.body["frames"].([]any) {
			ids = append(ids, f.(map[string]any)["id"].(string))
		}
		if next = a.body["next"].(string); next == "" {
			break
		}
	}
	if got := strings.Join(ids, " "); got != "frame-04 frame-03 frame-02 frame-01 frame-00" {
		t.Errorf("paged through %q", got)
	}
	if a := b.server(http.StatusOK, "GET", ownPrefix+"frames?user_id=nobody", nil); len(a.body["frames"].([]any)) != 0 {
		t.Errorf("%s", a.raw)
	}
	for _, bad := range []string{"", "?cid=default:abc&limit=0", "?cid=default:abc&limit=x", "?cid=default:abc&next=%21"} {
		b.server(http.StatusBadRequest, "GET", ownPrefix+"frames"+bad, nil)
	}
}

func TestListsAreCapped(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for i := range maxLimit + 5 {
		b.insert(b.frame(i, b.now.Now().Add(time.Duration(i)*time.Second)))
	}
	if a := b.server(http.StatusOK, "GET", ownPrefix+"frames?cid=default:abc&limit=100000", nil); len(a.body["frames"].([]any)) != maxLimit || a.body["next"] == "" {
		t.Errorf("%d frames, next %v", len(a.body["frames"].([]any)), a.body["next"])
	}
}

func TestCoverage(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	at := b.now.Now()
	b.insert(b.frame(0, at), b.frame(1, at.Add(time.Second)))
	for i, reason := range []event.GapReason{event.GapMuted, event.GapBlack, event.GapMuted, event.GapClassifier} {
		b.insert(&db.GapRow{
			ID: fmt.Sprintf("g%d", i), CID: "default:abc", SessionID: "s", UserID: "bob", TrackID: "t", TrackType: string(event.TrackVideo),
			Reason: string(reason), FromAt: db.At(at.Add(time.Duration(i) * time.Minute)), ToAt: db.At(at.Add(time.Duration(i+1) * time.Minute)), Due: 3,
		})
	}
	a := b.server(http.StatusOK, "GET", ownPrefix+"coverage?cid=default:abc&limit=1", nil)
	golden(t, "coverage", a)
	// 2 captured, 6 muted and 3 black missed; the 3 unclassified were captured.
	if totals := fmt.Sprint(a.body["totals"]); totals != "map[captured:2 due:11 missed:map[black:3 classifier:3 muted:6]]" {
		t.Errorf("totals %s", totals)
	}
	if a := b.server(http.StatusOK, "GET", ownPrefix+"coverage?cid=default:zzz", nil); len(a.body["gaps"].([]any)) != 0 {
		t.Errorf("%s", a.raw)
	}
	b.server(http.StatusBadRequest, "GET", ownPrefix+"coverage", nil)
}

func TestDecisions(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	at := b.now.Now()
	payload, err := json.Marshal(event.ActionRequested{ActionID: "a1", CapturedAt: at})
	if err != nil {
		t.Fatal(err)
	}
	b.insert(
		&db.DecisionRow{
			ID: "d1", CID: "default:abc", SessionID: "s", UserID: "bob", Rule: "nudity", PolicyVersion: "1", Action: "ban",
			Labels: db.JSON[[]string]{V: []string{"Porn"}}, Score: 0.98, Evidence: raw(`{}`), At: db.At(at),
		},
		&db.ActionRow{
			ID: "a1", DecisionID: "d1", Kind: "ban", CID: "default:abc", SessionID: "s", UserID: "bob", ByUserID: "system", Reason: "nudity",
			Payload: db.JSON[json.RawMessage]{V: payload}, State: db.ActionStateConfirmed, Attempts: 1, RequestedAt: db.At(at),
			ConfirmedAt: db.At(at.Add(123456 * time.Microsecond)),
		},
		&db.ActionRow{
			ID: "a2", Kind: "kick", CID: "default:abc", UserID: "eve", ByUserID: "mo", Reason: "by hand", Payload: raw(`{}`),
			State: db.ActionStateSent, RequestedAt: db.At(at.Add(time.Second)),
		},
	)
	golden(t, "decisions", b.server(http.StatusOK, "GET", ownPrefix+"decisions?cid=default:abc", nil))
	golden(t, "actions", b.server(http.StatusOK, "GET", ownPrefix+"actions", nil))
	if a := b.server(http.StatusOK, "GET", ownPrefix+"decisions?cid=default:zzz", nil); len(a.body["decisions"].([]any)) != 0 {
		t.Errorf("%s", a.raw)
	}
}

func TestParticipants(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const url = ownPrefix + "participants?cid=default:abc"
	b.server(http.StatusNotFound, "GET", url, nil)
	b.server(http.StatusCreated, "POST", callURL, `{"data":{"created_by_id":"alice"}}`)
	b.want(http.StatusForbidden, b.do(b.user("bob", ""), "GET", url, nil))
	if _, err := b.db.NewUpdate().Model((*db.CallRow)(nil)).Set("current_session_id = 's2'").Where("cid = 'default:abc'").Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	joined := db.At(b.now.Now())
	b.insert(
		&db.ParticipantRow{UserSessionID: "p1", SessionID: "s2", CID: "default:abc", UserID: "bob", Role: "user", JoinedAt: joined},
		&db.ParticipantRow{UserSessionID: "p2", SessionID: "s2", CID: "default:abc", UserID: "carol", Role: "user", JoinedAt: joined},
		&db.ParticipantRow{UserSessionID: "p3", SessionID: "s2", CID: "default:abc", UserID: "gone", Role: "user", JoinedAt: joined, LeftAt: joined},
		&db.ParticipantRow{UserSessionID: "p4", SessionID: "s1", CID: "default:abc", UserID: "earlier", Role: "user", JoinedAt: joined},
	)
	golden(t, "participants", b.want(http.StatusOK, b.do(b.user("bob", ""), "GET", url, nil)))
	b.want(http.StatusForbidden, b.do(b.user("gone", ""), "GET", url, nil))
	b.want(http.StatusForbidden, b.do(b.user("bob", "", "default:other"), "GET", url, nil))
	a := b.want(http.StatusOK, b.do(b.user("mo", "moderator"), "GET", url+"&limit=1", nil))
	b2 := b.want(http.StatusOK, b.do(b.user("mo", "moderator"), "GET", url+"&limit=1&next="+a.body["next"].(string), nil))
	if len(b2.body["participants"].([]any)) != 1 || b2.body["next"] != "" {
		t.Errorf("second page %s", b2.raw)
	}
	b.insert(&db.BanRow{ID: "b1", UserID: "bob", ByUserID: "mo", Reason: "nudity", CreatedAt: joined})
	if a := b.want(http.StatusForbidden, b.do(b.user("bob", ""), "GET", url, nil)); a.body["message"] != "banned: nudity" {
		t.Errorf("%s", a.raw)
	}
}
