package actions

import (
	"errors"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

func TestDeskRecordsAndEnqueues(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := NewDesk(DeskConfig{DB: w.db})
	id, err := d.Ban(t.Context(), BanRequest{UserID: "bob", ByUserID: "mod1", Reason: "nudity", Timeout: time.Hour})
	w.ok(err)
	if row := w.action(id); row.State != db.ActionStateRequested || row.ByUserID != "mod1" {
		t.Errorf("row = %+v", row)
	}
	evs := w.outbox(event.TypeActionRequested)
	if len(evs) != 1 || w.audits("action.requested") != 1 {
		t.Fatalf("%d events", len(evs))
	}
	req := decoded[event.ActionRequested](t, evs[0])
	if req.ActionID != id || req.BanCID != "" || time.Until(req.ExpiresAt) > time.Hour || time.Until(req.ExpiresAt) < 59*time.Minute {
		t.Errorf("request = %+v", req)
	}
	w.ok(executorOf(w, nil).Execute(t.Context(), req))
	if _, banned, _ := w.db.Banned(t.Context(), "bob", "", time.Now()); !banned {
		t.Error("not banned")
	}
	if _, banned, _ := w.db.Banned(t.Context(), "bob", "", time.Now().Add(2*time.Hour)); banned {
		t.Error("banned beyond the timeout")
	}
	if b := decoded[event.UserBan](t, w.outbox(event.UserBanned)[0]); b.Expiration == nil || !b.Expiration.Equal(req.ExpiresAt) {
		t.Errorf("user.banned = %+v", b)
	}
}

func TestDeskBanOfOneCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := NewDesk(DeskConfig{DB: w.db}).Ban(t.Context(), BanRequest{UserID: "bob", ByUserID: "mod1", CID: "default:abc"})
	w.ok(err)
	w.ok(executorOf(w, nil).Execute(t.Context(), decoded[event.ActionRequested](t, w.outbox(event.TypeActionRequested)[0])))
	for cid, want := range map[string]bool{"default:abc": true, "default:other": false} {
		if _, banned, _ := w.db.Banned(t.Context(), "bob", cid, time.Now()); banned != want {
			t.Errorf("banned in %s: %v", cid, banned)
		}
	}
	if c := decoded[event.Control](t, w.outbox(event.TypeControl)[0]); c.CID != "default:abc" {
		t.Errorf("order = %+v", c)
	}
}

func TestDeskFlagsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.call("default:abc")
	item, err := NewDesk(DeskConfig{DB: w.db}).Flag(t.Context(), FlagRequest{UserID: "bob", CID: "default:abc", ByUserID: "mod1", Reason: "look"})
	w.ok(err)
	if item == "" || len(w.outbox(event.UserFlagged)) != 1 || len(w.outbox(event.TypeActionRequested)) != 0 || len(w.outbox(event.TypeActionConfirmed)) != 1 {
		t.Error("not carried out at once")
	}
	again, err := NewDesk(DeskConfig{DB: w.db}).Flag(t.Context(), FlagRequest{UserID: "bob", CID: "default:abc", ByUserID: "mod2"})
	if err != nil || again != item {
		t.Errorf("second item %s, %v", again, err)
	}
}

func TestUnbanLiftsWhatHolds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := NewDesk(DeskConfig{DB: w.db})
	w.ok(executorOf(w, nil).Execute(t.Context(), w.request(banOf("bob"))))
	if n, err := d.Unban(t.Context(), UnbanRequest{UserID: "bob", CID: "default:abc", ByUserID: "mod1"}); err != nil || n != 0 {
		t.Errorf("lifted %d of one call, %v", n, err)
	}
	if n, err := d.Unban(t.Context(), UnbanRequest{UserID: "bob", ByUserID: "mod1"}); err != nil || n != 1 {
		t.Fatalf("lifted %d, %v", n, err)
	}
	if _, banned, _ := w.db.Banned(t.Context(), "bob", "", time.Now()); banned {
		t.Error("still banned")
	}
	told := w.outbox(event.UserUnbanned)
	if len(told) != 1 || w.audits("unban") != 1 {
		t.Fatalf("told %d times", len(told))
	}
	if b := decoded[event.UserBan](t, told[0]); b.User.Banned || b.CreatedBy.ID != "mod1" || b.TotalBans != 1 {
		t.Errorf("user.unbanned = %+v", b)
	}
	if n, err := d.Unban(t.Context(), UnbanRequest{UserID: "bob", ByUserID: "mod1"}); err != nil || n != 0 || len(w.outbox(event.UserUnbanned)) != 1 {
		t.Errorf("lifted %d again, %v", n, err)
	}
}

func TestDeskRefusesWhatNamesNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := NewDesk(DeskConfig{DB: w.db})
	_, noUser := d.Ban(t.Context(), BanRequest{ByUserID: "m"})
	_, noMod := d.Kick(t.Context(), KickRequest{UserID: "bob", CID: "a:b"})
	_, noCall := d.Kick(t.Context(), KickRequest{UserID: "bob", ByUserID: "m"})
	_, noFlagged := d.Flag(t.Context(), FlagRequest{UserID: "bob", ByUserID: "m"})
	_, past := d.Ban(t.Context(), BanRequest{UserID: "bob", ByUserID: "m", Timeout: -1})
	_, unbanNobody := d.Unban(t.Context(), UnbanRequest{ByUserID: "m"})
	for i, err := range []error{noUser, noMod, noCall, noFlagged, past, unbanNobody} {
		var bad *RequestError
		if !errors.As(err, &bad) {
			t.Errorf("%d: %v", i, err)
		}
	}
	if w.rows((*db.ActionRow)(nil)) != 0 {
		t.Error("left a row")
	}
}
