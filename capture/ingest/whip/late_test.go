package whip_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"stillwatch/capture/ingest/ingesttest"
)

// TestPacketSentAgainLate repairs a packet under its own number after the four
// hundred behind it have come, as senders without RFC 4588 do within a large
// keyframe.
func TestPacketSentAgainLate(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	pc := ingesttest.NewPeer(t)
	track := ingesttest.Video(t, webrtc.MimeTypeVP8, "camera")
	if _, err := pc.AddTrack(track); err != nil {
		t.Fatal(err)
	}
	ingesttest.Connect(t, pc, s.URL, "/whip/default/abc", "user:ann")
	send := func(seq uint16) {
		t.Helper()
		p := &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: seq, Timestamp: 1}, Payload: make([]byte, 50)}
		if err := track.WriteRTP(p); err != nil {
			t.Fatal(err)
		}
	}
	const first, lost, last = 1000, 1100, 1500
	send(first)
	var mu sync.Mutex
	var got []uint16
	came := func(seq uint16) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			return slices.Contains(got, seq)
		}
	}
	defer s.Events.Track(t, 0).Tap("", func(p *rtp.Packet, _ time.Time) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, p.SequenceNumber)
	})()
	for seq := uint16(first + 1); seq <= last; seq++ {
		if seq != lost {
			send(seq)
		}
		if seq%50 == 0 && seq != lost {
			ingesttest.Eventually(t, "packets come", came(seq))
		}
	}
	send(lost)
	ingesttest.Eventually(t, "the lost packet comes", came(lost))
}
