package delivery

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// tell sends word of a failing hook through another one, if there is any.
func (s *Sender) tell(ctx context.Context, tx bun.Tx, typ string, hook Hook, row db.HookHealthRow, reason string) error {
	to, err := s.confidant(ctx, tx, hook)
	if err != nil || to == "" {
		return err
	}
	now := s.cfg.Now().UTC()
	body := event.HookState{
		Type: typ, CreatedAt: now, HookID: hook.ID, HookType: hook.Type, FailingSince: row.FailingSince.UTC(),
		Reason: reason, LastStatus: row.LastStatus, LastError: row.LastError,
	}
	ev := event.New(typ, "hook:"+hook.ID, now, body)
	ev.ID = event.DeriveID("hook", typ, hook.ID, row.FailingSince.UTC().Format(time.RFC3339Nano))
	pub := db.NewPublicEvent(ev, db.At(now))
	pub.OnlyHook = to
	if err := db.Journal(ctx, tx, pub); err != nil {
		return err
	}
	if err := tx.NewSelect().Model(&pub).Where("id = ?", ev.ID).Scan(ctx); err != nil {
		return fmt.Errorf("read event %s: %w", ev.ID, err)
	}
	_, err = s.fanOut(ctx, tx, pub)
	return err
}

// confidant is the hook that is told when another fails: the one that its
// settings name, or any healthy one, "" for none.
func (s *Sender) confidant(ctx context.Context, tx bun.Tx, failing Hook) (string, error) {
	hooks, err := s.enabled(ctx, tx)
	if err != nil {
		return "", err
	}
	var ill []string
	err = tx.NewSelect().Model((*db.HookHealthRow)(nil)).Column("hook_id").Where("failing_since > 0").Scan(ctx, &ill)
	if err != nil {
		return "", fmt.Errorf("read health of hooks: %w", err)
	}
	bad := map[string]bool{failing.ID: true}
	named := ""
	if f := failing.Settings.FailoverConfig; f != nil {
		named = f.NotifyHookID
	}
	for _, id := range ill {
		bad[id] = true
	}
	other := ""
	for _, h := range hooks {
		if h.fault != nil || h.ID == failing.ID || !s.wants(h, event.Envelope{Type: event.HookFailing, Data: []byte("{}")}) {
			continue
		}
		if h.ID == named {
			return named, nil
		}
		if other == "" && !bad[h.ID] {
			other = h.ID
		}
	}
	return other, nil
}

// audit writes down, in the transaction of the change, who did what to a hook.
func (s *Sender) audit(ctx context.Context, tx bun.IDB, actor, verb, hookID string, detail any) error {
	raw, err := json.Marshal(detail)
	if err != nil {
		return fmt.Errorf("marshal audit of %s: %w", verb, err)
	}
	row := db.AuditRow{ID: event.NewID(), At: db.At(s.cfg.Now()), Actor: actor, Verb: verb, Object: "hook:" + hookID}
	row.Detail.V = raw
	if _, err := tx.NewInsert().Model(&row).Exec(ctx); err != nil {
		return fmt.Errorf("write audit of %s: %w", verb, err)
	}
	return nil
}
