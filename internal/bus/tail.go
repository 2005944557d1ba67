package bus

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"stillwatch/internal/event"
)

// Tail calls fn with every event published on the topic from now on, until
// ctx ends. It belongs to no group: each Tail sees all events, none is
// acknowledged or sent again. fn must not block for long. Each Tail holds a
// connection; share one among many listeners.
func (b *Bus) Tail(ctx context.Context, topic event.Topic, fn func(event.Envelope)) error {
	rdb, stop := b.blockingClient(ctx)
	defer stop()
	log, errs := slog.With("component", "bus", "topic", topic, "tail", true), &quiet{}
	wait := backoff{first: 50 * time.Millisecond, limit: 2 * time.Second}
	last := ""
	for ctx.Err() == nil {
		var err error
		if last == "" {
			// A real id, not "$": nothing falls between two reads.
			last, err = b.newest(ctx, topic)
		} else {
			last, err = b.tailOnce(ctx, rdb, topic, last, fn)
		}
		if err == nil {
			wait.reset()
			continue
		}
		if ctx.Err() == nil {
			errs.report(log, "cannot tail", err)
			wait.sleep(ctx)
		}
	}
	return nil
}

// newest is the id of the topic's last entry, "0-0" when it has none.
func (b *Bus) newest(ctx context.Context, topic event.Topic) (string, error) {
	msgs, err := b.rdb.XRevRangeN(ctx, b.stream(topic), "+", "-", 1).Result()
	if err != nil {
		return "", err
	}
	if len(msgs) == 0 {
		return "0-0", nil
	}
	return msgs[0].ID, nil
}

func (b *Bus) tailOnce(
	ctx context.Context, rdb *redis.Client, topic event.Topic, last string, fn func(event.Envelope),
) (string, error) {
	res, err := rdb.XRead(ctx, &redis.XReadArgs{
		Streams: []string{b.stream(topic), last}, Count: readCount, Block: readBlock,
	}).Result()
	if errors.Is(err, redis.Nil) {
		return last, nil
	}
	if err != nil {
		return last, err
	}
	for _, s := range res {
		for _, m := range s.Messages {
			last = m.ID
			if ev, err := decode(m); err == nil {
				fn(ev)
			}
		}
	}
	return last, nil
}
