package whep

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"stillwatch/capture"
	"stillwatch/capture/call"
	"stillwatch/capture/ingest"
	"stillwatch/capture/ingest/rtc"
)

// session is one viewer's connection.
type session struct {
	srv  *Server
	seat *call.Seat
	peer *ingest.Peer
	rid  string // the layer asked for, "" for the largest

	connected   atomic.Bool
	readers     sync.WaitGroup
	end         sync.Once
	forwarders  []*forwarder
	unsubscribe func()
	timer       *time.Timer
}

func newSession(srv *Server, seat *call.Seat, pc *webrtc.PeerConnection, offer *rtc.Offer, rid string) *session {
	return &session{srv: srv, seat: seat, peer: ingest.NewPeer(pc, offer), rid: rid}
}

// negotiate adds a sender for each track and answers the offer.
func (s *session) negotiate(ctx context.Context, tracks []*call.Track) (string, error) {
	var senders []*webrtc.RTPSender
	for i, t := range tracks {
		info := t.Info()
		local, err := webrtc.NewTrackLocalStaticRTP(rtc.Capability(t.Codec()), fmt.Sprintf("%s-%d", kind(t), i), info.UserID)
		if err != nil {
			return "", fmt.Errorf("make track: %w", err)
		}
		tr, err := s.peer.PC.AddTransceiverFromTrack(local, webrtc.RTPTransceiverInit{
			Direction: webrtc.RTPTransceiverDirectionSendonly,
		})
		if err != nil {
			return "", fmt.Errorf("add track: %w", err)
		}
		senders = append(senders, tr.Sender())
		s.forwarders = append(s.forwarders, newForwarder(t, local, s.rid))
	}
	if err := s.peer.SetOffer(s.peer.Offer()); err != nil {
		return "", err
	}
	s.peer.PC.OnConnectionStateChange(s.onState)
	answer, err := rtc.Answer(ctx, s.peer.PC)
	if err != nil { // the connection speaks nothing but the tracks' codecs
		return "", noCodec(tracks)
	}
	agreed := false
	for i, f := range s.forwarders {
		params := senders[i].GetParameters()
		if len(params.Codecs) == 0 || len(params.Encodings) == 0 || !sends(s.peer.PC, senders[i]) {
			continue
		}
		agreed = true
		for _, e := range params.HeaderExtensions {
			if e.URI == rtc.RotationURI {
				f.rotationOut = uint8(e.ID)
			}
		}
		s.readers.Go(func() { readRequests(senders[i], f) })
	}
	if !agreed {
		return "", noCodec(tracks)
	}
	return answer, nil
}

func noCodec(tracks []*call.Track) error {
	return ingest.Refuse(http.StatusNotAcceptable, "the offer has no codec that the user publishes: %s", codecList(tracks))
}

// sends tells whether the answer makes a sender send.
func sends(pc *webrtc.PeerConnection, sender *webrtc.RTPSender) bool {
	for _, t := range pc.GetTransceivers() {
		if t.Sender() == sender {
			return t.Mid() != "" && t.Direction() == webrtc.RTPTransceiverDirectionSendonly
		}
	}
	return false
}

func codecList(tracks []*call.Track) string {
	out := ""
	for i, t := range tracks {
		if i > 0 {
			out += ", "
		}
		c := t.Codec()
		if out += c.MimeType; c.Fmtp != "" {
			out += " (" + c.Fmtp + ")"
		}
	}
	return out
}

// begin waits for the client and follows what the user publishes.
func (s *session) begin(to target) {
	s.timer = time.AfterFunc(s.srv.cfg.ConnectTimeout, func() {
		if !s.connected.Load() {
			s.srv.endLater(s, "never connected")
		}
	})
	s.unsubscribe = s.srv.cfg.Registry.Subscribe(to.cid(), to.userID, s)
	for _, f := range s.forwarders { // what ended before the subscription
		f.dropEnded()
	}
}

func (s *session) onState(state webrtc.PeerConnectionState) {
	switch state {
	case webrtc.PeerConnectionStateConnected:
		s.connected.Store(true)
		for _, f := range s.forwarders {
			f.start()
		}
	case webrtc.PeerConnectionStateFailed:
		s.srv.endLater(s, "connection lost")
	case webrtc.PeerConnectionStateClosed:
		s.srv.endLater(s, "closed by the client")
	}
}

// TrackAdded shows a track in place of an ended one like it.
func (s *session) TrackAdded(t capture.Track) {
	track, ok := t.(*call.Track)
	if !ok {
		return
	}
	for _, f := range s.forwarders {
		if f.shows(track) {
			return
		}
	}
	for _, f := range s.forwarders {
		if f.take(track) {
			if s.connected.Load() {
				f.start()
			}
			return
		}
	}
}

// TrackRemoved frees the place of a track.
func (s *session) TrackRemoved(id string) {
	for _, f := range s.forwarders {
		f.drop(id)
	}
}

// TrackMuted changes nothing: nothing is forwarded while nothing comes.
func (s *session) TrackMuted(string, bool) {}

func (s *session) look() {
	for _, f := range s.forwarders {
		f.look()
	}
}

// Cut stops forwarding at once.
func (s *session) Cut() {
	for _, f := range s.forwarders {
		f.cut.Store(true)
	}
}

// End closes the connection and leaves. Each call waits until both are done.
func (s *session) End(reason string) {
	s.end.Do(func() {
		s.Cut()
		if s.timer != nil {
			s.timer.Stop()
		}
		if s.unsubscribe != nil {
			s.unsubscribe()
		}
		for _, f := range s.forwarders {
			f.close()
		}
		if err := s.peer.PC.GracefulClose(); err != nil {
			s.srv.log.Debug("close connection", "session", s.seat.ID(), "err", err)
		}
		s.readers.Wait()
		s.srv.remove(s)
		s.seat.Leave(reason)
	})
}

// readRequests takes the viewer's requests for keyframes. Lost packets are
// sent again by the connection's own interceptors, which see what is read here.
func readRequests(sender *webrtc.RTPSender, f *forwarder) {
	buf := make([]byte, 2048)
	for {
		n, _, err := sender.Read(buf)
		if err != nil {
			return
		}
		packets, err := rtcp.Unmarshal(buf[:n])
		if err != nil {
			continue
		}
		for _, p := range packets {
			switch p.(type) {
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				f.requestKeyframe()
			}
		}
	}
}
