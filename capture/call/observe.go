package call

import (
	"context"
	"sync"
)

// queue calls functions one after the other in the order they were put.
type queue struct {
	wake chan struct{}

	mu    sync.Mutex
	calls []func()
}

func (q *queue) put(f func()) {
	q.mu.Lock()
	q.calls = append(q.calls, f)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// run calls until ctx ends, and then what is still waiting.
func (q *queue) run(ctx context.Context) {
	for {
		q.mu.Lock()
		calls := q.calls
		q.calls = nil
		q.mu.Unlock()
		for _, f := range calls {
			f()
		}
		if len(calls) > 0 {
			continue
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
			q.mu.Lock()
			rest := len(q.calls)
			q.mu.Unlock()
			if rest == 0 {
				return
			}
		}
	}
}

type subscription struct {
	cid, userID string

	mu       sync.Mutex
	stopped  bool
	observer TrackObserver
}

func (s *subscription) tell(f func(TrackObserver)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopped {
		f(s.observer)
	}
}

func (s *subscription) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
}

func (r *Registry) tellSessionsLocked(f func(SessionObserver)) {
	for _, o := range r.cfg.Sessions {
		r.queue.put(func() { f(o) })
	}
}

// tellTrackLocked tells the observers of video tracks and those of all tracks,
// and who subscribed to the user.
func (r *Registry) tellTrackLocked(t *Track, f func(TrackObserver)) {
	if t.video {
		for _, o := range r.cfg.Tracks {
			r.queue.put(func() { f(o) })
		}
	}
	for _, o := range r.cfg.Media {
		r.queue.put(func() { f(o) })
	}
	for s := range r.subs {
		if s.cid == t.info.CID && s.userID == t.info.UserID {
			r.queue.put(func() { s.tell(f) })
		}
	}
}
