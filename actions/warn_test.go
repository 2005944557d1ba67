package actions

import (
	"errors"
	"strings"
	"testing"
	"time"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
	"stillwatch/internal/testkit"
)

func TestWarningsAndBlursAreToldAndConfirmed(t *testing.T) {
	t.Parallel()
	w, clock := newWorld(t), testkit.NewClock()
	e := executorOf(w, clock)
	warning, blur := banOf("bob"), banOf("bob")
	warning.Kind, warning.Message = event.ActionWarn, "Please stop."
	blur.Kind, blur.ExpiresAt = event.ActionBlur, clock.Now().Add(time.Minute)
	for _, req := range []event.ActionRequested{w.request(warning), w.request(blur)} {
		for range 3 {
			w.ok(e.Execute(t.Context(), req))
		}
		if row := w.action(req.ActionID); row.State != db.ActionStateConfirmed || row.SentAt.IsZero() {
			t.Errorf("%s = %+v", req.Kind, row)
		}
	}
	told := decoded[event.ModerationWarning](t, w.outbox(event.CallModerationWarning)[0])
	if told.CallCID != "default:abc" || told.UserID != "bob" || told.Message != "Please stop." || told.Custom["action_id"] != warning.ActionID {
		t.Errorf("warning = %+v", told)
	}
	blurred := decoded[event.ModerationBlur](t, w.outbox(event.CallModerationBlur)[0])
	if blurred.UserID != "bob" || blurred.Custom["duration"] != 60.0 || blurred.Custom["expires_at"] != blur.ExpiresAt.UTC().Format(time.RFC3339Nano) {
		t.Errorf("blur = %+v", blurred)
	}
	if n := len(w.outbox(event.CallModerationWarning)) + len(w.outbox(event.CallModerationBlur)); n != 2 {
		t.Errorf("told %d times", n)
	}
	if len(w.outbox(event.TypeControl)) != 0 || w.audits("warn") != 1 || w.audits("blur") != 1 {
		t.Error("an order went out, or an audit is missing")
	}
}

func TestTheDeskTakesWarningsAndBlurs(t *testing.T) {
	t.Parallel()
	w, clock := newWorld(t), testkit.NewClock()
	desk := NewDesk(DeskConfig{DB: w.db, Now: clock.Now})
	id, err := desk.Warn(t.Context(), WarnRequest{UserID: "bob", CID: "default:abc", ByUserID: "mo", Message: "Please stop."})
	w.ok(err)
	if row := w.action(id); row.State != db.ActionStateRequested || row.Kind != "warn" || row.ByUserID != "mo" {
		t.Errorf("warning = %+v", row)
	}
	id, err = desk.Blur(t.Context(), BlurRequest{UserID: "bob", CID: "default:abc", ByUserID: "mo", For: time.Minute})
	w.ok(err)
	if req := decoded[event.ActionRequested](t, w.outbox(event.TypeActionRequested)[1]); req.ActionID != id || !req.ExpiresAt.Equal(clock.Now().Add(time.Minute)) {
		t.Errorf("blur = %+v", req)
	}
	for field, err := range map[string]error{
		"message":  second(desk.Warn(t.Context(), WarnRequest{UserID: "bob", CID: "default:abc", ByUserID: "mo", Message: strings.Repeat("x", 1001)})),
		"cid":      second(desk.Warn(t.Context(), WarnRequest{UserID: "bob", ByUserID: "mo", Message: "x"})),
		"duration": second(desk.Blur(t.Context(), BlurRequest{UserID: "bob", CID: "default:abc", ByUserID: "mo", For: -1})),
		"user_id":  second(desk.Blur(t.Context(), BlurRequest{CID: "default:abc", ByUserID: "mo"})),
	} {
		var want *RequestError
		if !errors.As(err, &want) || want.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func second(_ string, err error) error { return err }
