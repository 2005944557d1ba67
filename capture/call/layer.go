package call

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
)

// maxPacket is the size of the largest packet read, in bytes.
const maxPacket = 2048

// Source is one RTP stream of a publisher.
type Source interface {
	// Read returns the next decrypted packet, or an error when there will be
	// none any more.
	Read(p []byte) (int, error)
	// SetOpen tells whether packets are wanted. While they are not, few or
	// none come out of Read.
	SetOpen(open bool)
	// LastPacket is when the last packet arrived, wanted or not.
	LastPacket() time.Time
	// Rate is the stream's bytes per second, wanted or not, and whether
	// enough was seen to compare it.
	Rate() (float64, bool)
	// RequestKeyframe and RequestPackets ask the publisher, without waiting.
	RequestKeyframe()
	RequestPackets(seqs []uint16)
}

// LayerConfig describes a layer of a track.
type LayerConfig struct {
	// RID names the layer, empty without simulcast.
	RID string
	// Order is the layer's place in the offer, from 0.
	Order  int
	Source Source
}

// layer hands the packets of one source to all who tap it.
type layer struct {
	track *Track
	cfg   LayerConfig
	sinks atomic.Pointer[[]*sink]

	mu sync.Mutex // guards changes of sinks
}

type sink struct {
	fn      func(p *rtp.Packet, at time.Time)
	stopped atomic.Bool
}

// run reads until the source ends. It allocates nothing per packet.
func (l *layer) run() {
	buf := make([]byte, maxPacket)
	var p rtp.Packet
	for {
		n, err := l.cfg.Source.Read(buf)
		if err != nil {
			return
		}
		at := time.Now()
		sinks := *l.sinks.Load()
		if len(sinks) == 0 || l.track.gone.Load() || l.track.silenced.Load() {
			continue
		}
		p = rtp.Packet{Header: rtp.Header{CSRC: p.CSRC[:0], Extensions: p.Extensions[:0]}}
		if err := p.Unmarshal(buf[:n]); err != nil {
			continue
		}
		for _, s := range sinks {
			if !s.stopped.Load() {
				s.fn(&p, at)
			}
		}
	}
}

func (l *layer) tap(fn func(p *rtp.Packet, at time.Time)) (stop func()) {
	s := &sink{fn: fn}
	l.change(func(list []*sink) []*sink { return append(list, s) })
	return func() {
		if s.stopped.Swap(true) {
			return
		}
		l.change(func(list []*sink) []*sink {
			return slices.DeleteFunc(list, func(other *sink) bool { return other == s })
		})
	}
}

func (l *layer) change(f func([]*sink) []*sink) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := f(slices.Clone(*l.sinks.Load()))
	l.sinks.Store(&next)
	l.updateLocked()
}

// update opens the source while someone taps and nobody muted the track.
func (l *layer) update() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.updateLocked()
}

func (l *layer) updateLocked() {
	l.cfg.Source.SetOpen(len(*l.sinks.Load()) > 0 && !l.track.silenced.Load() && !l.track.gone.Load())
}
