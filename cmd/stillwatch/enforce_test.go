package main

import (
	"net/http"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

// TestMuteAndEndCall goes through the API to the media and back: a muted
// camera is not looked at, which stands in the ledger; a new track is; and the
// end of a call puts everybody out. Programs under test run one at a time.
func TestMuteAndEndCall(t *testing.T) {
	r := startRig(t)
	const call = "/api/v2/video/call/default/stage"
	ann := r.mustJoin("default:stage", "ann", clip(t, "neutral", event.VP8))
	bob := r.mustJoin("default:stage", "bob", clip(t, "neutral", event.VP8))
	frames := func(user string) int { return r.count(t, (*db.FrameRow)(nil), "user_id = ?", user) }
	testkit.Eventually(t, 20*time.Second, func() bool { return frames("ann") > 0 }, "a frame of ann")

	if code := r.api("POST", call+"/mute_users", `{"user_ids":["ann"],"video":true,"muted_by_id":"mo"}`, nil); code != http.StatusOK {
		t.Fatalf("mute: %d", code)
	}
	r.confirmed(t, event.ActionMute)
	testkit.Eventually(t, 20*time.Second, func() bool {
		return r.count(t, (*db.GapRow)(nil), "user_id = 'ann' AND reason = ?", string(event.GapMuted)) > 0
	}, "the muted camera is a gap")
	testkit.Eventually(t, 10*time.Second, func() bool { return len(r.hook.of(event.CallUserMuted)) == 1 }, event.CallUserMuted)
	before, others := frames("ann"), frames("bob")
	testkit.Eventually(t, 20*time.Second, func() bool { return frames("bob") > others+1 }, "bob is still looked at")
	if n := frames("ann"); n != before {
		t.Errorf("%d frames of a muted camera", n-before)
	}
	if err := ann.Close(); err != nil {
		t.Error(err)
	}
	again := r.mustJoin("default:stage", "ann", clip(t, "neutral", event.VP8))
	testkit.Eventually(t, 20*time.Second, func() bool { return frames("ann") > before }, "ann's new track is looked at")

	if code := r.api("POST", call+"/mark_ended", "", nil); code != http.StatusOK {
		t.Fatalf("end: %d", code)
	}
	r.confirmed(t, event.ActionEndCall)
	for name, gone := range map[string]<-chan struct{}{"ann": again.Gone(), "bob": bob.Gone()} {
		select {
		case <-gone:
		case <-time.After(20 * time.Second):
			t.Errorf("%s is still in the call that was ended", name)
		}
	}
	testkit.Eventually(t, 10*time.Second, func() bool { return len(r.hook.of(event.CallEnded)) == 1 }, event.CallEnded)
}

func (r *rig) count(t *testing.T, model any, where string, arg any) int {
	t.Helper()
	n, err := r.db.NewSelect().Model(model).Where(where, arg).Count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

// confirmed waits until an action of the kind is.
func (r *rig) confirmed(t *testing.T, kind event.ActionKind) {
	t.Helper()
	testkit.Eventually(t, 10*time.Second, func() bool {
		return r.count(t, (*db.ActionRow)(nil), "state = 'confirmed' AND kind = ?", string(kind)) == 1
	}, string(kind)+" is confirmed")
}
