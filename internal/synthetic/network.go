package synthetic

import (
	"math/rand/v2"
	"sync"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
)

// network is a bad one: between the publisher and the wire it drops packets,
// those sent again as well, and swaps neighbours.
type network struct {
	interceptor.NoOp
	loss, swap float64
	lost       func()
}

// NewInterceptor implements interceptor.Factory.
func (n *network) NewInterceptor(string) (interceptor.Interceptor, error) { return n, nil }

// BindLocalStream implements interceptor.Interceptor.
func (n *network) BindLocalStream(_ *interceptor.StreamInfo, next interceptor.RTPWriter) interceptor.RTPWriter {
	var mu sync.Mutex
	var held []*rtp.Packet
	return interceptor.RTPWriterFunc(func(h *rtp.Header, payload []byte, a interceptor.Attributes) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		if rand.Float64() < n.loss {
			n.lost()
			return h.MarshalSize() + len(payload), nil
		}
		if len(held) == 0 && rand.Float64() < n.swap {
			held = append(held, (&rtp.Packet{Header: *h, Payload: payload}).Clone())
			return h.MarshalSize() + len(payload), nil
		}
		size, err := next.Write(h, payload, a)
		for _, p := range held {
			if err == nil {
				_, err = next.Write(&p.Header, p.Payload, a)
			}
		}
		held = nil
		return size, err
	})
}
