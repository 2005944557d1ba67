package whip_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtp"
	"go.uber.org/goleak"

	"stillwatch/capture/call"
	"stillwatch/capture/ingest/ingesttest"
	"stillwatch/capture/ingest/rtc"
	"stillwatch/capture/ingest/whip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newServer(t *testing.T, tune ...func(*rtc.Config, *call.Config)) *ingesttest.Server {
	t.Helper()
	s := ingesttest.NewServer(t, tune...)
	s.Handle(t, "/whip", whip.New(whip.Config{
		Transport: s.Transport, Registry: s.Registry, Auth: s, Gatekeeper: s,
		ConnectTimeout: 2 * time.Second,
	}))
	return s
}

func TestPublishTapDisconnect(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := ingesttest.Publish(t, s.URL, "/whip/default/abc", "user:ann")
	track := s.Events.Track(t, 0)
	if !s.Events.Has("started default:abc") || !s.Events.Has("joined ann") {
		t.Fatalf("events: %q", s.Events.Log())
	}
	ingesttest.Eventually(t, "200 packets are sent", func() bool { return p.Pump.Sent() > 200 })
	if c := s.Transport.Gate().Counters(); c.Passed > 20 || c.Dropped < 100 {
		t.Errorf("while nobody taps: %+v", c)
	}
	var keys, all atomic.Int64
	stop := track.Tap("", func(p *rtp.Packet, _ time.Time) {
		all.Add(1)
		if p.Payload[1] == 0x10 && len(p.Payload) == len(ingesttest.VP8Keyframe) {
			keys.Add(1)
		}
	})
	track.RequestKeyframe("")
	track.RequestKeyframe("")
	ingesttest.Eventually(t, "a keyframe comes", func() bool { return keys.Load() > 0 })
	if n := p.PLIs.Load(); n != 1 {
		t.Errorf("%d PLIs for two requests at once, want 1", n)
	}
	stop()
	stop()
	n := all.Load()
	sent := p.Pump.Sent()
	ingesttest.Eventually(t, "more packets are sent", func() bool { return p.Pump.Sent() > sent+50 })
	if got := all.Load(); got > n+2 {
		t.Errorf("%d packets came after stop", got-n)
	}

	start := time.Now()
	if n := s.Registry.Disconnect("", "ann", "banned"); n != 1 {
		t.Fatalf("disconnected %d, want 1", n)
	}
	t.Logf("disconnect took %s", time.Since(start))
	s.Events.Wait(t, "left ann: banned")
	s.Events.Wait(t, "ended default:abc")
	if len(s.Registry.Live()) != 0 {
		t.Error("the call is still live")
	}
}
