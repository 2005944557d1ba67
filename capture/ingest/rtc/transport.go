// Package rtc is the WebRTC transport that every way in and out shares: one
// UDP port and one TCP port for all connections, the gate below them, and the
// codecs and header extensions that are spoken.
//
// The server is an ICE-lite agent (RFC 8445, section 2.5): it has an address
// that clients reach, answers their checks and sends none of its own, so a
// candidate in an offer cannot make it send packets to a third party.
package rtc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"

	"stillwatch/capture/ingest/gate"
)

// Defaults of Config.
const (
	DefaultListen     = "127.0.0.1:7882"
	DefaultICETimeout = 15 * time.Second
	// maxQueuedTCP bounds, in bytes, what waits for a slow TCP client; above
	// it packets are dropped as they would be on a UDP path.
	maxQueuedTCP = 1 << 20
)

// Config of a Transport. The zero value listens on loopback.
type Config struct {
	// Listen is the host and port of the one UDP socket, and of the TCP
	// listener beside it. Port 0 takes a free one. Default DefaultListen.
	Listen string
	// NoTCP leaves the TCP listener out.
	NoTCP bool
	// PublicIPs are announced in place of the listening address when the
	// server stands behind a 1:1 NAT.
	PublicIPs []string
	// ICETimeout is how long a connection may be silent before it counts as
	// gone. Default DefaultICETimeout.
	ICETimeout time.Duration
	// Poll is how long packets may gather in the socket under load. Default
	// gate.DefaultPoll; negative for not at all.
	Poll time.Duration
	// Gate sets the bounds of the gate.
	Gate gate.Config
	// Logger receives the transport's messages. Default slog.Default.
	Logger *slog.Logger
}

// Transport is the shared sockets. It is a service: Start, then Close.
type Transport struct {
	cfg  Config
	gate *gate.Gate
	log  *slog.Logger
	udp  *gate.UDP
	mux  *ice.UDPMuxDefault
	tcp  *ice.TCPMuxDefault
}

// New makes a transport that is not yet listening.
func New(cfg Config) *Transport {
	if cfg.Listen == "" {
		cfg.Listen = DefaultListen
	}
	if cfg.ICETimeout <= 0 {
		cfg.ICETimeout = DefaultICETimeout
	}
	if cfg.Poll == 0 {
		cfg.Poll = gate.DefaultPoll
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Transport{cfg: cfg, gate: gate.New(cfg.Gate), log: cfg.Logger.With("component", "rtc")}
}

// replayWindow is how many packets late one may come (RFC 3711, section 3.3.2,
// asks for 64 at least). A packet that is sent again keeps its number with
// senders that do not use RFC 4588, and by then a large keyframe's other
// packets, a few hundred, have come.
const replayWindow = 1024

// freePortTries is how often a port that is free for both UDP and TCP is looked
// for when any will do.
const freePortTries = 16

// Start opens the sockets.
func (t *Transport) Start(ctx context.Context) error {
	udp, listener, err := t.listen(ctx)
	for range freePortTries {
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) || !strings.HasSuffix(t.cfg.Listen, ":0") {
			break
		}
		udp, listener, err = t.listen(ctx)
	}
	if err != nil {
		return err
	}
	logger := logFactory{t.log}.NewLogger("mux")
	t.udp = udp
	t.mux = ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: udp, Logger: logger})
	if listener == nil {
		return nil
	}
	t.tcp = ice.NewTCPMuxDefault(ice.TCPMuxParams{
		Listener: t.gate.Listener(listener), Logger: logger,
		ReadBufferSize: 64, WriteBufferSize: maxQueuedTCP,
		FirstStunBindTimeout: 10 * time.Second, AliveDurationForConnFromStun: 10 * time.Second,
	})
	return nil
}

// listen opens the UDP socket and a TCP listener at the same port.
func (t *Transport) listen(ctx context.Context) (*gate.UDP, net.Listener, error) {
	udp, err := t.gate.ListenUDP(t.cfg.Listen, max(t.cfg.Poll, 0))
	if err != nil || t.cfg.NoTCP {
		return udp, nil, err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", udp.LocalAddr().String())
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("listen for media over TCP: %w", err), udp.Close())
	}
	return udp, l, nil
}

// Close closes the sockets. Connections should be closed before.
func (t *Transport) Close() error {
	var errs []error
	if t.tcp != nil {
		errs = append(errs, t.tcp.Close())
		t.tcp = nil
	}
	if t.mux != nil {
		errs = append(errs, t.mux.Close())
		t.mux = nil
	}
	return errors.Join(errs...)
}

// Gate returns the gate that all packets pass.
func (t *Transport) Gate() *gate.Gate { return t.gate }

// Addr returns the address of the UDP socket, nil before Start.
func (t *Transport) Addr() net.Addr {
	if t.udp == nil {
		return nil
	}
	return t.udp.LocalAddr()
}

// settings are the same for every connection but for the DTLS role. We take
// the server's part where the offer leaves the choice: then we choose the SRTP
// profile, and AES-GCM costs a seventh of AES-CM with HMAC-SHA1.
func (t *Transport) settings(offer *Offer) (webrtc.SettingEngine, error) {
	var s webrtc.SettingEngine
	s.SetLite(true)
	s.SetICEUDPMux(t.mux)
	networks := []webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6}
	if t.tcp != nil {
		s.SetICETCPMux(t.tcp)
		networks = append(networks, webrtc.NetworkTypeTCP4, webrtc.NetworkTypeTCP6)
	}
	s.SetNetworkTypes(networks)
	s.DisableActiveTCP(true)
	s.SetIncludeLoopbackCandidate(true)
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetICETimeouts(t.cfg.ICETimeout/2, t.cfg.ICETimeout/2, 2*time.Second)
	s.SetSRTPProtectionProfiles(srtpProfiles...)
	s.SetSRTPReplayProtectionWindow(replayWindow)
	s.BufferFactory = newBuffer
	s.LoggerFactory = logFactory{t.log}
	if len(t.cfg.PublicIPs) > 0 {
		err := s.SetICEAddressRewriteRules(webrtc.ICEAddressRewriteRule{
			External: t.cfg.PublicIPs, AsCandidateType: webrtc.ICECandidateTypeHost,
			Mode: webrtc.ICEAddressRewriteReplace,
		})
		if err != nil {
			return s, fmt.Errorf("announce public addresses: %w", err)
		}
	}
	if offer.Passive {
		return s, nil
	}
	return s, s.SetAnsweringDTLSRole(webrtc.DTLSRoleServer)
}
