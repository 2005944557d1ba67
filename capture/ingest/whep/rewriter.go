package whep

import (
	"time"

	"github.com/pion/rtp"
)

// rewriter gives the packets of changing sources one run of sequence numbers
// and timestamps.
type rewriter struct {
	begun, running bool
	seqOff         uint16
	tsOff          uint32
	firstIn        uint16 // first sequence number of the source
	highIn         uint16 // newest sequence number of the source
	lastSeq        uint16 // newest sent
	lastTS         uint32
	lastAt         time.Time
}

// restart tells that the next packet is of another source.
func (r *rewriter) restart() { r.running = false }

// next returns the sequence number and timestamp under which a packet is sent,
// or that it is not: one from before the start, or with padding only, which is
// taken out of the count.
func (r *rewriter) next(p *rtp.Packet, at time.Time, clockRate int64) (uint16, uint32, bool) {
	if !r.running {
		r.begin(p, at, clockRate)
	}
	if int16(p.SequenceNumber-r.firstIn) < 0 {
		return 0, 0, false
	}
	newest := int16(p.SequenceNumber-r.highIn) > 0
	if len(p.Payload) == 0 {
		if newest && p.SequenceNumber == r.highIn+1 {
			r.highIn = p.SequenceNumber
			r.firstIn = p.SequenceNumber // what came before has another offset
			r.seqOff--
		}
		return 0, 0, false
	}
	seq, ts := p.SequenceNumber+r.seqOff, p.Timestamp+r.tsOff
	if newest || !r.begun || p.SequenceNumber == r.highIn {
		r.highIn = p.SequenceNumber
		r.lastSeq, r.lastTS, r.lastAt = seq, ts, at
	}
	r.begun = true
	return seq, ts, true
}

func (r *rewriter) begin(p *rtp.Packet, at time.Time, clockRate int64) {
	r.running = true
	r.firstIn, r.highIn = p.SequenceNumber, p.SequenceNumber
	if !r.begun {
		return
	}
	gap := max(at.Sub(r.lastAt), time.Millisecond)
	r.seqOff = r.lastSeq + 1 - p.SequenceNumber
	r.tsOff = r.lastTS + uint32(int64(gap)*clockRate/int64(time.Second)) - p.Timestamp
}
