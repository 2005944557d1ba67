package whip_test

import (
	"bytes"
	"encoding/binary"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"stillwatch/capture"
	"stillwatch/capture/call"
	"stillwatch/capture/ingest/ingesttest"
	"stillwatch/capture/ingest/rtc"
	"stillwatch/internal/event"
)

// recorder taps all that comes, as a recorder does.
type recorder struct {
	mu      sync.Mutex
	infos   map[string]capture.TrackInfo
	seqs    map[string][]uint16 // by track and rid, in order of arrival
	sizes   map[int]int
	reports map[string][][]byte
	tracks  []*call.Track
}

func newRecorder() *recorder {
	return &recorder{
		infos: make(map[string]capture.TrackInfo), seqs: make(map[string][]uint16),
		sizes: make(map[int]int), reports: make(map[string][][]byte),
	}
}

func (r *recorder) TrackAdded(t capture.Track) {
	track := t.(*call.Track)
	i := track.Info()
	r.mu.Lock()
	r.infos[string(i.Type)] = i
	r.tracks = append(r.tracks, track)
	r.mu.Unlock()
	for _, rid := range track.RIDs() {
		r.tap(track, rid)
	}
}

func (r *recorder) LayerAdded(id, rid string) {
	r.mu.Lock()
	var track *call.Track
	for _, t := range r.tracks {
		if t.Info().ID == id {
			track = t
		}
	}
	known := track == nil || r.seqs[string(track.Info().Type)+rid] != nil
	r.mu.Unlock()
	if !known {
		r.tap(track, rid)
	}
}

func (r *recorder) tap(t *call.Track, rid string) {
	key := string(t.Info().Type) + rid
	t.TapRaw(rid, func(b []byte, _ time.Time) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.seqs[key] = append(r.seqs[key], binary.BigEndian.Uint16(b[2:]))
		r.sizes[len(b)]++
	})
	t.TapReports(rid, func(sr []byte, _ time.Time) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.reports[key] = append(r.reports[key], bytes.Clone(sr))
	})
}

func (r *recorder) TrackRemoved(string)     {}
func (r *recorder) TrackMuted(string, bool) {}

func (r *recorder) packets(key string) []uint16 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]uint16(nil), r.seqs[key]...)
}

func record(t *testing.T) (*ingesttest.Server, *recorder) {
	rec := newRecorder()
	return newServer(t, func(_ *rtc.Config, c *call.Config) { c.Media = []call.TrackObserver{rec} }), rec
}

// What is recorded begins with a track's first packet, and the sender's clock
// is known.
func TestRecordedFromTheFirstPacket(t *testing.T) {
	t.Parallel()
	s, rec := record(t)
	pc := ingesttest.NewPeer(t)
	cam := ingesttest.Video(t, webrtc.MimeTypeVP8, "camera")
	mic, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, "a", "camera")
	if err != nil {
		t.Fatal(err)
	}
	senders := make(map[event.TrackType]*webrtc.RTPSender)
	for kind, track := range map[event.TrackType]*webrtc.TrackLocalStaticRTP{event.TrackVideo: cam, event.TrackAudio: mic} {
		sender, err := pc.AddTrack(track)
		if err != nil {
			t.Fatal(err)
		}
		senders[kind] = sender
	}
	ingesttest.Connect(t, pc, s.URL, "/whip/default/abc", "user:ann")
	ingesttest.NewPump(t, cam, 5*time.Millisecond) // from packet 1001 on
	ingesttest.NewPump(t, mic, 20*time.Millisecond)
	for _, kind := range []event.TrackType{event.TrackVideo, event.TrackAudio} {
		key := string(kind)
		ingesttest.Eventually(t, "packets and reports of "+key, func() bool {
			rec.mu.Lock()
			defer rec.mu.Unlock()
			return len(rec.seqs[key]) > 50 && len(rec.reports[key]) > 0
		})
		for i, seq := range rec.packets(key) {
			if int(seq) != 1001+i {
				t.Errorf("%s: packet %d stands where %d should", key, seq, 1001+i)
				break
			}
		}
		rec.mu.Lock()
		raw := rec.reports[key][0]
		rec.mu.Unlock()
		packets, err := rtcp.Unmarshal(raw)
		if err != nil || len(packets) != 1 {
			t.Fatalf("%d packets, %v", len(packets), err)
		}
		sr, ok := packets[0].(*rtcp.SenderReport)
		if ssrc := senders[kind].GetParameters().Encodings[0].SSRC; !ok || sr.SSRC != uint32(ssrc) || sr.NTPTime == 0 {
			t.Errorf("%s: %+v, want a report of %d", key, packets[0], ssrc)
		}
	}
}

func TestAllLayersAreRecorded(t *testing.T) {
	t.Parallel()
	s, rec := record(t)
	publishSimulcast(t, s)
	track := s.Events.Track(t, 0).(*call.Track)
	for order, rid := range []string{"f", "h", "q"} {
		key := string(event.TrackVideo) + rid
		ingesttest.Eventually(t, "packets of layer "+rid, func() bool { return len(rec.packets(key)) > 50 })
		got := rec.packets(key)
		t.Logf("layer %s begins at %d", rid, got[0])
		for i := range got[1:] {
			if got[i+1] != got[i]+1 {
				t.Errorf("layer %s: %d follows %d", rid, got[i+1], got[i])
				break
			}
		}
		if track.Order(rid) != order {
			t.Errorf("layer %s has place %d, want %d", rid, track.Order(rid), order)
		}
	}
	if got := track.RIDs(); !slices.Equal(got, []string{"f", "h", "q"}) {
		t.Errorf("layers %q", got)
	}
}

func TestAudioLevelIsAgreedOn(t *testing.T) {
	t.Parallel()
	s, rec := record(t)
	pc := ingesttest.NewPeer(t, func(*webrtc.SettingEngine) {})
	mic, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, "a", "camera")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pc.AddTrack(mic); err != nil {
		t.Fatal(err)
	}
	pump := ingesttest.NewPump(t, mic, 20*time.Millisecond)
	pump.Extend(9, []byte{0x85})
	// The client offers no such extension of itself.
	connectWith(t, pc, s, func(sdp string) string {
		return insertBefore(sdp, "a=rtpmap:111", "a=extmap:9 "+rtc.AudioLevelURI+"\r\n")
	})
	ingesttest.Eventually(t, "the microphone is known", func() bool {
		rec.mu.Lock()
		defer rec.mu.Unlock()
		return rec.infos[string(event.TrackAudio)].AudioLevelExtID == 9
	})
}

func connectWith(t *testing.T, pc *webrtc.PeerConnection, s *ingesttest.Server, edit func(string) string) {
	t.Helper()
	res, body := ingesttest.Do(t, "POST", s.URL+"/whip/default/abc", "user:ann", "application/sdp", edit(ingesttest.Offer(t, pc)))
	if res.StatusCode != 201 {
		t.Fatalf("%s %s", res.Status, body)
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: body}); err != nil {
		t.Fatal(err)
	}
}

func insertBefore(text, mark, add string) string {
	i := bytes.Index([]byte(text), []byte(mark))
	return text[:i] + add + text[i:]
}

func noPacket(*rtp.Packet, time.Time) {}

// lossy loses every tenth large packet on its way to the server.
type lossy struct {
	net.PacketConn
	mux ice.UDPMux
	n   atomic.Int64
}

func (l *lossy) WriteTo(p []byte, to net.Addr) (int, error) {
	if len(p) > 900 && l.n.Add(1)%10 == 3 {
		return len(p), nil
	}
	return l.PacketConn.WriteTo(p, to)
}

// While only the recorder taps, and others come and go, lost packets are asked
// for again and arrive.
func TestLostPacketsAreRepairedForTheRecorder(t *testing.T) {
	t.Parallel()
	s, rec := record(t)
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	line := &lossy{PacketConn: conn}
	line.mux = webrtc.NewICEUDPMux(nil, line)
	t.Cleanup(func() { _ = line.mux.Close() })
	p := ingesttest.Publish(t, s.URL, "/whip/default/abc", "user:ann", func(e *webrtc.SettingEngine) { e.SetICEUDPMux(line.mux) })
	track := s.Events.Track(t, 0)
	const want = 600
	ingesttest.Eventually(t, "packets come", func() bool {
		track.Tap("", noPacket)() // as whoever wants a single keyframe
		return p.Pump.Sent() > want+200
	})
	missing := func() (n int) {
		have := make(map[uint16]bool)
		for _, seq := range rec.packets(string(event.TrackVideo)) {
			have[seq] = true
		}
		for seq := uint16(1001); seq < 1001+want; seq++ {
			if !have[seq] {
				n++
			}
		}
		return n
	}
	ingesttest.Eventually(t, "what was lost comes", func() bool { return missing() == 0 })
	if lost := line.n.Load() / 10; p.NACKs.Load() == 0 || lost < 50 {
		t.Errorf("%d requests for %d lost packets", p.NACKs.Load(), lost)
	}
}
