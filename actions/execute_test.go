package actions

import (
	"context"
	"errors"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

func executorOf(w *world, clock *testkit.Clock) *Executor {
	cfg := Config{DB: w.db, Signer: signer{}, Retention: time.Hour}
	if clock != nil {
		cfg.Now = clock.Now
	}
	return NewExecutor(cfg)
}

func TestBanIsRecordedToldAndOrdered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e, req := executorOf(w, nil), w.request(banOf("bob"))
	w.ok(e.Execute(t.Context(), req))
	if ban, ok, err := w.db.Banned(t.Context(), "bob", "default:abc", time.Now()); err != nil || !ok || ban.ActionID != req.ActionID {
		t.Fatalf("ban = %+v, %v, %v", ban, ok, err)
	}
	if row := w.action(req.ActionID); row.State != db.ActionStateSent || row.Attempts != 1 || row.SentAt.IsZero() {
		t.Errorf("action = %+v", row)
	}
	orders := w.outbox(event.TypeControl)
	if len(orders) != 1 {
		t.Fatalf("%d orders", len(orders))
	}
	if c := decoded[event.Control](t, orders[0]); c.Kind != event.ControlDisconnect || c.CID != "" || c.UserID != "bob" || c.ActionID != req.ActionID {
		t.Errorf("order = %+v", c)
	}
	told := decoded[event.UserBan](t, w.outbox(event.UserBanned)[0])
	if !told.User.Banned || told.User.ID != "bob" || told.CreatedBy.ID != "system" || told.TotalBans != 1 || told.Custom["frame_id"] != "f1" {
		t.Errorf("user.banned = %+v", told)
	}
	if w.audits("ban") != 1 {
		t.Error("no audit")
	}
}

func TestExecutingTwiceIsOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.call("default:abc")
	e := executorOf(w, nil)
	ban, flag := w.request(banOf("bob")), w.request(flagOf("bob"))
	for range 3 {
		w.ok(e.Execute(t.Context(), flag))
		w.ok(e.Execute(t.Context(), ban))
		w.ok(e.Confirm(t.Context(), event.ControlDone{ActionID: ban.ActionID, Affected: 0}))
	}
	counts := map[string]int{
		"bans": w.rows((*db.BanRow)(nil)), "items": w.rows((*db.ReviewItemRow)(nil)), "orders": len(w.outbox(event.TypeControl)),
		"banned": len(w.outbox(event.UserBanned)), "flagged": len(w.outbox(event.UserFlagged)), "new": len(w.outbox(event.ReviewItemNew)),
		"audits": w.audits("ban"),
	}
	for what, n := range counts {
		if n != 1 {
			t.Errorf("%d %s", n, what)
		}
	}
	if n := len(w.outbox(event.TypeActionConfirmed)); n != 2 {
		t.Errorf("%d confirmations", n)
	}
	if s := e.Stats(); s.Executed != 2 || s.Confirmed != 1 {
		t.Errorf("stats = %+v", s)
	}
}

func TestFlagsGatherInOneItem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.call("default:abc")
	e := executorOf(w, nil)
	first := flagOf("bob")
	first.Score = 0.9
	second := flagOf("bob")
	second.Recommend, second.ObjectKey, second.FrameID = event.ActionBan, "frames/f2.jpg", "f2"
	w.ok(e.Execute(t.Context(), w.request(first)))
	w.ok(e.Execute(t.Context(), w.request(second)))
	w.ok(e.Execute(t.Context(), w.request(flagOf("eve"))))
	if n := w.rows((*db.ReviewItemRow)(nil)); n != 2 {
		t.Fatalf("%d items", n)
	}
	ev := decoded[event.ReviewItemChange](t, w.outbox(event.ReviewItemUpdated)[0])
	item := ev.ReviewQueueItem
	if item.FlagsCount != 2 || len(item.Flags) != 2 || item.Severity != 97 || item.RecommendedAction != "ban" || len(ev.Flags) != 1 {
		t.Errorf("item = %+v", item)
	}
	images := item.ModerationPayload.Images
	wantURL := signer{}.SignGet("frames/f2.jpg", second.CapturedAt.Add(time.Hour))
	if len(images) != 2 || images[1] != wantURL || item.ModerationPayload.Custom["frame_id"] != "f2" {
		t.Errorf("payload = %+v", item.ModerationPayload)
	}
	var call db.CallRow
	w.ok(w.db.NewSelect().Model(&call).Where("cid = ?", "default:abc").Scan(t.Context()))
	if !call.Flagged {
		t.Error("call is not flagged")
	}
	if f := decoded[event.UserFlag](t, w.outbox(event.UserFlagged)[1]); f.TotalFlags != 2 || f.TargetUser.ID != "bob" || f.Custom["review_queue_item_id"] != item.ID {
		t.Errorf("user.flagged = %+v", f)
	}
	if row := w.action(first.ActionID); row.State != db.ActionStateConfirmed || row.ConfirmedAt.IsZero() {
		t.Errorf("action = %+v", row)
	}
}

func TestAnItemThatWasDecidedIsNotReopened(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := executorOf(w, nil)
	w.ok(e.Execute(t.Context(), w.request(flagOf("bob"))))
	_, err := w.db.NewUpdate().Model((*db.ReviewItemRow)(nil)).Set("status = 'reviewed'").Where("1 = 1").Exec(t.Context())
	w.ok(err)
	w.ok(e.Execute(t.Context(), w.request(flagOf("bob"))))
	if n := w.rows((*db.ReviewItemRow)(nil)); n != 2 || len(w.outbox(event.ReviewItemNew)) != 2 {
		t.Errorf("%d items", n)
	}
}

func TestUnconfirmedIsSentAgainThenFails(t *testing.T) {
	t.Parallel()
	w, clock := newWorld(t), testkit.NewClock()
	e, req := executorOf(w, clock), w.request(banOf("bob"))
	w.ok(e.Execute(t.Context(), req))
	began := clock.Now()
	for _, step := range []struct {
		after  time.Duration
		orders int
		state  string
	}{
		{1999 * time.Millisecond, 1, db.ActionStateSent},
		{2 * time.Second, 2, db.ActionStateSent},
		{4999 * time.Millisecond, 2, db.ActionStateSent},
		{5 * time.Second, 3, db.ActionStateSent},
		{15 * time.Second, 4, db.ActionStateSent},
		{30 * time.Second, 5, db.ActionStateSent},
		{59 * time.Second, 5, db.ActionStateSent},
		{60 * time.Second, 5, db.ActionStateFailed},
		{time.Hour, 5, db.ActionStateFailed},
	} {
		clock.Set(began.Add(step.after))
		w.ok(e.Tend(t.Context()))
		w.ok(e.Tend(t.Context()))
		if n, state := len(w.outbox(event.TypeControl)), w.action(req.ActionID).State; n != step.orders || state != step.state {
			t.Fatalf("after %s: %d orders, %s; want %d, %s", step.after, n, state, step.orders, step.state)
		}
	}
	orders := w.outbox(event.TypeControl)
	if a, b := decoded[event.Control](t, orders[0]), decoded[event.Control](t, orders[4]); a.ControlID != b.ControlID || orders[0].ID == orders[4].ID {
		t.Errorf("orders %+v and %+v", a, b)
	}
	if s := e.Stats(); s.Resent != 4 || s.Failed != 1 || w.audits("action.failed") != 1 {
		t.Errorf("stats = %+v", s)
	}
	// A late answer is the truth all the same.
	w.ok(e.Confirm(t.Context(), event.ControlDone{ActionID: req.ActionID, Affected: 1}))
	if s := w.action(req.ActionID).State; s != db.ActionStateConfirmed {
		t.Errorf("state = %s", s)
	}
}

func TestTendCarriesOutWhatTheBusLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clock := testkit.NewClock()
	clock.Set(time.Now())
	e, req := executorOf(w, clock), w.request(flagOf("bob"))
	w.ok(e.Tend(t.Context()))
	if s := w.action(req.ActionID).State; s != db.ActionStateRequested {
		t.Fatalf("state = %s", s)
	}
	clock.Advance(time.Minute)
	w.ok(e.Tend(t.Context()))
	if s := w.action(req.ActionID).State; s != db.ActionStateConfirmed {
		t.Errorf("state = %s", s)
	}
}

func TestShadowBanDisconnectsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	req := banOf("bob")
	req.Shadow = true
	w.ok(executorOf(w, nil).Execute(t.Context(), w.request(req)))
	if len(w.outbox(event.TypeControl)) != 0 || w.action(req.ActionID).State != db.ActionStateConfirmed {
		t.Error("disconnected")
	}
	if _, banned, err := w.db.Banned(t.Context(), "bob", "default:abc", time.Now()); err != nil || banned {
		t.Error("kept out")
	}
}

func TestKickDisconnectsFromTheOneCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	req := banOf("bob")
	req.Kind = event.ActionKick
	w.ok(executorOf(w, nil).Execute(t.Context(), w.request(req)))
	if c := decoded[event.Control](t, w.outbox(event.TypeControl)[0]); c.CID != "default:abc" || c.UserID != "bob" {
		t.Errorf("order = %+v", c)
	}
	if len(w.outbox(event.CallKickedUser)) != 1 || w.rows((*db.BanRow)(nil)) != 0 {
		t.Error("not told, or banned")
	}
}

func TestEndCallOrdersTheWholeCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	req := banOf("bob")
	req.Kind = event.ActionEndCall
	w.ok(executorOf(w, nil).Execute(t.Context(), w.request(req)))
	if c := decoded[event.Control](t, w.outbox(event.TypeControl)[0]); c.Kind != event.ControlEndCall || c.CID != "default:abc" || c.UserID != "" {
		t.Errorf("order = %+v", c)
	}
}

func TestActionWithoutAnExecutorFailsLoudly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	req := banOf("bob")
	req.Kind = "dance"
	w.ok(executorOf(w, nil).Execute(t.Context(), w.request(req)))
	if w.action(req.ActionID).State != db.ActionStateFailed || w.audits("action.failed") != 1 {
		t.Error("did not fail")
	}
}

func TestActionWithoutARowIsAnError(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := executorOf(w, nil).Execute(t.Context(), banOf("bob")); !errors.Is(err, errUnknownAction) {
		t.Errorf("error = %v", err)
	}
	w.ok(executorOf(w, nil).Confirm(context.Background(), event.ControlDone{ActionID: "nobody's"}))
}
