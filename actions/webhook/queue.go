package webhook

import (
	"sync"

	"stillwatch/internal/event"
)

// queue holds the newest events, up to size.
type queue struct {
	size  int
	ready chan struct{} // holds a token while there may be something

	mu   sync.Mutex
	list []event.Envelope
}

func newQueue(size int) *queue { return &queue{size: size, ready: make(chan struct{}, 1)} }

// push adds an event and tells whether the oldest had to go for it.
func (q *queue) push(ev event.Envelope) (dropped bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.list) == q.size {
		q.list, dropped = q.list[1:], true
	}
	q.list = append(q.list, ev)
	q.signal()
	return dropped
}

// pop takes the oldest event.
func (q *queue) pop() (ev event.Envelope, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.list) == 0 {
		return ev, false
	}
	ev, q.list = q.list[0], q.list[1:]
	if len(q.list) > 0 {
		q.signal()
	}
	return ev, true
}

func (q *queue) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}
