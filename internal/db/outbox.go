package db

import (
	"context"
	"errors"
	"fmt"

	"github.com/uptrace/bun"

	"stillwatch/internal/event"
)

// OutboxRow is a row of outbox. Seq is given by the database and grows.
type OutboxRow struct {
	bun.BaseModel `bun:"table:outbox,alias:ob"`
	Seq           int64 `bun:",pk,autoincrement"`
	EventID       string
	Topic         string
	Envelope      JSON[event.Envelope]
	CreatedAt     Time
	SentAt        Time
	DoneAt        Time
}

// ErrNotInTx is returned by Enqueue when ctx does not come from InTx: the
// event would not be bound to the change that makes it true.
var ErrNotInTx = errors.New("enqueue outside of InTx")

// Enqueue writes events into the outbox within the transaction of InTx; the
// relay publishes them right after the commit, in this order. ctx and tx are
// those that InTx gave. An event whose id is already there is left as it is.
func Enqueue(ctx context.Context, tx bun.IDB, topic event.Topic, evs ...event.Envelope) error {
	if len(evs) == 0 {
		return nil
	}
	st, ok := ctx.Value(txKey{}).(*txState)
	if !ok {
		return ErrNotInTx
	}
	now := At(st.db.now())
	rows := make([]OutboxRow, len(evs))
	for i, ev := range evs {
		rows[i] = OutboxRow{EventID: ev.ID, Topic: string(topic), Envelope: JSON[event.Envelope]{ev}, CreatedAt: now}
	}
	_, err := tx.NewInsert().Model(&rows).ExcludeColumn("seq").
		On("CONFLICT (event_id) DO NOTHING").Returning("NULL").Exec(ctx)
	if err != nil {
		return fmt.Errorf("enqueue %s on %s: %w", evs[0].Type, topic, err)
	}
	st.enqueued = true
	if topic != event.TopicPublic {
		return nil
	}
	journal := make([]PublicEventRow, 0, len(evs))
	for _, ev := range evs {
		if !event.LossyType(ev.Type) {
			journal = append(journal, NewPublicEvent(ev, now))
		}
	}
	return Journal(ctx, tx, journal...)
}

// Emit enqueues events in a transaction of their own, for events that no
// other change belongs to.
func (d *DB) Emit(ctx context.Context, topic event.Topic, evs ...event.Envelope) error {
	return d.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		return Enqueue(ctx, tx, topic, evs...)
	})
}

// HandledRow is a row of handled.
type HandledRow struct {
	bun.BaseModel `bun:"table:handled,alias:hd"`
	Grp           string `bun:",pk"`
	EventID       string `bun:",pk"`
	At            Time
}

// Once notes that group handles the event, and tells whether it is the first
// time. Call it in the transaction that carries the event's effect: if that
// rolls back, the event counts as not handled.
func (d *DB) Once(ctx context.Context, tx bun.IDB, group, eventID string) (first bool, err error) {
	row := HandledRow{Grp: group, EventID: eventID, At: At(d.now())}
	res, err := tx.NewInsert().Model(&row).On("CONFLICT DO NOTHING").Returning("NULL").Exec(ctx)
	if err != nil {
		return false, fmt.Errorf("note %s as handled by %s: %w", eventID, group, err)
	}
	n, err := res.RowsAffected()
	return n == 1, err
}
