package service

import (
	"context"
	"sync"
)

// Tasks are the goroutines of a part: they run until Close, which ends their
// context and waits for them. The zero value is ready to use.
type Tasks struct {
	mu     sync.Mutex
	ctx    context.Context
	cancel context.CancelFunc
	closed bool
	wg     sync.WaitGroup
}

// Go runs the functions, each in a goroutine. It tells whether it did: after
// Close it does nothing.
func (t *Tasks) Go(fns ...func(ctx context.Context)) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	if t.ctx == nil {
		t.ctx, t.cancel = context.WithCancel(context.Background())
	}
	for _, fn := range fns {
		t.wg.Go(func() { fn(t.ctx) })
	}
	return true
}

// Close ends the tasks' context and waits for them.
func (t *Tasks) Close() error {
	t.mu.Lock()
	t.closed = true
	if t.cancel != nil {
		t.cancel()
	}
	t.mu.Unlock()
	t.wg.Wait()
	return nil
}
