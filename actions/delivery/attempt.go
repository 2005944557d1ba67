package delivery

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"stillwatch/internal/db"
)

// noteTimeout bounds the writing of an attempt's outcome.
const noteTimeout = 10 * time.Second

// claim finds due deliveries of the hook and counts an attempt at each, which
// keeps other processes off while it lasts. A crash in the middle leaves the
// delivery due when the claim runs out. What flies in this process is left
// out, or its outcome would not fit any more.
func (s *Sender) claim(ctx context.Context, hook Hook, now time.Time, limit int, flies func(id string) bool) ([]db.DeliveryRow, error) {
	var due []db.DeliveryRow
	q := s.cfg.DB.NewSelect().Model(&due).Where("dl.hook_id = ?", hook.ID).Where("dl.state = ?", db.DeliveryPending).
		Where("dl.next_at <= ?", db.At(now)).Order("dl.next_at", "dl.event_seq").Limit(int64(limit))
	if hook.Settings.Ordered {
		q = inOrder(q)
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("read due deliveries: %w", err)
	}
	due = slices.DeleteFunc(due, func(d db.DeliveryRow) bool { return flies(d.ID) })
	if len(due) == 0 {
		return nil, nil
	}
	ids, events := make([]string, len(due)), make([]string, len(due))
	for i, d := range due {
		ids[i], events[i] = d.ID, d.EventID
	}
	var mine []string
	_, err := s.cfg.DB.NewUpdate().Model((*db.DeliveryRow)(nil)).
		Set("attempts = attempts + 1").Set("next_at = ?", db.At(now.Add(hook.Timeout+claimSlack))).
		Where("id IN (?)", bun.List(ids)).Where("state = ?", db.DeliveryPending).Where("next_at <= ?", db.At(now)).
		Returning("id").Exec(ctx, &mine)
	if err != nil {
		return nil, fmt.Errorf("claim: %w", err)
	}
	bodies, err := s.bodies(ctx, events)
	if err != nil {
		return nil, err
	}
	return claimed(due, mine, bodies), nil
}

// inOrder leaves out what must wait for an earlier event of its call: one
// that is not through, or that is not even fanned out.
func inOrder(q *bun.SelectQuery) *bun.SelectQuery {
	return q.Where(`NOT EXISTS (SELECT 1 FROM deliveries AS e WHERE e.hook_id = dl.hook_id AND e.state = 'pending' ` +
		`AND e.lane = dl.lane AND e.event_seq < dl.event_seq)`).
		Where(`NOT EXISTS (SELECT 1 FROM public_events AS p WHERE p.fanned_at = 0 AND p.lane = dl.lane AND p.seq < dl.event_seq)`)
}

// bodies reads events' bodies from the journal.
func (s *Sender) bodies(ctx context.Context, eventIDs []string) (map[string]string, error) {
	var rows []db.PublicEventRow
	err := s.cfg.DB.NewSelect().Model(&rows).Column("id", "body").Where("id IN (?)", bun.List(eventIDs)).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	out := make(map[string]string, len(rows))
	for _, row := range rows {
		out[row.ID] = row.Body
	}
	return out, nil
}

// claimed are the deliveries of due that mine lists, as the claim left them.
func claimed(due []db.DeliveryRow, mine []string, bodies map[string]string) []db.DeliveryRow {
	own := make(map[string]bool, len(mine))
	for _, id := range mine {
		own[id] = true
	}
	out := due[:0]
	for _, d := range due {
		if !own[d.ID] {
			continue
		}
		d.Attempts++
		if d.Body == "" { // made by an older version
			d.Body = bodies[d.EventID]
		}
		out = append(out, d)
	}
	return out
}

// deliver makes one attempt at a claimed delivery.
func (l *lane) deliver(ctx context.Context, hook Hook, d db.DeliveryRow) error {
	began, clock := l.s.cfg.Now(), time.Now()
	res := l.s.attempt(ctx, hook, Message{EventID: d.EventID, Type: d.EventType, Key: d.Key, Attempt: d.Attempts, Body: []byte(d.Body)})
	// What is known of an attempt is written down even while closing, or an
	// accepted event would go out again.
	note, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTimeout)
	defer cancel()
	if ctx.Err() != nil && !res.OK() && res.Status == 0 {
		return l.s.unclaim(note, d)
	}
	return l.s.ledger.write(note, l.s, &outcome{
		lane: l, hook: hook, delivery: d, res: res, began: began, took: time.Since(clock), done: make(chan error, 1),
	})
}

// unclaim gives up the claim on an attempt that closing broke off, so that
// the next start makes it at once.
func (s *Sender) unclaim(ctx context.Context, d db.DeliveryRow) error {
	_, err := s.cfg.DB.NewUpdate().Model((*db.DeliveryRow)(nil)).Set("next_at = ?", db.At(s.cfg.Now())).
		Where("id = ?", d.ID).Where("state = ?", db.DeliveryPending).Where("attempts = ?", d.Attempts).Exec(ctx)
	if err != nil {
		return fmt.Errorf("give the claim back: %w", err)
	}
	return nil
}
