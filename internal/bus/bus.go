// Package bus carries events between stages over Redis streams: at least
// once, in order per key, with retries, dead letters and redrive.
package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"stillwatch/internal/event"
)

// Config sets a Bus; zero values mean the defaults.
type Config struct {
	// URL is redis://[user:pass@]host:port/db, rediss://... or
	// unix:///path.sock.
	URL string
	// Prefix stands before every key; default "stillwatch:".
	Prefix string
	// MaxLen is about how many entries a lossy topic keeps; default 10,000.
	MaxLen int64
	// ClaimIdle is how long an entry may lie unacknowledged with a consumer
	// that shows no life before another takes it; default 15 s.
	ClaimIdle time.Duration
	// MaxTries is how often an event is handled before it is parked as
	// dead; default 5.
	MaxTries int
	// RetryDelay is the first pause between tries; it doubles each time up
	// to 5 s; default 100 ms.
	RetryDelay time.Duration
	// MaxAge is the age beyond which an event of a lossy topic is skipped
	// instead of handled; default 5 s.
	MaxAge time.Duration
}

// Defaults of Config.
const (
	DefaultPrefix     = "stillwatch:"
	DefaultMaxLen     = 10_000
	DefaultClaimIdle  = 15 * time.Second
	DefaultMaxTries   = 5
	DefaultRetryDelay = 100 * time.Millisecond
	DefaultMaxAge     = 5 * time.Second
	maxRetryDelay     = 5 * time.Second
	// deadMaxLen bounds the dead letters of a lossy topic; those of a
	// lossless one are kept until they are redriven.
	deadMaxLen = 1000
)

// Fields of a stream entry.
const (
	fieldEvent = "e" // the envelope as JSON
	fieldGroup = "g" // the only group meant, on a redriven entry
)

// Bus is a connection to Redis. It is safe for concurrent use.
type Bus struct {
	cfg   Config
	opts  *redis.Options
	rdb   *redis.Client
	count counters
}

type counters struct {
	published, handled, failed, parked, skipped, deleted, claimed atomic.Int64
}

// Open connects to Redis and fails when it does not answer within ctx.
func Open(ctx context.Context, cfg Config) (*Bus, error) {
	quietRedis()
	setDefaults(&cfg)
	opts, err := redis.ParseURL(cfg.URL)
	if err != nil {
		return nil, errors.New("open bus: the redis.url cannot be read; want redis://host:port or unix:///path.sock")
	}
	// One try with a short deadline: the callers' own back-off does better
	// than hidden retries, and a frame is soon too old to be worth one.
	opts.MaxRetries = -1
	opts.DialTimeout = 2 * time.Second
	opts.DialerRetries = 1
	opts.ReadTimeout = 3 * time.Second
	opts.WriteTimeout = 3 * time.Second
	opts.ContextTimeoutEnabled = true
	opts.DisableIdentity = true
	opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	b := &Bus{cfg: cfg, opts: opts, rdb: redis.NewClient(opts)}
	if err := b.rdb.Ping(ctx).Err(); err != nil {
		return nil, errors.Join(fmt.Errorf("open bus: %w", err), b.rdb.Close())
	}
	return b, nil
}

func setDefaults(cfg *Config) {
	orElse(&cfg.Prefix, DefaultPrefix)
	orElse(&cfg.MaxLen, DefaultMaxLen)
	orElse(&cfg.ClaimIdle, DefaultClaimIdle)
	orElse(&cfg.MaxTries, DefaultMaxTries)
	orElse(&cfg.RetryDelay, DefaultRetryDelay)
	orElse(&cfg.MaxAge, DefaultMaxAge)
}

func orElse[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Close closes the connection. End Consume and Tail first, by their contexts.
func (b *Bus) Close() error {
	if err := b.rdb.Close(); err != nil && !errors.Is(err, redis.ErrClosed) {
		return fmt.Errorf("close bus: %w", err)
	}
	return nil
}

// Ready tells whether Redis answers.
func (b *Bus) Ready(ctx context.Context) error { return b.rdb.Ping(ctx).Err() }

func (b *Bus) stream(t event.Topic) string { return b.cfg.Prefix + string(t) }
func (b *Bus) dead(t event.Topic) string   { return b.cfg.Prefix + "dead:" + string(t) }

// Publish appends events to a topic, in order and in one round trip. When it
// fails, some of them may have been appended.
func (b *Bus) Publish(ctx context.Context, topic event.Topic, evs ...event.Envelope) error {
	if len(evs) == 0 {
		return nil
	}
	args := make([]*redis.XAddArgs, len(evs))
	for i, ev := range evs {
		raw, err := json.Marshal(ev)
		if err != nil {
			return fmt.Errorf("publish %s: %w", ev.Type, err)
		}
		args[i] = &redis.XAddArgs{Stream: b.stream(topic), Values: []any{fieldEvent, raw}}
		if topic.Lossy() {
			args[i].MaxLen, args[i].Approx = b.cfg.MaxLen, true
		}
	}
	if err := b.add(ctx, args); err != nil {
		return fmt.Errorf("publish on %s: %w", topic, err)
	}
	b.count.published.Add(int64(len(evs)))
	return nil
}

func (b *Bus) add(ctx context.Context, args []*redis.XAddArgs) error {
	if len(args) == 1 {
		return b.rdb.XAdd(ctx, args[0]).Err()
	}
	_, err := b.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, a := range args {
			p.XAdd(ctx, a)
		}
		return nil
	})
	return err
}

// blockingClient is a client of one connection for reads that wait. Ending
// ctx closes it, which ends the read at once.
func (b *Bus) blockingClient(ctx context.Context) (c *redis.Client, stop func()) {
	opts := *b.opts
	opts.PoolSize, opts.MinIdleConns = 1, 0
	c = redis.NewClient(&opts)
	cancel := context.AfterFunc(ctx, func() { _ = c.Close() })
	return c, func() {
		cancel()
		_ = c.Close()
	}
}

// decode reads an entry's envelope.
func decode(m redis.XMessage) (event.Envelope, error) {
	raw, ok := m.Values[fieldEvent].(string)
	if !ok {
		return event.Envelope{}, fmt.Errorf("entry %s holds no event", m.ID)
	}
	var ev event.Envelope
	if err := json.Unmarshal([]byte(raw), &ev); err != nil {
		return event.Envelope{}, fmt.Errorf("entry %s: %w", m.ID, err)
	}
	return ev, nil
}

// isMissing tells whether err means that the group or its stream is gone, as
// after FLUSHALL; a read that waits is told with UNBLOCKED.
func isMissing(err error) bool {
	return err != nil && (strings.HasPrefix(err.Error(), "NOGROUP") || strings.HasPrefix(err.Error(), "UNBLOCKED"))
}
