package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"stillwatch/internal/event"
)

// Handler handles one event. It may be called again for the same event, also
// after success, so its effect must be the same twice as once. An error or a
// panic means that it is to be tried again.
type Handler func(ctx context.Context, ev event.Envelope) error

// EphemeralPrefix starts the names of groups that belong to one process, as
// a node's: when it is gone for long, its group is dropped.
const EphemeralPrefix = "node-"

// Subscription is a consumer in a group.
type Subscription struct {
	Topic    event.Topic
	Group    string
	Consumer string
	Handler  Handler
	// Concurrency is how many events are handled at once, of different
	// keys; events of one key are handled in order. Default 1.
	Concurrency int
	// FromNow makes a group that is not there yet start behind the newest
	// entry instead of before the oldest.
	FromNow bool
	// OnSkip, if set, is told of each event of a lossy topic that was not
	// handled: a newer one took its place, or it was too old. It runs on
	// the reading goroutine or on a worker and must not block.
	OnSkip func(ev event.Envelope, reason SkipReason)
	// MaxAge overrides Config.MaxAge.
	MaxAge time.Duration
}

// SkipReason says why an event of a lossy topic was skipped.
type SkipReason string

// The reasons of OnSkip.
const (
	SkipSuperseded SkipReason = "superseded"
	SkipTooOld     SkipReason = "too_old"
)

// consumer is one running Subscription.
type consumer struct {
	Subscription
	bus    *Bus
	stream string
	lanes  *lanes
	log    *slog.Logger
	// ahead is how far the server's clock is ahead of ours.
	ahead time.Duration

	acks chan string
	errs *quiet

	mu     sync.Mutex
	timers map[*time.Timer]struct{}
	closed bool
}

const (
	readBlock = 5 * time.Second
	readCount = 64
	// lossyRoom and laneRoom bound how many entries a consumer holds. On a
	// lossy topic it reads far ahead, to find the newest.
	lossyRoom = 1024
	roomPer   = 16
)

// Consume handles events until ctx ends, and then returns nil once its
// handlers have returned. While Redis is away it waits and tries again; it
// returns an error only for a Subscription that cannot work.
func (b *Bus) Consume(ctx context.Context, sub Subscription) error {
	c, err := b.newConsumer(sub)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var readers, workers sync.WaitGroup
	for range c.Concurrency {
		workers.Go(func() { c.work(ctx) })
	}
	ackDone := make(chan struct{})
	go func() { defer close(ackDone); c.acknowledge(ctx) }()
	readers.Go(func() { c.maintain(ctx) })
	readers.Go(func() { c.read(ctx) })
	readers.Wait()
	workers.Wait()
	c.stopTimers()
	close(c.acks)
	<-ackDone
	return nil
}

func (b *Bus) newConsumer(sub Subscription) (*consumer, error) {
	if sub.Topic == "" || sub.Group == "" || sub.Consumer == "" || sub.Handler == nil {
		return nil, errors.New("consume: a subscription needs Topic, Group, Consumer and Handler")
	}
	sub.Concurrency = max(sub.Concurrency, 1)
	orElse(&sub.MaxAge, b.cfg.MaxAge)
	room := sub.Concurrency * roomPer
	if sub.Topic.Lossy() {
		room = lossyRoom
	}
	return &consumer{
		Subscription: sub, bus: b, stream: b.stream(sub.Topic), lanes: newLanes(room),
		log:  slog.With("component", "bus", "topic", sub.Topic, "group", sub.Group),
		acks: make(chan string, 1024), errs: &quiet{}, timers: map[*time.Timer]struct{}{},
	}, nil
}

// read fetches entries: first those that this consumer left unacknowledged
// when it last ran, then new ones.
func (c *consumer) read(ctx context.Context) {
	rdb, stop := c.bus.blockingClient(ctx)
	defer stop()
	wait := backoff{first: 50 * time.Millisecond, limit: 2 * time.Second}
	own, ready := "0", false
	for ctx.Err() == nil {
		if !ready {
			if err := c.ensureGroup(ctx, c.FromNow); err != nil {
				c.errs.report(c.log, "cannot make the group", err)
				wait.sleep(ctx)
				continue
			}
			c.syncClock(ctx)
			ready = true
		}
		n, last, err := c.fetch(ctx, rdb, own)
		switch {
		case err == nil:
			wait.reset()
			if own != ">" {
				if own = last; n == 0 {
					own = ">"
				}
			}
		case isMissing(err):
			// Redis was wiped. All that is in the stream now came after,
			// so the new group starts at the beginning.
			if err := c.ensureGroup(ctx, false); err != nil {
				c.errs.report(c.log, "cannot make the group again", err)
				wait.sleep(ctx)
			}
			own = ">"
		case ctx.Err() != nil:
		default:
			c.errs.report(c.log, "cannot read", err)
			wait.sleep(ctx)
		}
	}
}

func (c *consumer) ensureGroup(ctx context.Context, fromNow bool) error {
	start := "0"
	if fromNow {
		start = "$"
	}
	return c.bus.ensureGroup(ctx, c.stream, c.Group, start)
}

func (b *Bus) ensureGroup(ctx context.Context, stream, group, start string) error {
	err := b.rdb.XGroupCreateMkStream(ctx, stream, group, start).Err()
	if err != nil && !strings.HasPrefix(err.Error(), "BUSYGROUP") {
		return err
	}
	return nil
}

// Declare makes groups that are not there yet, before their consumers run:
// from then on nothing on the topic is trimmed that they have not seen.
func (b *Bus) Declare(ctx context.Context, topic event.Topic, groups ...string) error {
	for _, g := range groups {
		if err := b.ensureGroup(ctx, b.stream(topic), g, "0"); err != nil {
			return fmt.Errorf("declare group %s on %s: %w", g, topic, err)
		}
	}
	return nil
}

func (c *consumer) syncClock(ctx context.Context) {
	if t, err := c.bus.rdb.Time(ctx).Result(); err == nil {
		c.ahead = time.Until(t)
	}
}

// fetch reads entries behind the id "own" of this consumer's pending ones, or
// new ones with ">", and queues them.
func (c *consumer) fetch(ctx context.Context, rdb *redis.Client, own string) (n int, last string, err error) {
	// Wait for room before reading: what is read counts as delivered.
	select {
	case c.lanes.room <- struct{}{}:
		<-c.lanes.room
	case <-ctx.Done():
		return 0, "", ctx.Err()
	}
	free := cap(c.lanes.room) - len(c.lanes.room)
	res, err := rdb.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: c.Group, Consumer: c.Consumer, Streams: []string{c.stream, own},
		Count: int64(min(readCount, max(free, 1))), Block: readBlock,
	}).Result()
	if errors.Is(err, redis.Nil) {
		return 0, own, nil
	}
	if err != nil || len(res) == 0 {
		return 0, own, err
	}
	msgs := res[0].Messages
	var earlier map[string]int
	if own != ">" {
		earlier = c.deliveries(ctx, msgs)
	}
	for _, m := range msgs {
		last = m.ID
		c.take(ctx, m, earlier[m.ID])
	}
	return len(msgs), last, nil
}

// deliveries looks up how often entries were delivered before this time.
func (c *consumer) deliveries(ctx context.Context, msgs []redis.XMessage) map[string]int {
	out := make(map[string]int, len(msgs))
	if len(msgs) == 0 {
		return out
	}
	pend, err := c.bus.rdb.XPendingExt(ctx, &redis.XPendingExtArgs{
		Stream: c.stream, Group: c.Group, Start: msgs[0].ID, End: msgs[len(msgs)-1].ID,
		Count: 10_000, Consumer: c.Consumer,
	}).Result()
	if err != nil {
		c.errs.report(c.log, "cannot read delivery counts", err)
	}
	for _, p := range pend {
		out[p.ID] = int(p.RetryCount) - 1
	}
	return out
}

// take decodes an entry and queues it.
func (c *consumer) take(ctx context.Context, m redis.XMessage, earlier int) {
	if m.Values == nil { // deleted while it was pending
		c.bus.count.deleted.Add(1)
		c.ack(m.ID)
		return
	}
	if g, ok := m.Values[fieldGroup].(string); ok && g != c.Group {
		c.ack(m.ID) // redriven for another group
		return
	}
	raw, _ := m.Values[fieldEvent].(string)
	ev, err := decode(m)
	j := &job{id: m.ID, ev: ev, raw: raw, bad: err, at: entryTime(m.ID).Add(-c.ahead), earlier: earlier}
	if c.Topic.Lossy() {
		if c.tooOld(j) {
			c.skip(j, SkipTooOld)
			return
		}
		j.slot = slotOf(ev)
	}
	select {
	case c.lanes.room <- struct{}{}:
	case <-ctx.Done():
		return
	}
	if old := c.lanes.push(j); old != nil {
		c.skip(old, SkipSuperseded)
	}
}

func (c *consumer) tooOld(j *job) bool { return time.Since(j.at) > c.MaxAge }

func (c *consumer) skip(j *job, why SkipReason) {
	c.bus.count.skipped.Add(1)
	c.ack(j.id)
	if c.OnSkip != nil && j.bad == nil {
		c.OnSkip(j.ev, why)
	}
}

// slotOf names what a frame shows: the newer frame of a track stands for the
// older one. Nothing else is replaced.
func slotOf(ev event.Envelope) string {
	if ev.Type != event.TypeFrameReady {
		return ""
	}
	var f struct {
		TrackID string `json:"track_id"`
	}
	if ev.Decode(&f) != nil {
		return ""
	}
	return ev.Type + " " + f.TrackID
}

// entryTime is when Redis took the entry in: an id is "<unix ms>-<n>".
func entryTime(id string) time.Time {
	var ms, n int64
	if _, err := fmt.Sscanf(id, "%d-%d", &ms, &n); err != nil {
		return time.Now()
	}
	return time.UnixMilli(ms)
}
