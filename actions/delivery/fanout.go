package delivery

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// TypeCustom is the type of the events that an operator sends himself.
const TypeCustom = "custom"

const (
	// sweepAfter is how long an event may lie in the journal before a sweep
	// fans it out: the bus is given the time to do so first.
	sweepAfter = 10 * time.Second
	sweepBatch = 256
)

// Handle turns a lossless public event into a delivery for each hook that
// wants it. A repeated event gives no second one.
func (s *Sender) Handle(ctx context.Context, ev event.Envelope) error {
	if event.LossyType(ev.Type) {
		return nil // came by Offer
	}
	made := 0
	err := s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := db.Journal(ctx, tx, db.NewPublicEvent(ev, db.At(s.cfg.Now()))); err != nil {
			return err
		}
		var row db.PublicEventRow
		if err := tx.NewSelect().Model(&row).Where("id = ?", ev.ID).Scan(ctx); err != nil {
			return fmt.Errorf("read event %s: %w", ev.ID, err)
		}
		var err error
		made, err = s.fanOut(ctx, tx, row)
		return err
	})
	if made > 0 {
		s.kick()
	}
	return err
}

// sweep fans out what the bus did not bring, as after a loss of its memory
// that outlasted the outbox.
func (s *Sender) sweep(ctx context.Context) error {
	before := db.At(s.cfg.Now().Add(-sweepAfter))
	var rows []db.PublicEventRow
	err := s.cfg.DB.NewSelect().Model(&rows).Where("fanned_at = 0").Where("created_at <= ?", before).
		Order("seq").Limit(sweepBatch).Scan(ctx)
	if err != nil || len(rows) == 0 {
		return err
	}
	err = s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		for _, row := range rows {
			if _, err := s.fanOut(ctx, tx, row); err != nil {
				return err
			}
		}
		return nil
	})
	s.kick()
	return err
}

// fanOut makes the deliveries of an event, unless they are made.
func (s *Sender) fanOut(ctx context.Context, tx bun.Tx, row db.PublicEventRow) (made int, err error) {
	if !row.FannedAt.IsZero() {
		return 0, nil
	}
	hooks, err := s.enabled(ctx, tx)
	if err != nil {
		return 0, err
	}
	now := db.At(s.cfg.Now())
	var rows []db.DeliveryRow
	ev := event.Envelope{ID: row.ID, Type: row.Type, Key: row.Key, Data: []byte(row.Body)}
	for _, h := range hooks {
		if (row.OnlyHook == "" || row.OnlyHook == h.ID) && s.wants(h, ev) {
			rows = append(rows, newDelivery(h.ID, row, now))
		}
	}
	if len(rows) > 0 {
		if _, err := tx.NewInsert().Model(&rows).On("CONFLICT DO NOTHING").Returning("NULL").Exec(ctx); err != nil {
			return 0, fmt.Errorf("note deliveries of %s: %w", row.ID, err)
		}
	}
	_, err = tx.NewUpdate().Model((*db.PublicEventRow)(nil)).Set("fanned_at = ?", now).Where("seq = ?", row.Seq).Exec(ctx)
	if err != nil {
		return 0, fmt.Errorf("note %s as fanned out: %w", row.ID, err)
	}
	return len(rows), nil
}

func newDelivery(hookID string, row db.PublicEventRow, now db.Time) db.DeliveryRow {
	return db.DeliveryRow{
		ID: event.DeriveID("delivery", hookID, row.ID), HookID: hookID, EventID: row.ID, EventType: row.Type, Key: row.Key,
		State: db.DeliveryPending, NextAt: now, CreatedAt: now, EventSeq: row.Seq, Lane: row.Lane,
	}
}

// wants tells whether a hook takes the event.
func (s *Sender) wants(h Hook, ev event.Envelope) bool {
	if !wantsType(h, ev.Type) {
		return false
	}
	encode := s.cfg.Encoders[h.Settings.BodyStyle]
	if encode == nil {
		return true
	}
	_, wanted, err := encode(h, Message{EventID: ev.ID, Type: ev.Type, Key: ev.Key, Attempt: 1, Body: ev.Data, Lossy: event.LossyType(ev.Type)})
	return wanted || err != nil // the attempt will show the error
}

// wantsType tells whether a hook takes events of the type; no list means all.
func wantsType(h Hook, typ string) bool {
	if strings.HasPrefix(typ, "hook.") {
		return true // meant for this hook, as only_hook says
	}
	if len(h.EventTypes) > 0 {
		return slices.Contains(h.EventTypes, typ)
	}
	if typ == TypeCustom {
		return h.Settings.ShouldSendCustomEvents == nil || *h.Settings.ShouldSendCustomEvents
	}
	about := !strings.HasPrefix(typ, "call.") && !strings.HasPrefix(typ, "ingress.")
	switch h.Settings.Product {
	case "video":
		return !about
	case "moderation":
		return about || strings.HasPrefix(typ, "call.moderation_")
	}
	return true
}
