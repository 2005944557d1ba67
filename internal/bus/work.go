package bus

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/redis/go-redis/v9"
)

// work handles jobs until ctx ends.
func (c *consumer) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case ln := <-c.lanes.ready:
			if ctx.Err() != nil {
				return
			}
			c.step(ctx, ln)
		}
	}
}

// step gives the lane's first job one try.
func (c *consumer) step(ctx context.Context, ln *lane) {
	j := c.lanes.first(ln)
	if c.Topic.Lossy() && c.tooOld(j) {
		c.skip(j, SkipTooOld)
		c.lanes.finish(ln)
		return
	}
	if j.bad == nil && j.earlier+j.tries < c.bus.cfg.MaxTries {
		j.tries++
		if j.lastErr = c.handle(ctx, j); j.lastErr == nil {
			c.bus.count.handled.Add(1)
			c.ack(j.id)
			c.lanes.finish(ln)
			return
		}
		if ctx.Err() != nil {
			return // stays pending: the next run takes it up
		}
		c.bus.count.failed.Add(1)
		c.errs.report(c.log, "handler failed", fmt.Errorf("%s %s: %w", j.ev.Type, j.ev.ID, j.lastErr))
	}
	if j.bad != nil || j.earlier+j.tries >= c.bus.cfg.MaxTries {
		if err := c.park(ctx, j); err == nil {
			c.lanes.finish(ln)
			return
		} else if ctx.Err() != nil {
			return
		}
	}
	c.later(ctx, ln, j.tries)
}

// handle calls the handler and turns a panic into an error.
func (c *consumer) handle(ctx context.Context, j *job) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return c.Handler(ctx, j.ev)
}

// later makes the lane ready again after a pause that doubles with each try.
func (c *consumer) later(ctx context.Context, ln *lane, tries int) {
	d := c.bus.cfg.RetryDelay << min(max(tries-1, 0), 10)
	d = min(d, maxRetryDelay)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || ctx.Err() != nil {
		return
	}
	var t *time.Timer
	t = time.AfterFunc(d, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if delete(c.timers, t); !c.closed {
			c.lanes.again(ln)
		}
	})
	c.timers[t] = struct{}{}
}

func (c *consumer) stopTimers() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for t := range c.timers {
		t.Stop()
	}
}

// park moves a job to the dead letters and acknowledges it, both or neither.
func (c *consumer) park(ctx context.Context, j *job) error {
	reason := errors.Join(j.bad, j.lastErr)
	if reason == nil {
		reason = errors.New("delivered too often without an answer: it may kill its consumer")
	}
	args := &redis.XAddArgs{Stream: c.bus.dead(c.Topic), Values: []any{
		fieldEvent, j.raw, fieldGroup, c.Group, "consumer", c.Consumer, "tries", j.earlier + j.tries,
		"reason", clip(reason.Error(), 2000), "at", time.Now().UnixMilli(),
	}}
	if c.Topic.Lossy() {
		args.MaxLen, args.Approx = deadMaxLen, true
	}
	_, err := c.bus.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.XAdd(ctx, args)
		p.XAck(ctx, c.stream, c.Group, j.id)
		return nil
	})
	if err != nil {
		c.errs.report(c.log, "cannot park", err)
		return err
	}
	c.bus.count.parked.Add(1)
	c.log.Error("event parked", "type", j.ev.Type, "id", j.ev.ID, "key", j.ev.Key, "reason", clip(reason.Error(), 300))
	return nil
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// ack queues an entry for acknowledging.
func (c *consumer) ack(id string) { c.acks <- id }

// ackBatch is how many entries are acknowledged in one command.
const ackBatch = 128

// acknowledge sends acknowledgements together as they gather, without
// waiting for more. While Redis is away they are kept; what is lost with the
// process is handled a second time.
func (c *consumer) acknowledge(ctx context.Context) {
	wait := backoff{first: 50 * time.Millisecond, limit: time.Second}
	var batch []string
	for id := range c.acks {
		batch = append(batch, id)
		for len(c.acks) > 0 && len(batch) < ackBatch {
			batch = append(batch, <-c.acks)
		}
		for {
			// Not ctx: what was handled before the end is acknowledged.
			send, cancel := context.WithTimeout(context.Background(), 3*time.Second)
			err := c.bus.rdb.XAck(send, c.stream, c.Group, batch...).Err()
			cancel()
			if err == nil || isMissing(err) {
				wait.reset()
				break
			}
			c.errs.report(c.log, "cannot acknowledge", err)
			if ctx.Err() != nil {
				break
			}
			wait.sleep(ctx)
		}
		batch = batch[:0]
	}
}
