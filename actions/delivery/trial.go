package delivery

import (
	"context"
	"time"

	"stillwatch/actions"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// trialEvent is the body of the event that Test sends.
type trialEvent struct {
	Type      string         `json:"type"`
	CreatedAt time.Time      `json:"created_at"`
	Custom    map[string]any `json:"custom"`
}

// trialTimeout keeps a test within what an API request may last.
const trialTimeout = 8 * time.Second

// Test sends an event of the type "custom" to a hook at once, enabled or not
// and whatever types it wants, and tells how its receiver took it. It leaves
// no delivery.
func (s *Sender) Test(ctx context.Context, hookID, actor string) (actions.HookTest, error) {
	hook, err := s.hookByID(ctx, s.cfg.DB, hookID)
	if err != nil {
		return actions.HookTest{}, err
	}
	app, err := db.AppSettings(ctx, s.cfg.DB)
	if err != nil {
		return actions.HookTest{}, err
	}
	secrets, err := s.secrets(ctx, []Hook{hook})
	if err != nil {
		return actions.HookTest{}, err
	}
	hook.Compress, hook.Secrets = bool(app.HookCompression), secrets[hook.ID]
	if err := s.open(&hook); err != nil && hook.fault == nil {
		hook.fault = err
	}
	hook.Settings.BodyStyle = "" // it is the way that is tested
	hook.Timeout = min(hook.Timeout, trialTimeout)
	now := s.cfg.Now().UTC()
	ev := event.New(TypeCustom, "test", now, trialEvent{TypeCustom, now, map[string]any{"test": true}})
	began := time.Now()
	res := s.attempt(ctx, hook, Message{EventID: ev.ID, Type: ev.Type, Key: ev.Key, Attempt: 1, Body: ev.Data})
	took := time.Since(began)
	out := actions.HookTest{
		OK: res.OK(), Status: res.Status, Error: s.told(res), Latency: took,
		Response: printable(res.Response), EventID: ev.ID,
	}
	return out, s.audit(ctx, s.cfg.DB, actor, "hook.tested", hookID, map[string]any{"ok": out.OK, "status": out.Status})
}
