package actions

import (
	"slices"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

var camera = []event.TrackType{event.TrackVideo}

func TestDeskMutes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clock := testkit.NewClock()
	d, e := NewDesk(DeskConfig{DB: w.db, Now: clock.Now}), executorOf(w, clock)
	ids, err := d.Mute(t.Context(), MuteRequest{
		UserIDs: []string{"bob", "eve"}, CID: "default:abc", ByUserID: "mod1", Reason: "noise", Tracks: camera, For: time.Minute,
	})
	w.ok(err)
	if len(ids) != 2 {
		t.Fatalf("%d actions, want one a user", len(ids))
	}
	for range 2 { // twice is once
		for _, ev := range w.outbox(event.TypeActionRequested) {
			w.ok(e.Execute(t.Context(), decoded[event.ActionRequested](t, ev)))
		}
	}
	told := w.outbox(event.CallUserMuted)
	if len(told) != 1 {
		t.Fatalf("told %d times, want once", len(told))
	}
	m := decoded[event.UserMuted](t, told[0])
	if !slices.Equal(m.MutedUserIDs, []string{"bob", "eve"}) || m.FromUserID != "mod1" || m.Reason != "noise" || m.CallCID != "default:abc" {
		t.Errorf("call.user_muted = %+v", m)
	}
	orders := w.outbox(event.TypeControl)
	if len(orders) != 2 || w.audits("mute") != 2 {
		t.Fatalf("%d orders, %d audit rows, want 2 of each", len(orders), w.audits("mute"))
	}
	c := decoded[event.Control](t, orders[0])
	if c.Kind != event.ControlMute || c.UserID != "bob" || !slices.Equal(c.Tracks, camera) || !c.Until.Equal(clock.Now().Add(time.Minute)) {
		t.Errorf("order = %+v", c)
	}
	w.ok(e.Confirm(t.Context(), event.ControlDone{ActionID: ids[0], Affected: 1}))
	if row := w.action(ids[0]); row.State != db.ActionStateConfirmed {
		t.Errorf("action = %+v", row)
	}
}

func TestMuteOfThePolicyIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e, req := executorOf(w, nil), banOf("bob")
	req.Kind, req.Tracks = event.ActionMute, camera
	w.ok(e.Execute(t.Context(), w.request(req)))
	told := w.outbox(event.CallUserMuted)
	if len(told) != 1 {
		t.Fatalf("told %d times, want once", len(told))
	}
	if m := decoded[event.UserMuted](t, told[0]); !slices.Equal(m.MutedUserIDs, []string{"bob"}) || m.FromUserID != "system" {
		t.Errorf("call.user_muted = %+v", m)
	}
	if c := decoded[event.Control](t, w.outbox(event.TypeControl)[0]); !c.Until.IsZero() {
		t.Errorf("a mute without an end has one: %+v", c)
	}
	empty := banOf("eve")
	empty.Kind = event.ActionMute
	w.ok(e.Execute(t.Context(), w.request(empty)))
	if row := w.action(empty.ActionID); row.State != db.ActionStateFailed {
		t.Errorf("a mute of nothing is %s", row.State)
	}
}

func TestDeskRefusesHalfAMute(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := NewDesk(DeskConfig{DB: w.db})
	whole := MuteRequest{UserIDs: []string{"bob"}, CID: "default:abc", ByUserID: "mod1", Tracks: camera}
	for name, half := range map[string]func(*MuteRequest){
		"call": func(r *MuteRequest) { r.CID = "" }, "users": func(r *MuteRequest) { r.UserIDs = nil },
		"tracks": func(r *MuteRequest) { r.Tracks = nil }, "duration": func(r *MuteRequest) { r.For = -1 },
		"by": func(r *MuteRequest) { r.ByUserID = "" }, "user": func(r *MuteRequest) { r.UserIDs = []string{"bob", ""} },
	} {
		r := whole
		half(&r)
		if _, err := d.Mute(t.Context(), r); err == nil {
			t.Errorf("without %s: no error", name)
		}
	}
	if n := w.rows((*db.ActionRow)(nil)) + len(w.outbox(event.CallUserMuted)); n != 0 {
		t.Errorf("refused requests left %d traces", n)
	}
}

func TestDeskEndsACall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.call("default:abc")
	d, e := NewDesk(DeskConfig{DB: w.db}), executorOf(w, nil)
	for i := range 2 { // the second time there is nothing left to tell
		id, err := d.EndCall(t.Context(), EndCallRequest{CID: "default:abc", ByUserID: "mod1", Reason: "abuse"})
		w.ok(err)
		w.ok(e.Execute(t.Context(), decoded[event.ActionRequested](t, w.outbox(event.TypeActionRequested)[i])))
		w.ok(e.Confirm(t.Context(), event.ControlDone{ActionID: id, Affected: 2}))
		if row := w.action(id); row.State != db.ActionStateConfirmed {
			t.Errorf("action = %+v", row)
		}
	}
	var call db.CallRow
	w.ok(w.db.NewSelect().Model(&call).Where("cid = ?", "default:abc").Scan(t.Context()))
	if call.EndedAt.IsZero() {
		t.Error("the call has not ended")
	}
	orders := w.outbox(event.TypeControl)
	if len(orders) != 2 || len(w.outbox(event.CallEnded)) != 1 || w.audits("end_call") != 2 {
		t.Fatalf("%d orders, told %d times", len(orders), len(w.outbox(event.CallEnded)))
	}
	if c := decoded[event.Control](t, orders[0]); c.Kind != event.ControlEndCall || c.CID != "default:abc" || c.UserID != "" {
		t.Errorf("order = %+v", c)
	}
	if _, err := d.EndCall(t.Context(), EndCallRequest{ByUserID: "mod1"}); err == nil {
		t.Error("ended no call in particular")
	}
}
