// Package ingesttest has small WHIP and WHEP clients for tests: real
// connections over loopback whose media is made up.
package ingesttest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// Client is one connection to the server.
type Client struct {
	PC       *webrtc.PeerConnection
	Location string
	ETag     string
	Answer   string

	base, token string
}

// Do sends a request and returns the answer with its body read.
func Do(t testing.TB, method, url, token, contentType, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true // leaves no goroutine behind
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

// NewPeer makes a client's connection. It is closed with the test.
func NewPeer(t testing.TB, tune ...func(*webrtc.SettingEngine)) *webrtc.PeerConnection {
	t.Helper()
	var s webrtc.SettingEngine
	s.SetIncludeLoopbackCandidate(true)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	for _, f := range tune {
		f(&s)
	}
	media, reg := &webrtc.MediaEngine{}, &interceptor.Registry{}
	err := errors.Join(media.RegisterDefaultCodecs(), webrtc.ConfigureTWCCHeaderExtensionSender(media, reg),
		webrtc.RegisterDefaultInterceptors(media, reg))
	if err != nil {
		t.Fatal(err)
	}
	api := webrtc.NewAPI(webrtc.WithSettingEngine(s), webrtc.WithMediaEngine(media), webrtc.WithInterceptorRegistry(reg))
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.GracefulClose() })
	return pc
}

// Offer makes the connection's offer with all candidates.
func Offer(t testing.TB, pc *webrtc.PeerConnection) string {
	t.Helper()
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	done := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	<-done
	return pc.LocalDescription().SDP
}

// Connect posts the offer to base+path and waits until the connection is up.
func Connect(t testing.TB, pc *webrtc.PeerConnection, base, path, token string) *Client {
	t.Helper()
	connected := make(chan struct{})
	var once sync.Once
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(connected) })
		}
	})
	res, body := Do(t, http.MethodPost, base+path, token, "application/sdp", Offer(t, pc))
	if res.StatusCode != http.StatusCreated {
		t.Fatalf("POST %s: %s: %s", path, res.Status, body)
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: body}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-connected:
	case <-time.After(10 * time.Second):
		t.Fatalf("not connected: %s", pc.ConnectionState())
	}
	return &Client{
		PC: pc, Location: res.Header.Get("Location"), ETag: res.Header.Get("ETag"), Answer: body,
		base: base, token: token,
	}
}

// Session sends a request to the session's URL.
func (c *Client) Session(t testing.TB, method, contentType, body string, header ...string) (*http.Response, string) {
	t.Helper()
	return Do(t, method, c.base+c.Location, c.token, contentType, body, header...)
}

// VP8Keyframe is the start of a VP8 keyframe of 64x48 pixels behind its RTP
// payload descriptor (RFC 7741). It decodes to nothing.
var VP8Keyframe = append([]byte{0x10, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 64, 0, 48, 0}, bytes.Repeat([]byte{7}, 200)...)

// VP8Delta is a packet of a VP8 frame that is no keyframe.
var VP8Delta = append([]byte{0x10, 0x11, 0x02, 0x00}, bytes.Repeat([]byte{9}, 1000)...)

// Pump sends packets on a track at an even pace until stop is called or the
// test ends: a keyframe after each call of keyframe, delta frames otherwise.
type Pump struct {
	track  *webrtc.TrackLocalStaticRTP
	cancel context.CancelFunc
	done   chan struct{}
	want   chan struct{}

	mu    sync.Mutex
	sent  int
	pause bool
	ext   []extension
}

type extension struct {
	id   uint8
	body []byte
}

// Extend adds a header extension to the packets.
func (p *Pump) Extend(id uint8, body []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ext = append(p.ext, extension{id, body})
}

// NewPump starts sending. pace is the time between packets.
func NewPump(t testing.TB, track *webrtc.TrackLocalStaticRTP, pace time.Duration) *Pump {
	ctx, cancel := context.WithCancel(context.Background())
	p := &Pump{track: track, cancel: cancel, done: make(chan struct{}), want: make(chan struct{}, 1)}
	go p.run(ctx, pace)
	t.Cleanup(p.Stop)
	return p
}

// Keyframe makes the next packet a keyframe.
func (p *Pump) Keyframe() {
	select {
	case p.want <- struct{}{}:
	default:
	}
}

// Sent is how many packets were sent.
func (p *Pump) Sent() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent
}

// Pause stops the packets, or lets them go on.
func (p *Pump) Pause(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pause = on
}

// Stop ends the sending.
func (p *Pump) Stop() {
	p.cancel()
	<-p.done
}

func (p *Pump) run(ctx context.Context, pace time.Duration) {
	defer close(p.done)
	tick := time.NewTicker(pace)
	defer tick.Stop()
	pkt := rtp.Packet{Header: rtp.Header{Version: 2, Marker: true, SequenceNumber: 1000}}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		p.mu.Lock()
		pause := p.pause
		for _, e := range p.ext {
			_ = pkt.SetExtension(e.id, e.body)
		}
		p.mu.Unlock()
		if pause {
			continue
		}
		pkt.Payload = VP8Delta
		select {
		case <-p.want:
			pkt.Payload = VP8Keyframe
		default:
		}
		pkt.SequenceNumber++
		pkt.Timestamp += uint32(pace.Seconds() * 90000)
		_ = p.track.WriteRTP(&pkt)
		p.mu.Lock()
		p.sent++
		p.mu.Unlock()
	}
}

// Video makes a local video track.
func Video(t testing.TB, mime, stream string) *webrtc.TrackLocalStaticRTP {
	t.Helper()
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: mime}, "v", stream)
	if err != nil {
		t.Fatal(err)
	}
	return track
}

// Eventually waits until ok says yes.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		<-time.After(10 * time.Millisecond)
	}
}
