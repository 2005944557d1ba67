// Package peer keeps the connections to other people's queues, one for each
// hook, and puts what went wrong with them into words that hold no secret.
package peer

import (
	"errors"
	"io"
	"sync"
)

// ErrClosed means that the pool was closed.
var ErrClosed = errors.New("closed")

// Pool holds a peer for each hook, made for the settings that the hook has:
// when they change, the peer is replaced. A peer that is replaced or forgotten
// while in use is closed when its last user is done. The zero value with Open
// is ready.
type Pool[S comparable, P io.Closer] struct {
	// Open makes a peer. It must not block: connecting is for the first use.
	Open func(S) (P, error)

	mu     sync.Mutex
	peers  map[string]*entry[S, P]
	closed bool
}

type entry[S comparable, P io.Closer] struct {
	peer     P
	settings S
	users    int
	// gone means that it is in the pool no more.
	gone bool
}

// Get returns the hook's peer; release must be called after use.
func (p *Pool[S, P]) Get(hookID string, settings S) (peer P, release func(), err error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return peer, nil, ErrClosed
	}
	e := p.peers[hookID]
	var old *entry[S, P]
	if e != nil && e.settings != settings {
		old, e = p.remove(hookID), nil
	}
	if e == nil {
		made, err := p.Open(settings)
		if err != nil {
			p.mu.Unlock()
			old.shut()
			return peer, nil, err
		}
		if p.peers == nil {
			p.peers = map[string]*entry[S, P]{}
		}
		e = &entry[S, P]{peer: made, settings: settings}
		p.peers[hookID] = e
	}
	e.users++
	p.mu.Unlock()
	old.shut()
	return e.peer, func() { p.release(e) }, nil
}

// remove takes the hook's peer out and returns it if it is to be closed now.
func (p *Pool[S, P]) remove(hookID string) *entry[S, P] {
	e := p.peers[hookID]
	if e == nil {
		return nil
	}
	delete(p.peers, hookID)
	e.gone = true
	if e.users > 0 {
		return nil
	}
	return e
}

// shut closes a peer that nobody uses; nobody is there to hear of an error.
func (e *entry[S, P]) shut() {
	if e != nil {
		_ = e.peer.Close()
	}
}

func (p *Pool[S, P]) release(e *entry[S, P]) {
	p.mu.Lock()
	e.users--
	last := e.gone && e.users == 0
	p.mu.Unlock()
	if last {
		e.shut()
	}
}

// Forget closes the hook's peer, for delivery.Forgetter.
func (p *Pool[S, P]) Forget(hookID string) {
	p.mu.Lock()
	e := p.remove(hookID)
	p.mu.Unlock()
	e.shut()
}

// Close closes all peers; those in use break off. It may be called twice.
func (p *Pool[S, P]) Close() error {
	p.mu.Lock()
	peers := p.peers
	p.closed, p.peers = true, nil
	p.mu.Unlock()
	var errs []error
	for _, e := range peers {
		errs = append(errs, e.peer.Close())
	}
	return errors.Join(errs...)
}
