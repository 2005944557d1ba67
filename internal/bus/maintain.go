package bus

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// maintain shows, while entries are held here, that this consumer lives, and
// takes over the entries of consumers that do not.
func (c *consumer) maintain(ctx context.Context) {
	tick := time.NewTicker(max(c.bus.cfg.ClaimIdle/3, 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c.refresh(ctx)
		if err := c.claim(ctx); err != nil && !isMissing(err) && ctx.Err() == nil {
			c.errs.report(c.log, "cannot claim", err)
		}
	}
}

// refresh resets the idle time of the entries held here, so that a slow
// handler's entry is not claimed from under it.
func (c *consumer) refresh(ctx context.Context) {
	ids := c.lanes.ids()
	for len(ids) > 0 {
		n := min(len(ids), 500)
		err := c.bus.rdb.XClaimJustID(ctx, &redis.XClaimArgs{
			Stream: c.stream, Group: c.Group, Consumer: c.Consumer, Messages: ids[:n],
		}).Err()
		if err != nil {
			return // reading reports that Redis is away
		}
		ids = ids[n:]
	}
}

// claim takes entries that have been idle for too long. Those whose event was
// trimmed away are dropped by Redis and counted.
func (c *consumer) claim(ctx context.Context) error {
	start := "0-0"
	for {
		free := cap(c.lanes.room) - len(c.lanes.room)
		if free == 0 {
			return nil
		}
		msgs, next, gone, err := c.bus.rdb.XAutoClaimWithDeleted(ctx, &redis.XAutoClaimArgs{
			Stream: c.stream, Group: c.Group, Consumer: c.Consumer,
			MinIdle: c.bus.cfg.ClaimIdle, Start: start, Count: int64(min(free, readCount)),
		}).Result()
		if err != nil {
			return err
		}
		c.bus.count.deleted.Add(int64(len(gone)))
		c.bus.count.claimed.Add(int64(len(msgs)))
		earlier := c.deliveries(ctx, msgs)
		for _, m := range msgs {
			c.take(ctx, m, earlier[m.ID])
		}
		if start = next; start == "0-0" || start == "" {
			return nil
		}
	}
}
