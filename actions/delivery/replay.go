package delivery

import (
	"context"
	"fmt"
	"slices"

	"github.com/uptrace/bun"

	"stillwatch/actions"
	"stillwatch/internal/db"
	"stillwatch/internal/event"
)

// replayPage is how many events are read and written at once.
const replayPage = 500

// Replay makes events due at once for a hook, under their old ids, and
// returns how many. Attempts are counted on; the schedule begins anew.
func (s *Sender) Replay(ctx context.Context, hookID string, r actions.Replay, actor string) (n int, err error) {
	err = s.cfg.DB.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		n = 0
		hook, err := s.hookByID(ctx, tx, hookID)
		if err != nil {
			return err
		}
		for after := int64(0); ; {
			page, last, err := s.replayed(ctx, tx, hook, r, after)
			if err != nil {
				return err
			}
			if err := s.again(ctx, tx, hook, page); err != nil {
				return err
			}
			if n += len(page); n > actions.MaxReplay {
				return actions.ErrReplayTooLarge
			}
			if last == 0 {
				break
			}
			after = last
		}
		return s.audit(ctx, tx, actor, "hook.replayed", hookID, map[string]any{
			"events": n, "event_ids": len(r.EventIDs), "since": r.Since, "until": r.Until, "only_missing": r.OnlyMissing,
		})
	})
	if err != nil {
		return 0, fmt.Errorf("replay to hook %s: %w", hookID, err)
	}
	s.Reload()
	return n, nil
}

// replayed reads a page of the events behind a sequence number that the
// replay means; last is 0 after the last page.
func (s *Sender) replayed(ctx context.Context, tx bun.Tx, hook Hook, r actions.Replay, after int64) (page []db.PublicEventRow, last int64, err error) {
	q := tx.NewSelect().Model(&page).Where("pe.seq > ?", after).Where("pe.only_hook IN ('', ?)", hook.ID).Order("pe.seq").Limit(replayPage)
	switch {
	case len(r.EventIDs) > 0:
		q = q.Where("pe.id IN (?)", bun.List(r.EventIDs))
	default:
		q = q.Where("pe.created_at >= ?", db.At(r.Since))
		if !r.Until.IsZero() {
			q = q.Where("pe.created_at < ?", db.At(r.Until))
		}
	}
	if len(r.EventTypes) > 0 {
		q = q.Where("pe.type IN (?)", bun.List(r.EventTypes))
	}
	if r.OnlyMissing { // what failed and waits, up to a day, is missing too; all else that is pending is on its way
		q = q.Where(`NOT EXISTS (SELECT 1 FROM deliveries AS d WHERE d.hook_id = ? AND d.event_id = pe.id
			AND (d.state = 'done' OR (d.state = 'pending' AND d.last_error = '')))`, hook.ID)
	}
	if err := q.Scan(ctx); err != nil {
		return nil, 0, fmt.Errorf("read events: %w", err)
	}
	if len(page) == replayPage {
		last = page[len(page)-1].Seq
	}
	if len(r.EventIDs) == 0 { // what is asked for by name is sent even if the hook's types leave it out
		page = slices.DeleteFunc(page, func(row db.PublicEventRow) bool {
			return !s.wants(hook, event.Envelope{ID: row.ID, Type: row.Type, Key: row.Key, Data: []byte(row.Body)})
		})
	}
	return page, last, nil
}

// again makes events due for the hook now.
func (s *Sender) again(ctx context.Context, tx bun.Tx, hook Hook, page []db.PublicEventRow) error {
	if len(page) == 0 {
		return nil
	}
	now := db.At(s.cfg.Now())
	rows := make([]db.DeliveryRow, len(page))
	for i, row := range page {
		rows[i] = newDelivery(hook.ID, row, now)
	}
	_, err := tx.NewInsert().Model(&rows).On("CONFLICT (hook_id, event_id) DO UPDATE").
		Set("state = ?", db.DeliveryPending).Set("next_at = EXCLUDED.next_at").Set("base = dl.attempts").Set("done_at = 0").
		Set("event_seq = EXCLUDED.event_seq").Set("lane = EXCLUDED.lane").
		Returning("NULL").Exec(ctx)
	if err != nil {
		return fmt.Errorf("note deliveries: %w", err)
	}
	return nil
}

// hookByID reads a hook, enabled or not, without its secrets.
func (s *Sender) hookByID(ctx context.Context, q bun.IDB, id string) (Hook, error) {
	var row db.HookRow
	err := q.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx)
	if db.IsNotFound(err) {
		return Hook{}, actions.ErrNoHook
	}
	if err != nil {
		return Hook{}, fmt.Errorf("read hook %s: %w", id, err)
	}
	return s.hookOf(row), nil
}

func (s *Sender) exists(ctx context.Context, q bun.IDB, id string) error {
	_, err := s.hookByID(ctx, q, id)
	return err
}
