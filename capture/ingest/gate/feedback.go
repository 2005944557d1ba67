package gate

import (
	"time"

	"github.com/pion/rtcp"
)

// Intervals of the feedback.
const (
	// FeedbackInterval is how often Feedback should be called.
	FeedbackInterval = 100 * time.Millisecond
	// ReportInterval is how often receiver reports are made.
	ReportInterval = time.Second
	maxReports     = 31 // RFC 3550, section 6.4.2: the count has five bits
)

// Feedback returns the RTCP packets that the publisher is owed now: transport
// feedback of all packets since the last call, once a second a receiver
// report, and requests for lost packets of open streams.
func (s *Session) Feedback(now time.Time) []rtcp.Packet {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut {
		return nil
	}
	var out []rtcp.Packet
	if now.Sub(s.reported) >= ReportInterval {
		s.reported = now
		if rr := s.reportLocked(now); rr != nil {
			out = append(out, rr)
		}
	}
	if s.fresh {
		s.fresh = false
		out = append(out, s.recorder.BuildFeedbackPacket()...)
	}
	return append(out, s.nacksLocked(now)...)
}

// Nacks returns only the requests for lost packets of open streams. It may be
// called more often than Feedback.
func (s *Session) Nacks(now time.Time) []rtcp.Packet {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut {
		return nil
	}
	return s.nacksLocked(now)
}

func (s *Session) nacksLocked(now time.Time) []rtcp.Packet {
	var out []rtcp.Packet
	for ssrc, st := range s.streams {
		if !st.open || len(st.missing.list) == 0 {
			continue
		}
		if pairs := st.missing.due(now); len(pairs) > 0 {
			out = append(out, &rtcp.TransportLayerNack{SenderSSRC: s.ssrc, MediaSSRC: ssrc, Nacks: pairs})
		}
	}
	return out
}

func (s *Session) reportLocked(now time.Time) rtcp.Packet {
	var reports []rtcp.ReceptionReport
	for _, st := range s.streams {
		if st.started && len(reports) < maxReports {
			reports = append(reports, st.report(now))
		}
	}
	if len(reports) == 0 {
		return nil
	}
	return &rtcp.ReceiverReport{SSRC: s.ssrc, Reports: reports}
}

// report makes a reception report (RFC 3550, section 6.4.2 and appendix A.3).
func (st *Stream) report(now time.Time) rtcp.ReceptionReport {
	expected := st.extended() - st.baseSeq + 1
	received := uint32(st.packets)
	lost := int64(expected) - int64(received)
	expDelta, recvDelta := expected-st.expPrior, received-st.recvPrior
	st.expPrior, st.recvPrior = expected, received
	var fraction uint8
	if lostDelta := int64(expDelta) - int64(recvDelta); expDelta > 0 && lostDelta > 0 {
		fraction = uint8(min(lostDelta<<8/int64(expDelta), 255))
	}
	r := rtcp.ReceptionReport{
		SSRC: st.ssrc, FractionLost: fraction,
		TotalLost:          uint32(min(max(lost, 0), 1<<23-1)),
		LastSequenceNumber: st.extended(),
		Jitter:             uint32(st.jitter),
	}
	if !st.lastSRAt.IsZero() {
		r.LastSenderReport = st.lastSR
		r.Delay = uint32(max(now.Sub(st.lastSRAt), 0) * 65536 / time.Second)
	}
	return r
}
