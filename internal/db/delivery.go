package db

import (
	"context"
	"fmt"
	"strings"

	"github.com/uptrace/bun"

	"stillwatch/internal/event"
)

// PublicEventRow is a row of public_events. Seq is given by the database.
type PublicEventRow struct {
	bun.BaseModel `bun:"table:public_events,alias:pe"`
	Seq           int64 `bun:",pk,autoincrement"`
	ID            string
	Type          string
	Key           string
	Lane          string
	Body          string
	OnlyHook      string
	CreatedAt     Time
	FannedAt      Time
}

// NewPublicEvent is the journal's row of an event that came true at the time.
func NewPublicEvent(ev event.Envelope, at Time) PublicEventRow {
	lane, _, _ := strings.Cut(ev.Key, "/")
	return PublicEventRow{ID: ev.ID, Type: ev.Type, Key: ev.Key, Lane: lane, Body: string(ev.Data), CreatedAt: at}
}

// Journal writes lossless public events down, the first of an id alone.
// Enqueue does so for all that go through it.
func Journal(ctx context.Context, tx bun.IDB, rows ...PublicEventRow) error {
	if len(rows) == 0 {
		return nil
	}
	_, err := tx.NewInsert().Model(&rows).ExcludeColumn("seq").On("CONFLICT (id) DO NOTHING").Returning("NULL").Exec(ctx)
	if err != nil {
		return fmt.Errorf("journal %s: %w", rows[0].Type, err)
	}
	return nil
}

// AttemptRow is a row of delivery_attempts.
type AttemptRow struct {
	bun.BaseModel `bun:"table:delivery_attempts,alias:da"`
	DeliveryID    string `bun:",pk"`
	Attempt       int    `bun:",pk"`
	At            Time
	Status        int // 0 when there was no answer
	Error         string
	LatencyNS     int64 `bun:"latency_ns"`
	Response      string
}

// HookHealthRow is a row of hook_health. A hook that never failed has none.
type HookHealthRow struct {
	bun.BaseModel  `bun:"table:hook_health,alias:hh"`
	HookID         string `bun:",pk"`
	FailingSince   Time   // the first failure since the last success
	FailedAt       Time   // the last failure
	NotifiedAt     Time   // when the owner was told that it fails
	LastStatus     int
	LastError      string
	DisabledAt     Time
	DisabledReason string
}

// HookSecretRow is a row of hook_secrets: a signing secret, sealed.
type HookSecretRow struct {
	bun.BaseModel `bun:"table:hook_secrets,alias:hs"`
	ID            string `bun:",pk"`
	HookID        string
	Sealed        string
	CreatedAt     Time
	ExpiresAt     Time // unset on the current one
}

// SealSigning is the purpose that a hook's signing secrets are sealed for.
const SealSigning = "hook.signing_secret"
