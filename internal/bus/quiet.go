package bus

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisLog passes what the Redis client has to say to slog, as debug: what
// matters in it comes back as an error, too.
type redisLog struct{}

// Printf implements the client's logger.
func (redisLog) Printf(_ context.Context, format string, v ...any) {
	slog.Debug(fmt.Sprintf(format, v...), "component", "redis client")
}

var quietRedis = sync.OnceFunc(func() { redis.SetLogger(redisLog{}) })

// backoff is a pause that doubles.
type backoff struct{ first, limit, next time.Duration }

func (b *backoff) reset() { b.next = 0 }

func (b *backoff) sleep(ctx context.Context) {
	b.next = min(max(b.next*2, b.first), b.limit)
	t := time.NewTimer(b.next)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// quiet logs a burst of errors once a second, with their number.
type quiet struct {
	mu    sync.Mutex
	last  time.Time
	swept int
}

func (q *quiet) report(log *slog.Logger, what string, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if time.Since(q.last) < time.Second {
		q.swept++
		return
	}
	log.Error(what, "err", err, "others", q.swept)
	q.last, q.swept = time.Now(), 0
}
