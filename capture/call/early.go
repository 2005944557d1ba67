package call

import (
	"bytes"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of what a layer keeps for whoever taps it first: those who record
// learn of a track after its first packets came, which hold the keyframe.
const (
	earlyFor     = 500 * time.Millisecond
	earlyPackets = 512
)

// early are the first packets of a layer.
type early struct {
	active atomic.Bool

	mu      sync.Mutex
	until   time.Time
	packets []earlyPacket
}

type earlyPacket struct {
	b  []byte
	at time.Time
}

// keep holds a packet back, and delivers it as well. It answers false when the
// time for that is over.
func (e *early) keep(b []byte, at time.Time, deliver func(b []byte, at time.Time)) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.active.Load() {
		return false
	}
	if at.After(e.until) || len(e.packets) == earlyPackets {
		e.endLocked()
		return false
	}
	e.packets = append(e.packets, earlyPacket{bytes.Clone(b), at})
	deliver(b, at)
	return true
}

// replay adds a sink and gives it what was kept, if it is the first.
func (e *early) replay(add func(), fn func(b []byte, at time.Time)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range e.packets {
		fn(p.b, p.at)
	}
	add()
	e.endLocked()
}

func (e *early) endLocked() {
	e.active.Store(false)
	e.packets = nil
}
