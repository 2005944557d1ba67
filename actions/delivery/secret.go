package delivery

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// TypeWebhook is the hook_type of hooks that are signed with secrets of their
// own.
const TypeWebhook = "webhook"

const (
	// SecretPrefix starts a signing secret (Standard Webhooks 1.0.0,
	// "Signature scheme").
	SecretPrefix = "whsec_"
	secretBytes  = 32
	// SecretOverlap is how long the secret before a rotation signs as well.
	SecretOverlap = 24 * time.Hour
)

func newSecret() string {
	b := make([]byte, secretBytes)
	_, _ = rand.Read(b) // never fails since Go 1.24
	return SecretPrefix + base64.StdEncoding.EncodeToString(b)
}

// secrets returns the live signing secrets by hook, the newest first, and
// makes those that are missing.
func (s *Sender) secrets(ctx context.Context, hooks []Hook) (map[string][]string, error) {
	if s.cfg.Seal == nil {
		return nil, nil
	}
	var rows []db.HookSecretRow
	err := s.cfg.DB.NewSelect().Model(&rows).Where("expires_at = 0 OR expires_at > ?", db.At(s.cfg.Now())).
		Order("created_at DESC", "id").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read secrets of hooks: %w", err)
	}
	current, out := map[string]bool{}, map[string][]string{}
	for _, row := range rows {
		current[row.HookID] = current[row.HookID] || row.ExpiresAt.IsZero()
		plain, err := s.cfg.Seal.Open(db.SealSigning, row.HookID, row.Sealed)
		if err != nil {
			s.log.Error("a signing secret cannot be opened; rotate it", "hook", row.HookID, "err", err)
			continue
		}
		out[row.HookID] = append(out[row.HookID], plain)
	}
	for _, h := range hooks {
		if h.Type != TypeWebhook || current[h.ID] {
			continue
		}
		row, plain, err := s.sealedSecret(h.ID)
		if err != nil {
			return nil, err
		}
		res, err := s.cfg.DB.NewInsert().Model(&row).On("CONFLICT DO NOTHING").Returning("NULL").Exec(ctx)
		if err != nil {
			return nil, fmt.Errorf("write secret of hook %s: %w", h.ID, err)
		}
		if n, _ := res.RowsAffected(); n == 1 { // else another process was first; the next look finds its secret
			out[h.ID] = append([]string{plain}, out[h.ID]...)
		}
	}
	return out, nil
}

func (s *Sender) sealedSecret(hookID string) (row db.HookSecretRow, plain string, err error) {
	plain = newSecret()
	sealed, err := s.cfg.Seal.Seal(db.SealSigning, hookID, plain)
	return db.HookSecretRow{ID: event.NewID(), HookID: hookID, Sealed: sealed, CreatedAt: db.At(s.cfg.Now())}, plain, err
}

// RotateSecret gives a hook a new signing secret and returns it, the only
// time that it is shown. The one before signs as well until the time given.
func (s *Sender) RotateSecret(ctx context.Context, hookID, actor string) (secret string, previousUntil time.Time, err error) {
	if s.cfg.Seal == nil {
		return "", time.Time{}, errors.New("signing secrets need a master key")
	}
	now := s.cfg.Now()
	previousUntil = now.Add(SecretOverlap)
	err = s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := s.exists(ctx, tx, hookID); err != nil {
			return err
		}
		_, err := tx.NewUpdate().Model((*db.HookSecretRow)(nil)).Set("expires_at = ?", db.At(previousUntil)).
			Where("hook_id = ?", hookID).Where("expires_at = 0").Exec(ctx)
		if err != nil {
			return err
		}
		row, plain, err := s.sealedSecret(hookID)
		if err != nil {
			return err
		}
		secret = plain
		if _, err := tx.NewInsert().Model(&row).Exec(ctx); err != nil {
			return err
		}
		return s.audit(ctx, tx, actor, "hook.secret_rotated", hookID, map[string]any{"previous_valid_until": previousUntil})
	})
	if err != nil {
		return "", time.Time{}, fmt.Errorf("rotate the secret of hook %s: %w", hookID, err)
	}
	s.Reload()
	return secret, previousUntil, nil
}
