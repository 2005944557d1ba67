// Package service is the one start and stop contract of every long-lived part.
package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Service is a part that runs until it is closed.
//
// Start returns once the part is ready, or with the reason why it cannot be;
// ctx bounds the starting, not the running. Close stops the part, waits for
// every goroutine that it started, and may be called twice and before Start.
type Service interface {
	Start(ctx context.Context) error
	Close() error
}

// Group starts its services in the order they were added and closes them in
// the reverse order. The zero value is ready to use.
type Group struct {
	mu      sync.Mutex
	added   []named
	started []named
}

type named struct {
	name string
	Service
}

// Add appends a service. It panics on a nil service, which is a wiring bug.
func (g *Group) Add(name string, s Service) {
	if s == nil {
		panic("service: nil service " + name)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.added = append(g.added, named{name, s})
}

// Start starts every service added so far. When one fails, those that were
// started before it are closed again and its error is returned with its name.
func (g *Group) Start(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.added) > 0 {
		next := g.added[0]
		if err := next.Start(ctx); err != nil {
			return errors.Join(fmt.Errorf("start %s: %w", next.name, err), next.Close(), g.closeLocked())
		}
		g.added = g.added[1:]
		g.started = append(g.started, next)
	}
	return nil
}

// Close closes the started services in reverse order and joins their errors.
func (g *Group) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closeLocked()
}

func (g *Group) closeLocked() error {
	var errs []error
	for _, s := range slices.Backward(g.started) {
		if err := s.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", s.name, err))
		}
	}
	g.started = nil
	return errors.Join(errs...)
}

// Func adapts two functions to a Service. Either may be nil.
type Func struct {
	OnStart func(ctx context.Context) error
	OnClose func() error
	once    sync.Once
	err     error
}

// Start calls OnStart.
func (f *Func) Start(ctx context.Context) error {
	if f.OnStart == nil {
		return nil
	}
	return f.OnStart(ctx)
}

// Close calls OnClose once and repeats its answer after that.
func (f *Func) Close() error {
	f.once.Do(func() {
		if f.OnClose != nil {
			f.err = f.OnClose()
		}
	})
	return f.err
}
