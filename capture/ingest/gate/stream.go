package gate

import "time"

// Stream is one RTP stream of a session.
type Stream struct {
	session   *Session
	ssrc      uint32
	clockRate int64
	rtx       *Stream // carries this one's retransmissions
	repairs   *Stream // the one whose retransmissions this carries

	// Below, all guarded by session.mu.

	open       bool
	passedSeq  uint16
	passedAt   time.Time
	bytes      uint64
	packets    uint64
	lastAt     time.Time
	started    bool
	cycles     uint32
	maxSeq     uint16
	baseSeq    uint32
	jitter     float64
	transit    int64
	expPrior   uint32
	recvPrior  uint32
	lastSR     uint32
	lastSRAt   time.Time
	missing    missing
	keyframeAt time.Time
}

// Stats is what is known of a stream without decrypting it.
type Stats struct {
	// Packets and Bytes count what arrived, passed or not.
	Packets, Bytes uint64
	// Lost is how many packets of the sequence did not arrive.
	Lost int64
	// Jitter is the interarrival jitter of RFC 3550, section 6.4.1.
	Jitter time.Duration
	// LastAt is when the last packet arrived.
	LastAt time.Time
}

// SSRC returns the stream's SSRC.
func (st *Stream) SSRC() uint32 { return st.ssrc }

// SetOpen lets the stream's packets and retransmissions through, or not. What
// is missing is still asked for when an open stream is opened again.
func (st *Stream) SetOpen(open bool) {
	st.session.mu.Lock()
	defer st.session.mu.Unlock()
	if st.open != open {
		st.open = open
		st.missing.reset()
	}
}

// SetRTX registers the stream that carries retransmissions, once it is known.
func (st *Stream) SetRTX(ssrc uint32) {
	st.session.mu.Lock()
	defer st.session.mu.Unlock()
	st.session.addRTXLocked(st, ssrc)
}

// Repaired tells that a packet came as a retransmission of its own stream
// (RFC 4588), where only the decrypted payload says which one it is.
func (st *Stream) Repaired(seq uint16) {
	st.session.mu.Lock()
	defer st.session.mu.Unlock()
	st.missing.arrived(seq)
}

// Stats returns the counts so far.
func (st *Stream) Stats() Stats {
	st.session.mu.Lock()
	defer st.session.mu.Unlock()
	s := Stats{Packets: st.packets, Bytes: st.bytes, LastAt: st.lastAt}
	if st.started {
		s.Lost = int64(st.extended()-st.baseSeq) + 1 - int64(st.packets)
		s.Jitter = time.Duration(st.jitter / float64(max(st.clockRate, 1)) * float64(time.Second))
	}
	return s
}

// AllowKeyframeRequest tells whether a keyframe may be asked for now, and
// notes it: requests closer than gap gain nothing.
func (st *Stream) AllowKeyframeRequest(now time.Time, gap time.Duration) bool {
	st.session.mu.Lock()
	defer st.session.mu.Unlock()
	if !st.keyframeAt.IsZero() && now.Sub(st.keyframeAt) < gap {
		return false
	}
	st.keyframeAt = now
	return true
}

// count updates the reception statistics (RFC 3550, appendix A.1, A.8).
func (st *Stream) count(h *header, size int, at time.Time) {
	st.packets++
	st.bytes += uint64(size)
	st.lastAt = at
	arrival := at.UnixNano() / 1000 * st.clockRate / 1_000_000
	transit := arrival - int64(h.timestamp)
	if !st.started {
		st.started, st.maxSeq, st.baseSeq = true, h.seq, uint32(h.seq)
		st.transit = transit
		return
	}
	ahead := int16(h.seq - st.maxSeq)
	switch {
	case ahead > 0:
		if st.open && st.repairs == nil {
			st.missing.gap(st.maxSeq+1, h.seq, at)
		}
		if h.seq < st.maxSeq {
			st.cycles += 1 << 16
		}
		st.maxSeq = h.seq
	default:
		st.missing.arrived(h.seq)
	}
	d := int64(int32(transit - st.transit))
	st.transit = transit
	if d < 0 {
		d = -d
	}
	st.jitter += (float64(d) - st.jitter) / 16
}

func (st *Stream) extended() uint32 { return st.cycles + uint32(st.maxSeq) }

// wants tells whether the packet goes on to decryption.
func (st *Stream) wants(seq uint16, at time.Time) bool {
	open := st.open || st.repairs != nil && st.repairs.open
	if !open && seq-st.passedSeq < PassEvery && at.Sub(st.passedAt) < PassAfter {
		return false
	}
	st.passedSeq, st.passedAt = seq, at
	return true
}
