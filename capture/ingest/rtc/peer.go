package rtc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/interceptor"
	"github.com/pion/transport/v4/packetio"
	"github.com/pion/webrtc/v4"

	"stillwatch/capture/ingest/gate"
)

// ErrNotStarted is the answer while the transport has no sockets.
var ErrNotStarted = errors.New("rtc: transport is not started")

// streamBuffer bounds, in bytes, what waits on one stream to be read: two
// large keyframes.
const streamBuffer = 1 << 20

// srtpProfiles in the order of preference.
var srtpProfiles = []dtls.SRTPProtectionProfile{
	dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80,
}

func newBuffer(_ packetio.BufferPacketType, _ uint32) io.ReadWriteCloser {
	b := packetio.NewBuffer()
	b.SetLimitSize(streamBuffer)
	return b
}

// NewPublisher makes the server's side of a connection that sends us media.
// It has no interceptors: the gate makes the feedback.
func (t *Transport) NewPublisher(offer *Offer) (*webrtc.PeerConnection, error) {
	media, err := publisherMedia()
	if err != nil {
		return nil, err
	}
	return t.newPeer(offer, media, &interceptor.Registry{})
}

// NewViewer makes the server's side of a connection that we send media to.
// Only the codecs given are spoken, so that the answer names what the
// publisher sends.
func (t *Transport) NewViewer(offer *Offer, codecs ...webrtc.RTPCodecCapability) (*webrtc.PeerConnection, error) {
	media, err := viewerMedia(codecs)
	if err != nil {
		return nil, err
	}
	reg := &interceptor.Registry{}
	if err := webrtc.ConfigureNack(media, reg); err != nil {
		return nil, fmt.Errorf("configure retransmission: %w", err)
	}
	if err := webrtc.ConfigureRTCPReports(reg); err != nil {
		return nil, fmt.Errorf("configure reports: %w", err)
	}
	return t.newPeer(offer, media, reg)
}

func (t *Transport) newPeer(offer *Offer, media *webrtc.MediaEngine, reg *interceptor.Registry) (*webrtc.PeerConnection, error) {
	if t.mux == nil {
		return nil, ErrNotStarted
	}
	settings, err := t.settings(offer)
	if err != nil {
		return nil, err
	}
	api := webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithInterceptorRegistry(reg),
		webrtc.WithSettingEngine(settings))
	pc, err := api.NewPeerConnection(webrtc.Configuration{BundlePolicy: webrtc.BundlePolicyMaxBundle})
	if err != nil {
		return nil, fmt.Errorf("make connection: %w", err)
	}
	return pc, nil
}

// Answer answers the peer's present remote offer with all candidates in it.
func Answer(ctx context.Context, pc *webrtc.PeerConnection) (string, error) {
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return "", fmt.Errorf("create answer: %w", err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(answer); err != nil {
		return "", fmt.Errorf("set answer: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	select {
	case <-gathered:
	case <-ctx.Done():
		return "", fmt.Errorf("gather candidates: %w", ctx.Err())
	}
	return pc.LocalDescription().SDP, nil
}

// BindGate keeps the session bound to the address the peer sends from. Call it
// before the answer.
func BindGate(pc *webrtc.PeerConnection, s *gate.Session) {
	ice := pc.SCTP().Transport().ICETransport()
	bind := func(p *webrtc.ICECandidatePair) {
		if p == nil || p.Remote == nil {
			return
		}
		addr, err := netip.ParseAddr(p.Remote.Address)
		if err != nil {
			return
		}
		s.Bind(netip.AddrPortFrom(addr, p.Remote.Port), p.Remote.Protocol == webrtc.ICEProtocolTCP)
	}
	ice.OnSelectedCandidatePairChange(bind)
}
