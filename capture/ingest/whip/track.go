package whip

import (
	"encoding/binary"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"stillwatch/capture"
	"stillwatch/capture/call"
	"stillwatch/capture/ingest/gate"
	"stillwatch/capture/ingest/rtc"
	"stillwatch/internal/event"
)

// keyframeGap is how close two requests for a keyframe may be. Closer ones
// were seen to give nothing more.
const keyframeGap = 300 * time.Millisecond

// onTrack is called when the first packet of a stream came: of a track, or of
// one simulcast layer of it.
func (s *session) onTrack(remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	m, ok := s.media(receiver)
	if !ok {
		return
	}
	c := remote.Codec()
	info := capture.TrackInfo{Type: trackType(m), Record: s.record}
	if m.Kind == "video" {
		codec, ok := rtc.VideoCodec(c.MimeType)
		if !ok {
			return
		}
		info.Codec = codec
		if codec == event.H264 {
			info.ParameterSets = m.ParameterSets(uint8(remote.PayloadType()))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	src := &source{
		track: remote, pc: s.peer.PC, ssrc: s.ssrc,
		stream: s.gate.AddStream(uint32(remote.SSRC()), uint32(remote.RtxSSRC()), c.ClockRate),
	}
	layer := call.LayerConfig{RID: remote.RID(), Order: slices.Index(m.Rids, remote.RID()), Source: src}
	t := s.tracks[m.MID]
	if t != nil && layer.RID != "" {
		t.AddLayer(layer)
	} else {
		info.RotationExtID = s.ids.rotation
		if m.Kind == "audio" {
			info.AudioLevelExtID = s.ids.audioLevel
		}
		var err error
		t, err = s.seat.AddTrack(info, call.Codec{
			MimeType: c.MimeType, ClockRate: c.ClockRate, Channels: c.Channels, Fmtp: c.SDPFmtpLine,
		}, layer)
		if err != nil { // the session is ending
			return
		}
		s.tracks[m.MID] = t
	}
	s.sources = append(slices.Clone(s.sources), src)
	s.readers.Go(func() { s.readReports(receiver, t, remote.RID(), uint32(remote.SSRC())) })
}

// media finds the section of the offer that a receiver belongs to.
func (s *session) media(receiver *webrtc.RTPReceiver) (rtc.Media, bool) {
	for _, t := range s.peer.PC.GetTransceivers() {
		if t.Receiver() != receiver {
			continue
		}
		for _, m := range s.peer.Offer().Media {
			if m.MID == t.Mid() {
				return m, true
			}
		}
	}
	return rtc.Media{}, false
}

func trackType(m rtc.Media) event.TrackType {
	screen := m.Content == "slides" || strings.HasPrefix(m.Stream, "screen")
	switch {
	case m.Kind == "audio" && screen:
		return event.TrackScreenShareAudio
	case m.Kind == "audio":
		return event.TrackAudio
	case screen:
		return event.TrackScreenShare
	}
	return event.TrackVideo
}

// readReports takes the publisher's sender reports until the connection ends.
func (s *session) readReports(receiver *webrtc.RTPReceiver, t *call.Track, rid string, ssrc uint32) {
	buf := make([]byte, 2048)
	for {
		var n int
		var err error
		if rid == "" {
			n, _, err = receiver.Read(buf)
		} else {
			n, _, err = receiver.ReadSimulcast(buf, rid)
		}
		if err != nil {
			return
		}
		packets, err := rtcp.Unmarshal(buf[:n])
		if err != nil {
			continue
		}
		now := time.Now()
		eachReport(buf[:n], ssrc, func(sr []byte) { t.Report(rid, sr, now) })
		for _, p := range packets {
			if sr, ok := p.(*rtcp.SenderReport); ok {
				s.gate.SenderReport(sr, now)
			}
		}
	}
}

// eachReport finds the sender reports of a stream in a compound packet
// (RFC 3550, section 6.1).
func eachReport(compound []byte, ssrc uint32, found func(sr []byte)) {
	for len(compound) >= 8 {
		n := 4 + 4*int(binary.BigEndian.Uint16(compound[2:]))
		if n > len(compound) {
			return
		}
		if compound[1] == uint8(rtcp.TypeSenderReport) && n >= 8 && binary.BigEndian.Uint32(compound[4:]) == ssrc {
			found(compound[:n:n])
		}
		compound = compound[n:]
	}
}

// source is one stream of the session, as the call sees it.
type source struct {
	track  *webrtc.TrackRemote
	pc     *webrtc.PeerConnection
	ssrc   uint32 // ours
	stream *gate.Stream

	mu       sync.Mutex
	since    time.Time
	bytes    uint64
	rate     float64
	measured bool
}

// Read returns the next decrypted packet.
func (s *source) Read(p []byte) (int, error) {
	n, attributes, err := s.track.Read(p)
	if err == nil && attributes.Get(webrtc.AttributeRtxSequenceNumber) != nil && n >= 4 {
		s.stream.Repaired(binary.BigEndian.Uint16(p[2:4]))
	}
	return n, err
}

// SetOpen opens or closes the gate.
func (s *source) SetOpen(open bool) { s.stream.SetOpen(open) }

// LastPacket is when the last packet arrived.
func (s *source) LastPacket() time.Time { return s.stream.Stats().LastAt }

// Rate is the stream's bytes per second.
func (s *source) Rate() (float64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rate, s.measured
}

// measure updates the rate every other second, and learns of the stream that
// carries retransmissions, which shows only once one was sent.
func (s *source) measure(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.IsZero() {
		s.since, s.bytes = now, s.stream.Stats().Bytes
	}
	d := now.Sub(s.since)
	if d < 2*time.Second {
		return
	}
	bytes := s.stream.Stats().Bytes
	s.rate, s.measured = float64(bytes-s.bytes)/d.Seconds(), true
	s.since, s.bytes = now, bytes
	if s.track.HasRTX() {
		s.stream.SetRTX(uint32(s.track.RtxSSRC()))
	}
}

// RequestKeyframe sends a picture loss indication (RFC 4585, section 6.3.1).
func (s *source) RequestKeyframe() {
	if s.stream.AllowKeyframeRequest(time.Now(), keyframeGap) {
		_ = s.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{
			SenderSSRC: s.ssrc, MediaSSRC: s.stream.SSRC(),
		}})
	}
}

// RequestPackets sends a generic NACK (RFC 4585, section 6.2.1).
func (s *source) RequestPackets(seqs []uint16) {
	if len(seqs) == 0 {
		return
	}
	_ = s.pc.WriteRTCP([]rtcp.Packet{&rtcp.TransportLayerNack{
		SenderSSRC: s.ssrc, MediaSSRC: s.stream.SSRC(), Nacks: rtcp.NackPairsFromSequenceNumbers(seqs),
	}})
}
