package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
)

// enabled reads the enabled hooks without their secrets.
func (s *Sender) enabled(ctx context.Context, q bun.IDB) ([]Hook, error) {
	var rows []db.HookRow
	if err := q.NewSelect().Model(&rows).Where("enabled = 1").Order("id").Scan(ctx); err != nil {
		return nil, fmt.Errorf("read hooks: %w", err)
	}
	hooks := make([]Hook, 0, len(rows))
	for _, row := range rows {
		hooks = append(hooks, s.hookOf(row))
	}
	return hooks, nil
}

// hookOf is the row as a Hook, its secrets left out.
func (s *Sender) hookOf(row db.HookRow) Hook {
	h := Hook{
		ID: row.ID, Type: row.HookType, EventTypes: row.EventTypes.V, URL: row.WebhookURL,
		Timeout: timeout(row.TimeoutMS), UpdatedAt: row.UpdatedAt.Time,
	}
	h.Settings.HookSettings, h.fault = row.Details()
	if h.fault == nil && s.cfg.Transports[h.Type] == nil {
		h.fault = fmt.Errorf("hooks of type %q are not served by this program", h.Type)
	}
	return h
}

func timeout(ms int) time.Duration {
	if ms <= 0 {
		return DefaultTimeout
	}
	return min(time.Duration(ms)*time.Millisecond, MaxTimeout)
}

// load reads the enabled hooks with all that sending needs, and the health of
// those that fail.
func (s *Sender) load(ctx context.Context) ([]Hook, map[string]db.HookHealthRow, error) {
	app, err := db.AppSettings(ctx, s.cfg.DB)
	if err != nil {
		return nil, nil, err
	}
	var rows []db.HookHealthRow // before the hooks, or one that is just switched off would look switched on again
	if err := s.cfg.DB.NewSelect().Model(&rows).Scan(ctx); err != nil {
		return nil, nil, fmt.Errorf("read health of hooks: %w", err)
	}
	health := make(map[string]db.HookHealthRow, len(rows))
	for _, row := range rows {
		health[row.HookID] = row
	}
	hooks, err := s.enabled(ctx, s.cfg.DB)
	if err != nil {
		return nil, nil, err
	}
	secrets, err := s.secrets(ctx, hooks)
	if err != nil {
		return nil, nil, err
	}
	for i := range hooks {
		h := &hooks[i]
		h.Compress, h.Secrets = bool(app.HookCompression), secrets[h.ID]
		if err := s.open(h); err != nil && h.fault == nil {
			h.fault = err
		}
		if health[h.ID].DisabledAt.IsZero() {
			continue
		}
		// Somebody switched it on again: it begins anew.
		if err := s.forgive(ctx, h.ID); err != nil {
			return nil, nil, err
		}
		delete(health, h.ID)
	}
	return hooks, health, nil
}

// open decrypts the secrets in a hook's settings.
func (s *Sender) open(h *Hook) error {
	if len(h.Settings.Sealed) == 0 {
		return nil
	}
	if s.cfg.Seal == nil {
		return errors.New("the secrets of hooks cannot be opened without a master key")
	}
	for name, into := range map[string]*string{
		db.SecretSQS: &h.Settings.SQSSecret, db.SecretSNS: &h.Settings.SNSSecret,
		db.SecretAMQPURL: &h.Settings.AMQPURL, db.SecretRedisURL: &h.Settings.RedisURL,
	} {
		plain, err := h.Settings.Secret(s.cfg.Seal, h.ID, name)
		if err != nil {
			return err
		}
		if plain != "" {
			*into = plain
		}
	}
	return nil
}
