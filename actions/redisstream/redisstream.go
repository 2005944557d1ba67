// Package redisstream appends public events to Redis streams.
package redisstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"stillwatch/actions/delivery"
	"stillwatch/actions/peer"
	"stillwatch/internal/bus"
)

// HookType is the hook_type of the hooks that this package serves.
const HookType = "redis"

// DefaultMaxLen is how many of the newest events, about, a stream keeps where
// redis_max_len is 0.
const DefaultMaxLen = 100_000

// maxConns bounds the connections to one Redis for one hook.
const maxConns = 4

// Config sets a Transport.
type Config struct {
	// Own is the URL of the program's own Redis, which hooks without a
	// redis_url write to.
	Own string
	// Out reaches all others.
	Out peer.Out
}

// Transport implements delivery.Transport.
type Transport struct {
	servers peer.Pool[string, *redis.Client]
}

// New makes a transport.
func New(cfg Config) *Transport {
	t := &Transport{}
	t.servers.Open = cfg.open
	return t
}

// open makes a client of the Redis at the URL, the program's own for "".
func (c Config) open(at string) (*redis.Client, error) {
	if at == "" {
		opts, err := redis.ParseURL(c.Own)
		if err != nil {
			return nil, errors.New("the program's own Redis cannot be used for hooks")
		}
		return client(opts), nil
	}
	opts, err := ParseURL(at)
	if err != nil {
		return nil, err
	}
	crypt := opts.TLSConfig
	opts.Dialer = func(ctx context.Context, _, addr string) (net.Conn, error) {
		conn, err := c.Out.Dial(ctx, crypt == nil, addr)
		if err != nil || crypt == nil {
			return conn, err
		}
		secured := tls.Client(conn, crypt)
		if err := secured.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, err
		}
		return secured, nil
	}
	return client(opts), nil
}

// client makes one attempt of one request, as long as its ctx lets it.
func client(opts *redis.Options) *redis.Client {
	opts.MaxRetries, opts.DialerRetries, opts.PoolSize = -1, 1, maxConns
	opts.DialTimeout, opts.ReadTimeout, opts.WriteTimeout = delivery.MaxTimeout, delivery.MaxTimeout, delivery.MaxTimeout
	opts.PoolTimeout, opts.ConnMaxIdleTime = delivery.MaxTimeout, 5*time.Minute
	opts.ContextTimeoutEnabled, opts.DisableIdentity = true, true
	opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return redis.NewClient(opts)
}

// ParseURL reads redis://USER:PASSWORD@HOST:PORT/DB or rediss://. Settings
// behind a "?" are refused: some of them switch checks off. Errors hold
// nothing of the URL.
func ParseURL(text string) (*redis.Options, error) {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "redis" && u.Scheme != "rediss") || u.Hostname() == "" {
		return nil, errors.New("the URL is not redis://USER:PASSWORD@HOST:PORT/DB or rediss://…")
	}
	if strings.ContainsAny(text, "?#") {
		return nil, errors.New("the Redis URL has settings behind its path, which are not allowed")
	}
	opts, err := redis.ParseURL(text)
	if err != nil {
		return nil, errors.New("the Redis URL has no number of a database for its path")
	}
	return opts, nil
}

// errOwnStream keeps hooks away from the streams that the program works with.
var errOwnStream = errors.New("streams of the program's own Redis whose names begin with " + bus.DefaultPrefix + " are its own")

// Allowed tells whether a hook may write to the stream; redisURL is "" for the
// program's own Redis.
func Allowed(redisURL, stream string) error {
	if stream == "" {
		return errors.New("no stream is named")
	}
	if redisURL == "" && strings.HasPrefix(stream, bus.DefaultPrefix) {
		return errOwnStream
	}
	return nil
}

// Send implements delivery.Transport. A body is never compressed: it stands in
// a field of its own, "body", beside "id", "type" and "cid".
func (t *Transport) Send(ctx context.Context, h delivery.Hook, m delivery.Message) delivery.Result {
	s := h.Settings
	if err := Allowed(s.RedisURL, s.RedisStream); err != nil {
		return delivery.Result{Err: err}
	}
	c, release, err := t.servers.Get(h.ID, s.RedisURL)
	if err != nil {
		return peer.Failure(err)
	}
	defer release()
	maxLen := int64(s.RedisMaxLen)
	if maxLen <= 0 {
		maxLen = DefaultMaxLen
	}
	cid, _, _ := strings.Cut(m.Key, "/")
	err = c.XAdd(ctx, &redis.XAddArgs{
		Stream: s.RedisStream, MaxLen: maxLen, Approx: true,
		Values: []any{"id", m.EventID, "type", m.Type, "cid", cid, "body", m.Body},
	}).Err()
	return outcome(ctx, err, c.Options().Password)
}

// outcome puts an attempt's end into words without the password.
func outcome(ctx context.Context, err error, password string) delivery.Result {
	if err == nil {
		return delivery.Result{}
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	res := peer.Failure(err, password)
	var said redis.Error
	if errors.As(err, &said) {
		word, _, _ := strings.Cut(said.Error(), " ")
		res.Throttled = word == "OOM" || word == "LOADING" || word == "BUSY"
	}
	return res
}

// Forget implements delivery.Forgetter.
func (t *Transport) Forget(hookID string) { t.servers.Forget(hookID) }

// Close implements delivery.Transport.
func (t *Transport) Close() error { return t.servers.Close() }
