package web

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"stillwatch/internal/auth"
	"stillwatch/web/api"
)

const (
	// serverShare is how many times a user's limit the backend has: its token
	// speaks for all users.
	serverShare = 20
	// maxBuckets bounds how many callers are remembered. Who is forgotten
	// begins anew with a full bucket.
	maxBuckets = 50_000
	// limitedAs is the name of the one limit, over all operations.
	limitedAs = "api"
)

// limiter is a token bucket for every caller: a minute's requests at once, and
// then as they come in again.
type limiter struct {
	perMinute int // of a user; 0 is no limit
	now       func() time.Time

	mu      sync.Mutex
	buckets map[string]*bucket
}

// bucket is what a caller has left, as of a moment.
type bucket struct {
	left float64
	at   time.Time
}

// allowance is what an answer tells of a caller's bucket.
type allowance struct {
	limit, remaining int
	// full is when the bucket is full again; next when the next request is
	// taken, zero when it is at once.
	full time.Time
	next time.Duration
}

func newLimiter(perMinute int, now func() time.Time) *limiter {
	return &limiter{perMinute: perMinute, now: now, buckets: map[string]*bucket{}}
}

func (l *limiter) limitOf(id auth.Identity) (key string, limit int) {
	if id.Server {
		return "server", l.perMinute * serverShare
	}
	return "user:" + id.UserID, l.perMinute
}

// take takes a request out of the caller's bucket, or only looks with cost 0.
// ok is false when there is none left.
func (l *limiter) take(id auth.Identity, cost float64) (a allowance, ok bool) {
	key, limit := l.limitOf(id)
	now, perSecond := l.now(), float64(limit)/60
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[key]
	if b == nil {
		b = &bucket{left: float64(limit), at: now}
		l.rememberLocked(key, b)
	}
	if passed := now.Sub(b.at).Seconds(); passed > 0 {
		b.left, b.at = min(float64(limit), b.left+passed*perSecond), now
	}
	if ok = b.left >= cost; ok {
		b.left -= cost
	}
	seconds := func(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
	a = allowance{limit: limit, remaining: int(b.left), full: now.Add(seconds((float64(limit) - b.left) / perSecond))}
	if !ok {
		a.next = seconds((cost - b.left) / perSecond)
	}
	return a, ok
}

// rememberLocked keeps a bucket; when there are too many, any other goes.
func (l *limiter) rememberLocked(key string, b *bucket) {
	if len(l.buckets) >= maxBuckets {
		for other := range l.buckets {
			delete(l.buckets, other)
			break
		}
	}
	l.buckets[key] = b
}

// admit counts the request and refuses it when the caller sent too many.
func (l *limiter) admit(c echo.Context, id auth.Identity) error {
	if l.perMinute <= 0 {
		return nil
	}
	a, ok := l.take(id, 1)
	h := c.Response().Header()
	h.Set("X-Ratelimit-Limit", strconv.Itoa(a.limit))
	h.Set("X-Ratelimit-Remaining", strconv.Itoa(a.remaining))
	h.Set("X-Ratelimit-Reset", strconv.FormatInt(ceil(a.full), 10))
	if ok {
		return nil
	}
	wait := strconv.Itoa(max(1, int(math.Ceil(a.next.Seconds()))))
	h.Set("Retry-After", wait)
	return fail(http.StatusTooManyRequests, CodeRateLimit, "too many requests: more than %d a minute; come again in %s s", a.limit, wait)
}

// ceil is t in whole seconds since 1970, not before t.
func ceil(t time.Time) int64 {
	if t.Nanosecond() > 0 {
		return t.Unix() + 1
	}
	return t.Unix()
}

// GetRateLimits tells the caller's limit and what is left of it, and what a
// user has. Both are empty when there is no limit.
func (s *Server) GetRateLimits(ctx context.Context, _ api.GetRateLimitsRequestObject) (api.GetRateLimitsResponseObject, error) {
	out := api.GetRateLimits200JSONResponse{ServerSide: map[string]api.RateLimit{}, ClientSide: map[string]api.RateLimit{}}
	if s.limits.perMinute <= 0 {
		return out, nil
	}
	shown := func(a allowance) api.RateLimit {
		return api.RateLimit{Limit: a.limit, Remaining: a.remaining, Reset: int(ceil(a.full))}
	}
	server, _ := s.limits.take(auth.Identity{Server: true}, 0)
	out.ServerSide[limitedAs] = shown(server)
	user, now := callerOf(ctx), s.limits.now()
	out.ClientSide[limitedAs] = shown(allowance{limit: s.limits.perMinute, remaining: s.limits.perMinute, full: now})
	if !user.Server {
		own, _ := s.limits.take(user, 0)
		out.ClientSide[limitedAs] = shown(own)
	}
	return out, nil
}
