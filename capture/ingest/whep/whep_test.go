package whep_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"

	"stillwatch/capture/ingest/ingesttest"
	"stillwatch/capture/ingest/whep"
	"stillwatch/capture/ingest/whip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newServer(t *testing.T) *ingesttest.Server {
	t.Helper()
	s := ingesttest.NewServer(t)
	s.Handle(t, "/whip", whip.New(whip.Config{Transport: s.Transport, Registry: s.Registry, Auth: s, Gatekeeper: s}))
	s.Handle(t, "/whep", whep.New(whep.Config{
		Transport: s.Transport, Registry: s.Registry, Auth: s, Gatekeeper: s, ConnectTimeout: 2 * time.Second,
	}))
	return s
}

// viewer records what arrives.
type viewer struct {
	*ingesttest.Client

	mu      sync.Mutex
	packets []rtp.Header
	keys    int
	first   bool // the first packet began a keyframe
	at      time.Time
	ssrc    uint32
}

func viewerPeer(t *testing.T) *webrtc.PeerConnection {
	t.Helper()
	pc := ingesttest.NewPeer(t)
	_, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{
		Direction: webrtc.RTPTransceiverDirectionRecvonly,
	})
	if err != nil {
		t.Fatal(err)
	}
	return pc
}

func watch(t *testing.T, s *ingesttest.Server, path, token string) *viewer {
	t.Helper()
	pc := viewerPeer(t)
	v := &viewer{}
	var wg sync.WaitGroup
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		wg.Go(func() {
			for {
				p, _, err := track.ReadRTP()
				if err != nil {
					return
				}
				v.take(p)
			}
		})
	})
	v.Client = ingesttest.Connect(t, pc, s.URL, path, token)
	t.Cleanup(func() {
		_ = pc.GracefulClose()
		wg.Wait()
	})
	return v
}

func (v *viewer) take(p *rtp.Packet) {
	v.mu.Lock()
	defer v.mu.Unlock()
	key := len(p.Payload) == len(ingesttest.VP8Keyframe)
	if len(v.packets) == 0 {
		v.first = key
	}
	if key {
		v.keys++
	}
	v.packets = append(v.packets, p.Header)
	v.at, v.ssrc = time.Now(), p.SSRC
}

func (v *viewer) count() (packets, keys int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.packets), v.keys
}

func TestWatch(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := ingesttest.Publish(t, s.URL, "/whip/default/abc", "user:ann")
	s.Events.Track(t, 0)
	v := watch(t, s, "/whep/default/abc/ann", "user:bob")
	ingesttest.Eventually(t, "50 packets are seen", func() bool { n, _ := v.count(); return n > 50 })
	v.mu.Lock()
	if !v.first {
		t.Error("the first packet is no keyframe's")
	}
	for i := 1; i < len(v.packets); i++ {
		if v.packets[i].SequenceNumber != v.packets[i-1].SequenceNumber+1 {
			t.Fatalf("sequence jumps from %d to %d", v.packets[i-1].SequenceNumber, v.packets[i].SequenceNumber)
		}
	}
	ssrc := v.ssrc
	v.mu.Unlock()

	before := p.PLIs.Load()
	ingesttest.Eventually(t, "the viewer's request reaches the publisher", func() bool {
		_ = v.PC.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: ssrc}})
		return p.PLIs.Load() > before
	})
	ingesttest.Eventually(t, "a second keyframe is seen", func() bool { _, k := v.count(); return k > 1 })

	res, body := v.Session(t, http.MethodDelete, "", "")
	if res.StatusCode != http.StatusOK {
		t.Fatalf("DELETE: %s %s", res.Status, body)
	}
	if res, _ := v.Session(t, http.MethodDelete, "", ""); res.StatusCode != http.StatusNotFound {
		t.Errorf("second DELETE: %s", res.Status)
	}
	sent, passed := p.Pump.Sent(), s.Transport.Gate().Counters().Passed
	ingesttest.Eventually(t, "100 more are sent", func() bool { return p.Pump.Sent() > sent+100 })
	if n := s.Transport.Gate().Counters().Passed - passed; n > 20 {
		t.Errorf("%d packets passed the gate after the last viewer left", n)
	}
}

func TestViewerStaysWhenPublisherComesBack(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := ingesttest.Publish(t, s.URL, "/whip/default/abc", "user:ann")
	s.Events.Track(t, 0)
	v := watch(t, s, "/whep/default/abc/ann", "user:bob")
	ingesttest.Eventually(t, "packets are seen", func() bool { n, _ := v.count(); return n > 20 })
	p.Session(t, http.MethodDelete, "", "")
	s.Events.Wait(t, "left ann: left")
	before, _ := v.count()
	ingesttest.Publish(t, s.URL, "/whip/default/abc", "user:ann")
	ingesttest.Eventually(t, "packets of the new connection are seen", func() bool { n, _ := v.count(); return n > before+50 })
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := 1; i < len(v.packets); i++ {
		if v.packets[i].SequenceNumber != v.packets[i-1].SequenceNumber+1 {
			t.Fatalf("sequence jumps from %d to %d", v.packets[i-1].SequenceNumber, v.packets[i].SequenceNumber)
		}
		if d := int32(v.packets[i].Timestamp - v.packets[i-1].Timestamp); d <= 0 || d > 10*90000 {
			t.Fatalf("timestamp goes by %d", d)
		}
	}
}

func TestDisconnectStopsForwarding(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ingesttest.Publish(t, s.URL, "/whip/default/abc", "user:ann")
	s.Events.Track(t, 0)
	v := watch(t, s, "/whep/default/abc/ann", "user:bob")
	ingesttest.Eventually(t, "packets are seen", func() bool { n, _ := v.count(); return n > 20 })
	if n := s.Registry.Disconnect("default:abc", "bob", "kicked"); n != 1 {
		t.Errorf("disconnected %d viewers, want 1", n)
	}
	watch(t, s, "/whep/default/abc/ann", "user:bob")
	if n := s.Registry.Disconnect("", "ann", "banned"); n != 1 {
		t.Errorf("disconnected %d publishers, want 1", n)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ingesttest.Publish(t, s.URL, "/whip/default/abc", "user:ann")
	s.Events.Track(t, 0)
	offer := ingesttest.Offer(t, viewerPeer(t))
	noVP8 := strings.ReplaceAll(offer, "VP8/90000", "VQ8/90000")
	s.Banned.Store("mal", true)
	for name, c := range map[string]struct {
		path, token, body string
		status            int
		say               string
	}{
		"nobody publishes": {"/whep/default/abc/zoe", "user:bob", offer, 404, "publishes nothing"},
		"other call":       {"/whep/default/abd/ann", "user:bob", offer, 404, "publishes nothing"},
		"no token":         {"/whep/default/abc/ann", "", offer, 401, "no token"},
		"wrong token":      {"/whep/default/abc/ann", "x", offer, 401, "signature"},
		"token of another": {"/whep/default/abc/ann", "user:bob@default:x", offer, 403, "not good for the call"},
		"banned":           {"/whep/default/abc/ann", "user:mal", offer, 403, "banned"},
		"no codec":         {"/whep/default/abc/ann", "user:bob", noVP8, 406, "VP8"},
		"garbage":          {"/whep/default/abc/ann", "user:bob", "hello", 400, "not SDP"},
		"would send":       {"/whep/default/abc/ann", "user:bob", strings.ReplaceAll(offer, "recvonly", "sendrecv"), 400, "recvonly"},
	} {
		res, body := ingesttest.Do(t, http.MethodPost, s.URL+c.path, c.token, "application/sdp", c.body)
		if res.StatusCode != c.status || !strings.Contains(body, c.say) {
			t.Errorf("%s: %s %s, want %d with %q", name, res.Status, body, c.status, c.say)
		}
	}
}
