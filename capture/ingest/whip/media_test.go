package whip_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"stillwatch/capture"
	"stillwatch/capture/call"
	"stillwatch/capture/ingest/ingesttest"
	"stillwatch/capture/ingest/rtc"
	"stillwatch/internal/event"
)

// tapped waits until packets come out of a tap.
func tapped(t *testing.T, track capture.Track, rid string) {
	t.Helper()
	var n atomic.Int64
	stop := track.Tap(rid, func(*rtp.Packet, time.Time) { n.Add(1) })
	defer stop()
	ingesttest.Eventually(t, "packets come out of a tap", func() bool { return n.Load() > 20 })
}

func TestFeedbackWhileClosed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := ingesttest.Publish(t, s.URL, "/whip/default/abc", "user:ann")
	s.Events.Track(t, 0)
	ingesttest.Eventually(t, "reports and transport feedback come", func() bool {
		return p.Reports.Load() != nil && p.Feedback.Load() > 10
	})
	if r := p.Reports.Load(); r.TotalLost != 0 || r.LastSequenceNumber < 1000 {
		t.Errorf("the publisher is told of loss: %+v", r)
	}
	if c := s.Transport.Gate().Counters(); c.Dropped < 100 {
		t.Errorf("the gate was not closed: %+v", c)
	}
	if p.NACKs.Load() != 0 {
		t.Error("packets that the gate dropped are asked for again")
	}
}

func TestOverTCP(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ingesttest.Publish(t, s.URL, "/whip/default/abc", "user:ann", func(e *webrtc.SettingEngine) {
		e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4})
	})
	track := s.Events.Track(t, 0)
	ingesttest.Eventually(t, "the gate drops", func() bool { return s.Transport.Gate().Counters().Dropped > 50 })
	tapped(t, track, "")
	if n := s.Registry.Disconnect("", "ann", "banned"); n != 1 {
		t.Errorf("disconnected %d", n)
	}
}

func TestMute(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := ingesttest.Publish(t, s.URL, "/whip/default/abc", "user:ann")
	track := s.Events.Track(t, 0)
	tapped(t, track, "")
	p.Pump.Pause(true)
	s.Events.Wait(t, "muted")
	p.Pump.Pause(false)
	s.Events.Wait(t, "unmuted")
	tapped(t, track, "")
	if n := s.Registry.Mute("default:abc", "ann", []event.TrackType{event.TrackVideo}, time.Time{}); n != 1 {
		t.Errorf("muted %d tracks", n)
	}
	var n atomic.Int64
	defer track.Tap("", func(*rtp.Packet, time.Time) { n.Add(1) })()
	sent := p.Pump.Sent()
	ingesttest.Eventually(t, "packets are sent", func() bool { return p.Pump.Sent() > sent+50 })
	if n.Load() != 0 {
		t.Errorf("%d packets of a muted track came out", n.Load())
	}
	s.Events.Wait(t, "muted")
	// Who publishes anew is heard and seen again.
	ingesttest.Publish(t, s.URL, "/whip/default/abc", "user:ann")
	tapped(t, s.Events.Track(t, 1), "")
	if n.Load() != 0 {
		t.Errorf("%d packets of a muted track came out", n.Load())
	}
}

func TestScreenShareAndAudio(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	pc := ingesttest.NewPeer(t)
	for _, stream := range []string{"camera", "screen"} {
		track := ingesttest.Video(t, webrtc.MimeTypeVP8, stream)
		if _, err := pc.AddTrack(track); err != nil {
			t.Fatal(err)
		}
		ingesttest.NewPump(t, track, 20*time.Millisecond)
	}
	mic, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMU}, "a", "camera")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pc.AddTrack(mic); err != nil {
		t.Fatal(err)
	}
	ingesttest.NewPump(t, mic, 20*time.Millisecond)
	ingesttest.Connect(t, pc, s.URL, "/whip/default/abc", "user:ann")
	s.Events.Wait(t, "track added ann TRACK_TYPE_VIDEO VP8")
	s.Events.Wait(t, "track added ann TRACK_TYPE_SCREEN_SHARE VP8")
	ingesttest.Eventually(t, "the microphone is there", func() bool {
		for _, track := range s.Registry.Tracks("default:abc", "ann") {
			if track.Info().Type == event.TrackAudio && track.Codec().MimeType == webrtc.MimeTypePCMU {
				return true
			}
		}
		return false
	})
	for _, line := range s.Events.Log() {
		if line == "track added ann TRACK_TYPE_AUDIO " {
			t.Error("the observers of video tracks were told of a microphone")
		}
	}
}

func TestSimulcast(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(*rtc.Config, *call.Config) {})
	publishSimulcast(t, s)
	track := s.Events.Track(t, 0)
	ingesttest.Eventually(t, "three layers, the smallest first", func() bool {
		l := track.Layers()
		return len(l) == 3 && l[0].RID == "q" && l[1].RID == "h" && l[2].RID == "f" && l[0].Active && l[2].Active
	})
	for _, rid := range []string{"q", "h", "f"} {
		tapped(t, track, rid)
	}
	if n := len(s.Registry.Tracks("default:abc", "ann")); n != 1 {
		t.Errorf("%d tracks, want 1 of three layers", n)
	}
}

// publishSimulcast sends three layers: f, h and q.
func publishSimulcast(t *testing.T, s *ingesttest.Server) {
	t.Helper()
	pc := ingesttest.NewPeer(t)
	var tracks []*webrtc.TrackLocalStaticRTP
	for _, rid := range []string{"f", "h", "q"} {
		track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8},
			"v", "camera", webrtc.WithRTPStreamID(rid))
		if err != nil {
			t.Fatal(err)
		}
		tracks = append(tracks, track)
	}
	sender, err := pc.AddTrack(tracks[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, track := range tracks[1:] {
		if err := sender.AddEncoding(track); err != nil {
			t.Fatal(err)
		}
	}
	ingesttest.Connect(t, pc, s.URL, "/whip/default/abc", "user:ann")
	var mid, rid uint8
	for _, e := range sender.GetParameters().HeaderExtensions {
		switch e.URI {
		case "urn:ietf:params:rtp-hdrext:sdes:mid":
			mid = uint8(e.ID)
		case "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id":
			rid = uint8(e.ID)
		}
	}
	for i, track := range tracks {
		pump := ingesttest.NewPump(t, track, time.Duration(4<<i)*time.Millisecond)
		pump.Extend(mid, []byte("0"))
		pump.Extend(rid, []byte(track.RID()))
	}
}

// Some encoders wait for the server's handshake.
func TestPassiveClient(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	pc := ingesttest.NewPeer(t)
	track := ingesttest.Video(t, webrtc.MimeTypeVP8, "camera")
	if _, err := pc.AddTrack(track); err != nil {
		t.Fatal(err)
	}
	offer := strings.ReplaceAll(ingesttest.Offer(t, pc), "a=setup:actpass", "a=setup:passive")
	res, body := ingesttest.Do(t, http.MethodPost, s.URL+"/whip/default/abc", "user:ann", "application/sdp", offer)
	if res.StatusCode != http.StatusCreated || !strings.Contains(body, "a=setup:active") {
		t.Fatalf("%s %s", res.Status, body)
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: body}); err != nil {
		t.Fatal(err)
	}
	ingesttest.NewPump(t, track, 10*time.Millisecond)
	tapped(t, s.Events.Track(t, 0), "")
}
