package whep_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"stillwatch/capture/ingest/ingesttest"
	"stillwatch/internal/event"
)

var camera = []event.TrackType{event.TrackVideo}

func TestMuteStopsForwarding(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := ingesttest.Publish(t, s.URL, "/whip/default/abc", "user:ann")
	other := ingesttest.Publish(t, s.URL, "/whip/default/abc", "user:eve")
	v := watch(t, s, "/whep/default/abc/ann", "user:bob")
	beside := watch(t, s, "/whep/default/abc/eve", "user:bob")
	seen := func(v *viewer) func() bool {
		before, _ := v.count()
		return func() bool { n, _ := v.count(); return n > before+20 }
	}
	ingesttest.Eventually(t, "packets are seen", seen(v))
	if n := s.Registry.Mute("default:abc", "ann", camera, time.Time{}); n != 1 {
		t.Fatalf("muted %d tracks, want 1", n)
	}
	// What was on its way has arrived when packets sent later, over the same
	// socket, have: those of the other publisher.
	ingesttest.Eventually(t, "the other publisher is seen", seen(beside))
	before, _ := v.count()
	sent := p.Pump.Sent()
	ingesttest.Eventually(t, "the muted one goes on sending", func() bool { return p.Pump.Sent() > sent+100 })
	ingesttest.Eventually(t, "the other publisher is seen", seen(beside))
	if n, _ := v.count(); n != before {
		t.Errorf("%d packets of a muted track were forwarded", n-before)
	}
	p.Session(t, http.MethodDelete, "", "")
	ingesttest.Publish(t, s.URL, "/whip/default/abc", "user:ann")
	ingesttest.Eventually(t, "who publishes anew is seen", seen(v))
	if other.PC.ConnectionState() != webrtc.PeerConnectionStateConnected {
		t.Errorf("the other publisher is %s", other.PC.ConnectionState())
	}
}

func TestEndCallClosesEveryConnection(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ann := ingesttest.Publish(t, s.URL, "/whip/default/abc", "user:ann")
	eve := ingesttest.Publish(t, s.URL, "/whip/default/abc", "user:eve")
	elsewhere := ingesttest.Publish(t, s.URL, "/whip/default/xyz", "user:ann")
	v := watch(t, s, "/whep/default/abc/ann", "user:bob")
	ingesttest.Eventually(t, "packets are seen", func() bool { n, _ := v.count(); return n > 20 })
	if n := s.Registry.EndCall("default:abc", "ended by a moderator"); n != 3 {
		t.Errorf("closed %d connections, want 3", n)
	}
	s.Events.Wait(t, "ended default:abc")
	for name, pc := range map[string]*webrtc.PeerConnection{"ann": ann.PC, "eve": eve.PC, "bob": v.PC} {
		ingesttest.Eventually(t, name+" is disconnected", func() bool {
			return pc.ConnectionState() != webrtc.PeerConnectionStateConnected
		})
	}
	if s.Events.Has("ended default:xyz") || elsewhere.PC.ConnectionState() != webrtc.PeerConnectionStateConnected {
		t.Error("another call was touched")
	}
	if n := s.Registry.EndCall("default:abc", "again"); n != 0 {
		t.Errorf("closed %d connections the second time", n)
	}
}
