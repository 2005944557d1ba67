package synthetic

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"stillwatch/internal/event"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
)

// PublisherConfig describes one synthetic participant.
type PublisherConfig struct {
	// URL is the WHIP endpoint, e.g. http://127.0.0.1:8080/whip/default/abc.
	URL string
	// Token is the participant's user JWT.
	Token string
	Clip  *Clip
	// Tone is sent as the participant's voice; nil: none.
	Tone *Tone
	// Phase delays the first frame, so that many publishers do not send in step.
	Phase time.Duration
	// Steady sends the clip as it is, whatever keyframes are asked for.
	Steady bool
	// Light leaves out retransmission and reports, for benchmarks with many.
	Light bool
	// Loss is which share of packets the network drops, each time that they are
	// sent, and Swap which share comes after its successor: 0 to 1.
	Loss, Swap float64
}

// Publisher sends a clip in a loop over WebRTC until it is closed or the
// server closes the connection. It answers each picture loss indication with
// a keyframe at the next frame slot, but no more often than every 300 ms, as
// browsers do.
type Publisher struct {
	cfg      PublisherConfig
	pc       *webrtc.PeerConnection
	track    *webrtc.TrackLocalStaticSample
	voice    *webrtc.TrackLocalStaticSample
	resource string

	stop     context.CancelFunc
	wg       sync.WaitGroup
	gone     chan struct{}
	goneOnce sync.Once
	closing  sync.Once

	wantKey   atomic.Bool
	keyframes atomic.Int64
	frames    atomic.Int64
	plis      atomic.Int64
	lost      atomic.Int64
}

// NewPublisher makes a publisher; Start connects it.
func NewPublisher(cfg PublisherConfig) *Publisher {
	return &Publisher{cfg: cfg, gone: make(chan struct{})}
}

// Gone is closed once the connection has ended, from either side.
func (p *Publisher) Gone() <-chan struct{} { return p.gone }

// Sent returns how many frames and keyframes were sent and how many picture
// loss indications arrived.
func (p *Publisher) Sent() (frames, keyframes, plis int64) {
	return p.frames.Load(), p.keyframes.Load(), p.plis.Load()
}

// Lost returns how many packets the network dropped.
func (p *Publisher) Lost() int64 { return p.lost.Load() }

// Start offers the clip by WHIP, waits until media can flow and begins to
// send. A refusal is returned as *Refusal.
func (p *Publisher) Start(ctx context.Context) error {
	sender, err := p.connect(ctx)
	if err != nil {
		return errors.Join(err, p.Close())
	}
	runCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	p.stop = stop
	if p.voice != nil {
		p.wg.Go(func() { p.sound(runCtx, p.voice) })
	}
	p.wg.Add(2)
	go func() { defer p.wg.Done(); p.readFeedback(sender) }()
	go func() { defer p.wg.Done(); p.send(runCtx) }()
	return nil
}

func (p *Publisher) connect(ctx context.Context) (*webrtc.RTPSender, error) {
	api, err := newAPI(p.cfg.Light, &network{loss: p.cfg.Loss, swap: p.cfg.Swap, lost: func() { p.lost.Add(1) }})
	if err != nil {
		return nil, err
	}
	if p.pc, err = api.NewPeerConnection(webrtc.Configuration{}); err != nil {
		return nil, fmt.Errorf("make peer connection: %w", err)
	}
	connected := make(chan struct{})
	var once sync.Once
	p.pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		switch s {
		case webrtc.PeerConnectionStateConnected:
			once.Do(func() { close(connected) })
		case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed, webrtc.PeerConnectionStateDisconnected:
			p.goneOnce.Do(func() { close(p.gone) })
		}
	})
	p.track, err = webrtc.NewTrackLocalStaticSample(capability(p.cfg.Clip.Codec), "video", "camera")
	if err != nil {
		return nil, fmt.Errorf("make track: %w", err)
	}
	tr, err := p.pc.AddTransceiverFromTrack(p.track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		return nil, fmt.Errorf("add track: %w", err)
	}
	if p.cfg.Tone != nil {
		if err := p.addVoice(); err != nil {
			return nil, err
		}
	}
	if p.resource, err = offer(ctx, p.pc, p.cfg.URL, p.cfg.Token); err != nil {
		return nil, err
	}
	select {
	case <-connected:
		return tr.Sender(), nil
	case <-p.gone:
		return nil, errors.New("connect: the connection failed")
	case <-ctx.Done():
		return nil, fmt.Errorf("connect: %w", ctx.Err())
	}
}

func (p *Publisher) addVoice() (err error) {
	opus := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}
	if p.voice, err = webrtc.NewTrackLocalStaticSample(opus, "audio", "camera"); err != nil {
		return fmt.Errorf("make voice: %w", err)
	}
	_, err = p.pc.AddTransceiverFromTrack(p.voice, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		return fmt.Errorf("add voice: %w", err)
	}
	return nil
}

func newAPI(light bool, net *network) (*webrtc.API, error) {
	m := &webrtc.MediaEngine{}
	if err := m.RegisterDefaultCodecs(); err != nil {
		return nil, fmt.Errorf("register codecs: %w", err)
	}
	reg := &interceptor.Registry{}
	if net != nil && net.loss+net.swap > 0 {
		reg.Add(net) // the first is the nearest to the wire
	}
	if !light {
		if err := webrtc.RegisterDefaultInterceptors(m, reg); err != nil {
			return nil, fmt.Errorf("register interceptors: %w", err)
		}
	}
	se := webrtc.SettingEngine{}
	se.SetIncludeLoopbackCandidate(true)
	// A server that is gone is noticed after three seconds, not twenty-five.
	se.SetICETimeouts(3*time.Second, 6*time.Second, 500*time.Millisecond)
	return webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithInterceptorRegistry(reg), webrtc.WithSettingEngine(se)), nil
}

func capability(c event.Codec) webrtc.RTPCodecCapability {
	caps := webrtc.RTPCodecCapability{MimeType: "video/" + string(c), ClockRate: 90000}
	switch c {
	case event.H264:
		caps.SDPFmtpLine = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
	case event.VP9:
		caps.SDPFmtpLine = "profile-id=0"
	}
	return caps
}

func (p *Publisher) readFeedback(sender *webrtc.RTPSender) {
	for {
		packets, _, err := sender.ReadRTCP()
		if err != nil {
			return
		}
		for _, packet := range packets {
			switch packet.(type) {
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				p.plis.Add(1)
				p.wantKey.Store(true)
			}
		}
	}
}

// minKeyframeDistance is what libwebrtc's encoders keep between two
// requested keyframes.
const minKeyframeDistance = 300 * time.Millisecond

func (p *Publisher) send(ctx context.Context) {
	gap := time.Second / time.Duration(p.cfg.Clip.FPS)
	select {
	case <-time.After(p.cfg.Phase):
	case <-ctx.Done():
		return
	}
	tick := time.NewTicker(gap)
	defer tick.Stop()
	var next int
	var lastKey time.Time
	for {
		now := time.Now()
		if p.wantKey.Load() && !p.cfg.Steady && now.Sub(lastKey) >= minKeyframeDistance {
			next = p.cfg.Clip.Next(next)
		}
		if next%p.cfg.Clip.Take == 0 {
			p.wantKey.Store(false)
			p.keyframes.Add(1)
			lastKey = now
		}
		p.frames.Add(1)
		if err := p.track.WriteSample(media.Sample{Data: p.cfg.Clip.Frames[next], Duration: gap}); err != nil {
			return
		}
		next = (next + 1) % len(p.cfg.Clip.Frames)
		select {
		case <-tick.C:
		case <-p.gone:
			return
		case <-ctx.Done():
			return
		}
	}
}

// Close leaves the call and waits for the publisher's goroutines.
func (p *Publisher) Close() error {
	var err error
	p.closing.Do(func() {
		if p.stop != nil {
			p.stop()
		}
		if p.resource != "" {
			leave(p.resource, p.cfg.Token)
		}
		if p.pc != nil {
			err = p.pc.GracefulClose()
		}
		p.goneOnce.Do(func() { close(p.gone) })
	})
	p.wg.Wait()
	return err
}
