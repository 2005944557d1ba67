package bus

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"stillwatch/internal/event"
)

// DeadEntry is an event that a group could not handle.
type DeadEntry struct {
	// ID names the entry for Redrive.
	ID string
	// Event is empty when the entry could not be decoded; Raw is as it came.
	Event    event.Envelope
	Raw      string
	Group    string
	Consumer string
	Tries    int
	Reason   string
	At       time.Time
}

// Dead lists up to limit dead letters of a topic, oldest first.
func (b *Bus) Dead(ctx context.Context, topic event.Topic, limit int) ([]DeadEntry, error) {
	msgs, err := b.rdb.XRangeN(ctx, b.dead(topic), "-", "+", int64(limit)).Result()
	if err != nil {
		return nil, fmt.Errorf("list dead letters of %s: %w", topic, err)
	}
	out := make([]DeadEntry, len(msgs))
	for i, m := range msgs {
		out[i] = deadEntry(m)
	}
	return out, nil
}

func deadEntry(m redis.XMessage) DeadEntry {
	text := func(field string) string { s, _ := m.Values[field].(string); return s }
	e := DeadEntry{
		ID: m.ID, Raw: text(fieldEvent), Group: text(fieldGroup),
		Consumer: text("consumer"), Reason: text("reason"),
	}
	e.Event, _ = decode(m)
	e.Tries, _ = strconv.Atoi(text("tries"))
	if ms, err := strconv.ParseInt(text("at"), 10, 64); err == nil {
		e.At = time.UnixMilli(ms).UTC()
	}
	return e
}

// Redrive publishes dead letters again, by the ids of their entries, to the
// group that failed alone, and takes them off the dead letters. It returns
// how many there were; an id that is not there is passed over.
func (b *Bus) Redrive(ctx context.Context, topic event.Topic, ids ...string) (n int, err error) {
	for _, id := range ids {
		msgs, err := b.rdb.XRange(ctx, b.dead(topic), id, id).Result()
		if err != nil {
			return n, fmt.Errorf("redrive %s of %s: %w", id, topic, err)
		}
		if len(msgs) == 0 {
			continue
		}
		e := deadEntry(msgs[0])
		_, err = b.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.XAdd(ctx, &redis.XAddArgs{
				Stream: b.stream(topic), Values: []any{fieldEvent, e.Raw, fieldGroup, e.Group},
			})
			p.XDel(ctx, b.dead(topic), id)
			return nil
		})
		if err != nil {
			return n, fmt.Errorf("redrive %s of %s: %w", id, topic, err)
		}
		n++
	}
	return n, nil
}
