package ingesttest

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
)

// Publisher is a connected client that sends one VP8 track and answers
// requests for keyframes.
type Publisher struct {
	*Client
	Pump *Pump
	// PLIs counts the requests for a keyframe.
	PLIs atomic.Int64
	// Reports keeps the last receiver report, Feedback counts the transport
	// feedback packets, NACKs the packets asked for again.
	Reports  atomic.Pointer[rtcp.ReceptionReport]
	Feedback atomic.Int64
	NACKs    atomic.Int64
}

// Publish connects a publisher. It is closed with the test.
func Publish(t testing.TB, base, path, token string, tune ...func(*webrtc.SettingEngine)) *Publisher {
	t.Helper()
	pc := NewPeer(t, tune...)
	track := Video(t, webrtc.MimeTypeVP8, "camera")
	sender, err := pc.AddTrack(track)
	if err != nil {
		t.Fatal(err)
	}
	p := &Publisher{Client: Connect(t, pc, base, path, token)}
	p.Pump = NewPump(t, track, 5*time.Millisecond)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			packets, _, err := sender.ReadRTCP()
			if err != nil {
				return
			}
			for _, packet := range packets {
				p.take(packet)
			}
		}
	}()
	t.Cleanup(func() {
		_ = pc.GracefulClose()
		<-done
	})
	return p
}

func (p *Publisher) take(packet rtcp.Packet) {
	switch packet := packet.(type) {
	case *rtcp.PictureLossIndication:
		p.PLIs.Add(1)
		p.Pump.Keyframe()
	case *rtcp.ReceiverReport:
		for _, r := range packet.Reports {
			p.Reports.Store(&r)
		}
	case *rtcp.TransportLayerCC:
		p.Feedback.Add(1)
	case *rtcp.TransportLayerNack:
		p.NACKs.Add(1)
	}
}
