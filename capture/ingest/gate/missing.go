package gate

import (
	"slices"
	"time"

	"github.com/pion/rtcp"
)

// Bounds of the requests for retransmission.
const (
	maxMissing   = 128
	nackTries    = 4
	nackInterval = 60 * time.Millisecond
	nackAge      = 700 * time.Millisecond
)

// missing are the sequence numbers that are asked for again.
type missing struct {
	list []lost
}

type lost struct {
	seq   uint16
	tries int
	since time.Time
	asked time.Time
}

func (m *missing) reset() { m.list = m.list[:0] }

// gap notes the sequence numbers from first up to, not including, end. A jump
// that cannot be repaired in time is left to a keyframe.
func (m *missing) gap(first, end uint16, at time.Time) {
	n := int(end - first)
	if n == 0 {
		return
	}
	if n+len(m.list) > maxMissing {
		m.reset()
		return
	}
	for seq := first; seq != end; seq++ {
		m.list = append(m.list, lost{seq: seq, since: at})
	}
}

func (m *missing) arrived(seq uint16) {
	if i := slices.IndexFunc(m.list, func(l lost) bool { return l.seq == seq }); i >= 0 {
		m.list = slices.Delete(m.list, i, i+1)
	}
}

// due returns what is to be asked for now.
func (m *missing) due(now time.Time) []rtcp.NackPair {
	if len(m.list) == 0 {
		return nil
	}
	m.list = slices.DeleteFunc(m.list, func(l lost) bool {
		return l.tries >= nackTries || now.Sub(l.since) > nackAge
	})
	var seqs []uint16
	for i := range m.list {
		l := &m.list[i]
		if now.Sub(l.asked) >= nackInterval {
			l.asked = now
			l.tries++
			seqs = append(seqs, l.seq)
		}
	}
	return rtcp.NackPairsFromSequenceNumbers(seqs)
}
