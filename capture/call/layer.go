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
	sinks atomic.Pointer[sinks]
	early early

	mu sync.Mutex // guards changes of sinks
}

// sinks are all who tap a layer. It is not changed but replaced.
type sinks struct {
	packets []*sink[func(p *rtp.Packet, at time.Time)]
	raw     []*sink[func(b []byte, at time.Time)]
	reports []*sink[func(sr []byte, at time.Time)]
}

// open tells whether packets are wanted. Reports come all the same.
func (s *sinks) open() bool { return len(s.packets)+len(s.raw) > 0 }

type sink[F any] struct {
	fn      F
	stopped atomic.Bool
}

func newLayer(t *Track, cfg LayerConfig) *layer {
	l := &layer{track: t, cfg: cfg}
	l.sinks.Store(&sinks{})
	if t.r != nil && len(t.r.cfg.Media) > 0 {
		l.early.until = time.Now().Add(earlyFor)
		l.early.active.Store(true)
	}
	return l
}

// headerBytes is the shortest an RTP packet can be.
const headerBytes = 12

// run reads until the source ends. It allocates nothing per packet.
func (l *layer) run() {
	buf := make([]byte, maxPacket)
	var p rtp.Packet
	deliver := func(b []byte, at time.Time) { l.deliver(&p, b, at) }
	for {
		n, err := l.cfg.Source.Read(buf)
		if err != nil {
			return
		}
		at := time.Now()
		if n < headerBytes || !l.track.flows() {
			continue
		}
		if l.early.active.Load() {
			if l.early.keep(buf[:n:n], at, deliver) {
				continue
			}
			l.update()
		}
		l.deliver(&p, buf[:n:n], at)
	}
}

// deliver hands a packet to all who tap. p is scratch.
func (l *layer) deliver(p *rtp.Packet, b []byte, at time.Time) {
	list := l.sinks.Load()
	for _, s := range list.raw {
		if !s.stopped.Load() {
			s.fn(b, at)
		}
	}
	if len(list.packets) == 0 {
		return
	}
	*p = rtp.Packet{Header: rtp.Header{CSRC: p.CSRC[:0], Extensions: p.Extensions[:0]}}
	if err := p.Unmarshal(b); err != nil {
		return
	}
	for _, s := range list.packets {
		if !s.stopped.Load() {
			s.fn(p, at)
		}
	}
}

// report hands on a sender report.
func (l *layer) report(sr []byte, at time.Time) {
	if !l.track.flows() {
		return
	}
	for _, s := range l.sinks.Load().reports {
		if !s.stopped.Load() {
			s.fn(sr, at)
		}
	}
}

// tapRaw adds a sink for whole packets.
func (l *layer) tapRaw(fn func(b []byte, at time.Time)) (stop func()) {
	add := func() {
		stop = addSink(l, fn, func(s *sinks) *[]*sink[func([]byte, time.Time)] { return &s.raw })
	}
	if l.early.active.Load() && l.track.flows() {
		l.early.replay(add, fn)
	} else {
		add()
	}
	return stop
}

// addSink adds a sink to the list that of picks.
func addSink[F any](l *layer, fn F, of func(*sinks) *[]*sink[F]) (stop func()) {
	s := &sink[F]{fn: fn}
	l.change(func(all *sinks) {
		list := of(all)
		*list = append(slices.Clone(*list), s)
	})
	return func() {
		if s.stopped.Swap(true) {
			return
		}
		l.change(func(all *sinks) {
			list := of(all)
			*list = slices.DeleteFunc(slices.Clone(*list), func(other *sink[F]) bool { return other == s })
		})
	}
}

func (l *layer) change(f func(*sinks)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := *l.sinks.Load()
	f(&next)
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
	open := l.sinks.Load().open() || l.early.active.Load()
	l.cfg.Source.SetOpen(open && l.track.flows())
}
