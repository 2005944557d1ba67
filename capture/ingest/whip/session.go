package whip

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/webrtc/v4"

	"stillwatch/capture/call"
	"stillwatch/capture/ingest"
	"stillwatch/capture/ingest/gate"
	"stillwatch/capture/ingest/rtc"
	"stillwatch/internal/event"
)

// session is one publisher's connection: what a WHIP session URL stands for.
type session struct {
	srv  *Server
	id   string
	seat *call.Seat
	peer *ingest.Peer
	ssrc uint32 // ours, in feedback
	turn uint   // which of the ticks is this session's
	// record is what of it is recorded.
	record event.RecordType

	connected atomic.Bool
	timer     *time.Timer
	readers   sync.WaitGroup
	end       sync.Once

	mu      sync.Mutex
	gate    *gate.Session
	ids     extensions
	tracks  map[string]*call.Track // by mid
	sources []*source
	ended   bool
}

func newSession(srv *Server, seat *call.Seat, pc *webrtc.PeerConnection, offer *rtc.Offer) *session {
	return &session{
		srv: srv, id: seat.ID(), seat: seat, peer: ingest.NewPeer(pc, offer),
		ssrc: rand.Uint32(), turn: rand.UintN(2), tracks: make(map[string]*call.Track),
	}
}

// negotiate answers the first offer.
func (s *session) negotiate(ctx context.Context) (string, error) {
	if err := s.peer.SetOffer(s.peer.Offer()); err != nil {
		return "", err
	}
	s.peer.PC.OnTrack(s.onTrack)
	s.peer.PC.OnConnectionStateChange(s.onState)
	// The transports start when the answer is set, so the gate has to know
	// the session before.
	preview, err := s.peer.PC.CreateAnswer(nil)
	if err != nil {
		return "", ingest.BadOffer(err)
	}
	ids, err := inspect(preview.SDP)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	s.gate = s.srv.cfg.Transport.Gate().NewSession(s.ssrc, ids.twcc)
	s.ids = ids
	s.mu.Unlock()
	rtc.BindGate(s.peer.PC, s.gate)
	return rtc.Answer(ctx, s.peer.PC)
}

// watchConnect ends the session if the client does not connect in time.
func (s *session) watchConnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = time.AfterFunc(s.srv.cfg.ConnectTimeout, func() {
		if !s.connected.Load() {
			s.srv.endLater(s, "never connected")
		}
	})
}

func (s *session) onState(state webrtc.PeerConnectionState) {
	switch state {
	case webrtc.PeerConnectionStateConnected:
		s.connected.Store(true)
		if err := s.seat.Join(); err != nil {
			s.srv.endLater(s, "removed")
		}
	case webrtc.PeerConnectionStateFailed:
		s.srv.endLater(s, "connection lost")
	case webrtc.PeerConnectionStateClosed:
		s.srv.endLater(s, "closed by the client")
	}
}

// Cut drops all media of the session at once.
func (s *session) Cut() {
	s.mu.Lock()
	g := s.gate
	s.mu.Unlock()
	if g != nil {
		g.Cut()
	}
}

// End closes the connection and leaves the call. Each call waits until both
// are done.
func (s *session) End(reason string) {
	s.end.Do(func() {
		s.Cut()
		s.mu.Lock()
		s.ended = true
		if s.timer != nil {
			s.timer.Stop()
		}
		s.mu.Unlock()
		if err := s.peer.PC.GracefulClose(); err != nil {
			s.srv.log.Debug("close connection", "session", s.id, "err", err)
		}
		s.srv.remove(s)
		s.seat.Leave(reason)
		s.readers.Wait()
		s.mu.Lock()
		g := s.gate
		s.mu.Unlock()
		if g != nil {
			g.Close()
		}
	})
}

// feedback sends what is due. full adds reports and transport feedback.
func (s *session) feedback(now time.Time, full bool) {
	if !s.connected.Load() {
		return
	}
	s.mu.Lock()
	g, sources := s.gate, s.sources
	s.mu.Unlock()
	packets := g.Nacks(now)
	if full {
		packets = append(packets, g.Feedback(now)...)
		for _, src := range sources {
			src.measure(now)
		}
	}
	if len(packets) > 0 {
		_ = s.peer.PC.WriteRTCP(packets) // fails only while the connection closes
	}
}
