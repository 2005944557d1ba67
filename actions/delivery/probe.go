package delivery

import (
	"context"
	"errors"
	"fmt"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// Probe sends an event of the type "custom" by settings that no hook need
// have, to find out whether they are good. The secret is that of the hook's
// type. It returns the event's id, and an error in words for whoever gave the
// settings.
func (s *Sender) Probe(ctx context.Context, hookType string, d db.HookSettings, secret string) (eventID string, err error) {
	way := s.cfg.Transports[hookType]
	if way == nil {
		return "", fmt.Errorf("hooks of type %q are not served by this program", hookType)
	}
	now := s.cfg.Now().UTC()
	ev := event.New(TypeCustom, "test", now, trialEvent{TypeCustom, now, map[string]any{"test": true}})
	d.Sealed = nil
	h := Hook{ID: "probe " + ev.ID, Type: hookType, Timeout: DefaultTimeout, UpdatedAt: now} // no hook's id has a space
	h.Settings = Settings{HookSettings: d, SQSSecret: secret, SNSSecret: secret}
	res := s.attempt(ctx, h, Message{EventID: ev.ID, Type: ev.Type, Key: ev.Key, Attempt: 1, Body: ev.Data})
	s.forget(h)
	if res.OK() {
		return ev.ID, nil
	}
	return ev.ID, errors.New(s.told(res))
}
