package node

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"stillwatch/capture/call"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

func TestAMuteThatHoldsOutlivesTheNode(t *testing.T) {
	t.Parallel()
	r := newRig(t, "available")
	end := time.Now().Add(time.Hour).Truncate(time.Second)
	for i, a := range []struct {
		user, state string
		kind        event.ActionKind
		until       time.Time
	}{
		{"eve", db.ActionStateConfirmed, event.ActionMute, end},
		{"ann", db.ActionStateConfirmed, event.ActionMute, time.Now().Add(-time.Minute)}, // over
		{"ann", db.ActionStateConfirmed, event.ActionMute, time.Time{}},                  // of tracks that are gone
		{"ann", db.ActionStateFailed, event.ActionMute, end},
		{"ann", db.ActionStateConfirmed, event.ActionBan, end},
		{"zoe", db.ActionStateSent, event.ActionMute, end.Add(time.Hour)},
	} {
		req := event.ActionRequested{Kind: a.kind, CID: "default:a", UserID: a.user, Tracks: []event.TrackType{event.TrackVideo}, ExpiresAt: a.until}
		payload, err := json.Marshal(req)
		if err != nil {
			t.Fatal(err)
		}
		row := &db.ActionRow{ID: fmt.Sprint("a", i), Kind: string(a.kind), CID: "default:a", UserID: a.user, State: a.state, RequestedAt: db.At(time.Now())}
		row.Payload.V = payload
		if _, err := r.db.NewInsert().Model(row).Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r.node.SessionStarted(session())
	for i, user := range []string{"ann", "eve", "zoe"} {
		r.node.ParticipantJoined(call.Participant{Session: session(), UserID: user, UserSessionID: fmt.Sprint("us", i), JoinedAt: time.Now()})
	}
	muted := func(user string, until time.Time) string {
		return fmt.Sprintf("mute default:a %s [TRACK_TYPE_VIDEO] %v", user, until.Unix())
	}
	last := muted("zoe", end.Add(time.Hour))
	testkit.Eventually(t, 20*time.Second, func() bool { return r.calls.saw(last) })
	r.calls.mu.Lock()
	defer r.calls.mu.Unlock()
	mutes := slices.DeleteFunc(slices.Clone(r.calls.done), func(s string) bool { return !strings.HasPrefix(s, "mute ") })
	if want := []string{muted("eve", end), last}; !slices.Equal(mutes, want) {
		t.Errorf("muted %q, want %q", mutes, want)
	}
}
