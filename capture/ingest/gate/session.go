package gate

import (
	"net/netip"
	"sync"
	"time"

	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
)

// Session is one publisher's connection as the gate sees it: the addresses it
// sends from, its streams, and the feedback that it is owed.
type Session struct {
	gate *Gate
	ssrc uint32 // our SSRC in feedback

	mu       sync.Mutex
	sources  []source
	streams  map[uint32]*Stream
	unknown  map[uint32]struct{}
	bucket   bucket
	twccID   uint8
	recorder *twcc.Recorder
	fresh    bool // packets were recorded since the last feedback
	cut      bool
	closed   bool
	reported time.Time
}

// NewSession makes a session. ssrc is the sender SSRC of its feedback; twccID
// is the negotiated id of the transport-wide sequence number extension
// (draft-holmer-rmcat-transport-wide-cc-extensions-01), 0 if it was not.
func (g *Gate) NewSession(ssrc uint32, twccID uint8) *Session {
	return &Session{
		gate: g, ssrc: ssrc, twccID: twccID,
		streams: make(map[uint32]*Stream), unknown: make(map[uint32]struct{}),
		recorder: twcc.NewRecorder(ssrc),
	}
}

// Bind tells that packets from an address are the session's. An address
// belongs to the session that bound it last. The latest four are kept, so
// that a change of path loses nothing.
func (s *Session) Bind(addr netip.AddrPort, tcp bool) {
	src := source{addr: unmap(addr), tcp: tcp}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	var old []source
	known := false
	for _, have := range s.sources {
		known = known || have == src
	}
	if !known {
		s.sources = append(s.sources, src)
		if n := len(s.sources) - 4; n > 0 {
			old = append(old, s.sources[:n]...)
			s.sources = append(s.sources[:0], s.sources[n:]...)
		}
	}
	s.mu.Unlock()
	s.gate.bind(src, s)
	s.gate.unbind(s, old)
}

// Cut drops everything that the session sends from now on.
func (s *Session) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = true
}

// Close forgets the session. It may be called twice.
func (s *Session) Close() {
	s.mu.Lock()
	srcs := s.sources
	s.sources, s.closed, s.cut = nil, true, true
	s.mu.Unlock()
	s.gate.unbind(s, srcs)
}

// AddStream registers a stream and, if rtx is not 0, the stream that carries
// its retransmissions (RFC 4588). The gate is closed for it until SetOpen.
// clockRate is the RTP clock in Hz.
func (s *Session) AddStream(ssrc, rtx uint32, clockRate uint32) *Stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := &Stream{session: s, ssrc: ssrc, clockRate: int64(clockRate)}
	s.streams[ssrc] = st
	delete(s.unknown, ssrc)
	s.addRTXLocked(st, rtx)
	return st
}

func (s *Session) addRTXLocked(st *Stream, rtx uint32) {
	if rtx == 0 || st.rtx != nil {
		return
	}
	st.rtx = &Stream{session: s, ssrc: rtx, clockRate: st.clockRate, repairs: st}
	s.streams[rtx] = st.rtx
	delete(s.unknown, rtx)
}

func (s *Session) admit(b []byte, at time.Time) verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut {
		return cut
	}
	if !s.bucket.take(at, s.gate.cfg.MaxRate) {
		return flood
	}
	if !isRTP(b) {
		return other
	}
	var h header
	h.parse(b, s.twccID)
	if h.hasTWCC {
		s.recorder.Record(h.ssrc, h.twcc, at.UnixMicro())
		s.fresh = true
	}
	st := s.streams[h.ssrc]
	if st == nil {
		return s.admitUnknownLocked(h.ssrc)
	}
	st.count(&h, len(b), at)
	if st.wants(h.seq, at) || s.gate.cfg.Disabled {
		return pass
	}
	return drop
}

func (s *Session) admitUnknownLocked(ssrc uint32) verdict {
	if _, known := s.unknown[ssrc]; !known {
		if len(s.unknown) >= maxUnknownSSRCs {
			return flood
		}
		s.unknown[ssrc] = struct{}{}
	}
	return other
}

// SenderReport takes the publisher's clock for a stream from its RTCP sender
// report (RFC 3550, section 6.4.1).
func (s *Session) SenderReport(sr *rtcp.SenderReport, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.streams[sr.SSRC]; st != nil {
		st.lastSR, st.lastSRAt = uint32(sr.NTPTime>>16), at
	}
}
