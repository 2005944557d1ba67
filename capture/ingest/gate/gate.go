// Package gate drops the media packets that nobody wants before they are
// decrypted.
//
// It stands below the ICE muxes and reads what an RTP packet shows in clear
// (RFC 3711 encrypts the payload only): the sender's address, the SSRC, the
// sequence number, the timestamp and the header extensions. That is enough to
// know whose packet it is, to count it, and to make the feedback the
// publisher's congestion control lives on, so that a publisher whom nobody
// watches at this moment still sees the network as it is.
package gate

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of Config.
const (
	// DefaultMaxRate is the default bound of packets per second of a session.
	// Three simulcast layers of 1080p with audio are about 1500.
	DefaultMaxRate = 6000
	// DefaultMaxUnknownRate is the default bound of packets per second of
	// the sources that belong to no session, for each slot of the table.
	DefaultMaxUnknownRate = 2000
	// PassEvery is the greatest distance in sequence numbers between two
	// packets that pass a closed gate. SRTP's receiver guesses the rollover
	// counter from the last packet it saw (RFC 3711, section 3.3.1) and is
	// right while the distance stays below 32768.
	PassEvery = 8192
	// PassAfter is the longest time without a passed packet on a stream that
	// flows: the ICE agent takes it as a sign of life.
	PassAfter = 2 * time.Second
	// maxUnknownSSRCs bounds how many SSRCs that were not registered may
	// reach the SRTP session, which keeps state for each.
	maxUnknownSSRCs = 64
	unknownSlots    = 1024
)

// Config sets a Gate's bounds. Zero values mean the defaults.
type Config struct {
	// MaxRate is how many packets per second a session may send; what is
	// above is dropped and counted.
	MaxRate int
	// MaxUnknownRate is the same for sources that belong to no session.
	// Their state is a table of fixed size.
	MaxUnknownRate int
	// Disabled passes every packet that is not part of a flood. Feedback is
	// made all the same.
	Disabled bool
}

// Counters tell what went through the gate since it was made.
type Counters struct {
	// Passed and Dropped are RTP packets of registered streams that went on
	// to decryption, or did not because nobody wanted them.
	Passed, Dropped uint64
	// Flooded are packets above the rate bounds, or of too many SSRCs.
	Flooded uint64
	// Cut are packets of sessions that were cut off.
	Cut uint64
	// Other are packets that are not of a registered stream and passed:
	// STUN, DTLS, RTCP, first packets of a stream.
	Other uint64
}

// Gate decides packet by packet. Its methods may be called from any goroutine.
type Gate struct {
	cfg      Config
	seed     maphash.Seed
	counters struct{ passed, dropped, flooded, cut, other atomic.Uint64 }

	mu       sync.RWMutex
	sessions map[source]*Session

	unknownMu sync.Mutex
	unknown   [unknownSlots]bucket
}

// source is where packets come from.
type source struct {
	addr netip.AddrPort
	tcp  bool
}

// New makes a gate.
func New(cfg Config) *Gate {
	if cfg.MaxRate <= 0 {
		cfg.MaxRate = DefaultMaxRate
	}
	if cfg.MaxUnknownRate <= 0 {
		cfg.MaxUnknownRate = DefaultMaxUnknownRate
	}
	return &Gate{cfg: cfg, seed: maphash.MakeSeed(), sessions: make(map[source]*Session)}
}

// Counters returns the counts so far.
func (g *Gate) Counters() Counters {
	c := &g.counters
	return Counters{
		Passed: c.passed.Load(), Dropped: c.dropped.Load(), Flooded: c.flooded.Load(),
		Cut: c.cut.Load(), Other: c.other.Load(),
	}
}

// Admit tells whether a packet that arrived from an address goes on.
func (g *Gate) Admit(b []byte, from netip.AddrPort, tcp bool, at time.Time) bool {
	src := source{addr: unmap(from), tcp: tcp}
	g.mu.RLock()
	s := g.sessions[src]
	g.mu.RUnlock()
	var v verdict
	if s == nil {
		v = g.admitUnknown(src, at)
	} else {
		v = s.admit(b, at)
	}
	switch v {
	case pass:
		g.counters.passed.Add(1)
	case drop:
		g.counters.dropped.Add(1)
	case flood:
		g.counters.flooded.Add(1)
	case cut:
		g.counters.cut.Add(1)
	case other:
		g.counters.other.Add(1)
	}
	return v == pass || v == other
}

// admitUnknown bounds the packets of sources without a session. Sources share
// slots by their hash, so the state does not grow with the number of sources.
func (g *Gate) admitUnknown(src source, at time.Time) verdict {
	slot := maphash.Comparable(g.seed, src) % unknownSlots
	g.unknownMu.Lock()
	defer g.unknownMu.Unlock()
	if !g.unknown[slot].take(at, g.cfg.MaxUnknownRate) {
		return flood
	}
	return other
}

func (g *Gate) bind(src source, s *Session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sessions[src] = s
}

func (g *Gate) unbind(s *Session, srcs []source) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, src := range srcs {
		if g.sessions[src] == s {
			delete(g.sessions, src)
		}
	}
}

type verdict uint8

const (
	pass  verdict = iota // RTP of a registered stream, wanted
	drop                 // RTP of a registered stream, not wanted
	flood                // above a bound
	cut                  // of a session that was cut off
	other                // not RTP of a registered stream
)

// bucket counts packets in windows of a tenth of a second.
type bucket struct {
	window int64
	count  int
}

// take counts one packet and tells whether it is within rate packets per
// second. A burst may use one second's worth in a window.
func (b *bucket) take(at time.Time, rate int) bool {
	w := at.UnixMilli() / 100
	if d := w - b.window; d > 0 || d < -50 { // or the clock was set back
		b.count = max(0, b.count-int(min(max(d, 1), 10))*rate/10)
		b.window = w
	}
	if b.count >= rate {
		return false
	}
	b.count++
	return true
}

func unmap(a netip.AddrPort) netip.AddrPort {
	if a.Addr().Is4In6() {
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	}
	return a
}
