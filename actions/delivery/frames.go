package delivery

import (
	"context"
	"strings"
	"sync"
	"time"

	"stillwatch/internal/event"
)

// frameTries is how often a frame is offered to a receiver.
const frameTries = 3

// framePause is the pause before the next try of a frame; it doubles.
const framePause = 250 * time.Millisecond

// maxFrameWait bounds what a receiver's Retry-After does to a frame.
const maxFrameWait = 5 * time.Second

// queue holds the newest events, up to size.
type queue struct {
	size  int
	ready chan struct{} // holds a token while there may be something

	mu      sync.Mutex
	list    []event.Envelope
	ordered bool
	busy    map[string]bool // calls of which a frame is under way
}

func newQueue(size int) *queue {
	return &queue{size: size, ready: make(chan struct{}, 1), busy: map[string]bool{}}
}

// keepOrder makes pop wait with a call's next event for done of the one
// before.
func (q *queue) keepOrder(on bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ordered = on
}

// push adds an event and tells whether the oldest had to go for it.
func (q *queue) push(ev event.Envelope) (dropped bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.list) == q.size {
		q.list[0] = event.Envelope{} // its body is not held on to
		q.list, dropped = q.list[1:], true
	}
	q.list = append(q.list, ev)
	q.signal()
	return dropped
}

// pop takes the oldest event that may go.
func (q *queue) pop() (ev event.Envelope, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, next := range q.list {
		if q.ordered && q.busy[callOf(next)] {
			continue
		}
		copy(q.list[1:i+1], q.list[:i])
		q.list[0] = event.Envelope{}
		q.list = q.list[1:]
		if q.ordered {
			q.busy[callOf(next)] = true
		}
		if len(q.list) > 0 {
			q.signal()
		}
		return next, true
	}
	return ev, false
}

// done frees the event's call.
func (q *queue) done(ev event.Envelope) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if delete(q.busy, callOf(ev)); q.ordered && len(q.list) > 0 {
		q.signal()
	}
}

func (q *queue) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

func callOf(ev event.Envelope) string {
	call, _, _ := strings.Cut(ev.Key, "/")
	return call
}

// sendFrames sends frames one after the other. Only the first of a lane's
// senders goes on while the receiver has too much to do.
func (l *lane) sendFrames(ctx context.Context, first bool) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.frames.ready:
		}
		for l.mayStart(ctx, first) {
			ev, ok := l.frames.pop()
			if !ok {
				break
			}
			l.sendFrame(ctx, ev)
			l.frames.done(ev)
		}
	}
}

// mayStart waits while the receiver is given a rest. It is false at the end,
// and for all but the first sender while the receiver recovers.
func (l *lane) mayStart(ctx context.Context, first bool) bool {
	for ctx.Err() == nil {
		l.mu.Lock()
		room := l.throttle.room(l.s.cfg.Now(), l.s.cfg.PerHook)
		l.mu.Unlock()
		if room > 1 || room == 1 && first {
			return true
		}
		if !first {
			l.frames.signal() // the first one's turn
		}
		select {
		case <-ctx.Done():
		case <-time.After(l.s.cfg.Poll):
		}
	}
	return false
}

// drop counts a frame that this hook does not get.
func (l *lane) drop() {
	l.dropped.Add(1)
	l.s.count.frameDropped.Add(1)
}

// sendFrame tries a frame a few times and then lets it go.
func (l *lane) sendFrame(ctx context.Context, ev event.Envelope) {
	wait := framePause
	for try := 1; ; try++ {
		hook, began := l.settings(), l.s.cfg.Now()
		res := l.s.attempt(ctx, hook, Message{EventID: ev.ID, Type: ev.Type, Key: ev.Key, Attempt: try, Body: ev.Data, Lossy: true})
		if ctx.Err() == nil {
			l.observeFrame(ctx, hook, res, began)
		}
		if res.OK() {
			l.s.count.frames.Add(1)
			return
		}
		l.s.count.frameFailed.Add(1)
		if try == frameTries || ctx.Err() != nil || res.Gone || res.Held || res.Throttled {
			// Throttled: by the end of the rest a newer one is worth more.
			l.drop()
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(max(wait, min(res.RetryAfter, maxFrameWait))):
		}
		wait *= 2
	}
}
