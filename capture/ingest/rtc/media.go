package rtc

import (
	"fmt"
	"strings"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"stillwatch/capture/call"
	"stillwatch/internal/event"
)

// URIs of the header extensions that are read.
const (
	// RotationURI is the coordination of video orientation (3GPP TS 26.114).
	RotationURI = "urn:3gpp:video-orientation"
	// TransportCCURI carries the transport-wide sequence number.
	TransportCCURI = sdp.TransportCCURI
	// AudioLevelURI is how loud a packet of sound is (RFC 6464).
	AudioLevelURI = sdp.AudioLevelURI
)

var videoFeedback = []webrtc.RTCPFeedback{
	{Type: webrtc.TypeRTCPFBTransportCC},
	{Type: webrtc.TypeRTCPFBNACK},
	{Type: webrtc.TypeRTCPFBNACK, Parameter: "pli"},
	{Type: webrtc.TypeRTCPFBCCM, Parameter: "fir"},
}

// h264Profiles are constrained baseline, baseline, main and high as browsers
// offer them, in packetization mode 1 (RFC 6184, section 6.3).
var h264Profiles = []string{"42e01f", "42001f", "4d001f", "64001f", "640c1f"}

func videoCodecs() []webrtc.RTPCodecCapability {
	video := func(mime, fmtp string) webrtc.RTPCodecCapability {
		return webrtc.RTPCodecCapability{MimeType: mime, ClockRate: 90000, SDPFmtpLine: fmtp, RTCPFeedback: videoFeedback}
	}
	out := []webrtc.RTPCodecCapability{video(webrtc.MimeTypeVP8, "")}
	for _, p := range h264Profiles {
		out = append(out, video(webrtc.MimeTypeH264,
			"level-asymmetry-allowed=1;packetization-mode=1;profile-level-id="+p))
	}
	return append(out, video(webrtc.MimeTypeVP9, "profile-id=0"), video(webrtc.MimeTypeAV1, ""))
}

func audioCodecs() []webrtc.RTPCodecParameters {
	feedback := []webrtc.RTCPFeedback{{Type: webrtc.TypeRTCPFBTransportCC}}
	return []webrtc.RTPCodecParameters{
		{PayloadType: 111, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2,
			SDPFmtpLine: "minptime=10;useinbandfec=1", RTCPFeedback: feedback,
		}},
		{PayloadType: 0, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypePCMU, ClockRate: 8000, RTCPFeedback: feedback,
		}},
		{PayloadType: 8, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypePCMA, ClockRate: 8000, RTCPFeedback: feedback,
		}},
	}
}

// CodecNames lists what may be sent to us, for error texts.
const CodecNames = "video VP8, VP9 (profile 0), H264 (packetization-mode 1) or AV1; audio opus, PCMU or PCMA"

// registerVideo adds codecs and their retransmission formats (RFC 4588) under
// payload types of our own; answers use those of the offer.
func registerVideo(m *webrtc.MediaEngine, codecs []webrtc.RTPCodecCapability) error {
	pt := webrtc.PayloadType(96)
	for _, c := range codecs {
		rtx := webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeRTX, ClockRate: c.ClockRate, SDPFmtpLine: fmt.Sprintf("apt=%d", pt),
		}
		for i, cc := range []webrtc.RTPCodecCapability{c, rtx} {
			p := webrtc.RTPCodecParameters{RTPCodecCapability: cc, PayloadType: pt + webrtc.PayloadType(i)}
			if err := m.RegisterCodec(p, webrtc.RTPCodecTypeVideo); err != nil {
				return fmt.Errorf("register %s: %w", cc.MimeType, err)
			}
		}
		if pt += 2; pt == 110 { // 111 is Opus
			pt = 112
		}
	}
	return nil
}

func publisherMedia() (*webrtc.MediaEngine, error) {
	m := &webrtc.MediaEngine{}
	if err := registerVideo(m, videoCodecs()); err != nil {
		return nil, err
	}
	for _, c := range audioCodecs() {
		if err := m.RegisterCodec(c, webrtc.RTPCodecTypeAudio); err != nil {
			return nil, fmt.Errorf("register %s: %w", c.MimeType, err)
		}
	}
	return m, registerExtensions(m, map[webrtc.RTPCodecType][]string{
		webrtc.RTPCodecTypeVideo: {
			sdp.SDESMidURI, sdp.SDESRTPStreamIDURI, sdp.SDESRepairRTPStreamIDURI, TransportCCURI, RotationURI,
		},
		webrtc.RTPCodecTypeAudio: {sdp.SDESMidURI, TransportCCURI, AudioLevelURI},
	})
}

func viewerMedia(codecs []webrtc.RTPCodecCapability) (*webrtc.MediaEngine, error) {
	m := &webrtc.MediaEngine{}
	var video []webrtc.RTPCodecCapability
	for _, c := range codecs {
		if strings.HasPrefix(strings.ToLower(c.MimeType), "video/") {
			video = append(video, c)
			continue
		}
		for _, known := range audioCodecs() {
			if strings.EqualFold(known.MimeType, c.MimeType) {
				if err := m.RegisterCodec(known, webrtc.RTPCodecTypeAudio); err != nil {
					return nil, fmt.Errorf("register %s: %w", c.MimeType, err)
				}
			}
		}
	}
	if err := registerVideo(m, video); err != nil {
		return nil, err
	}
	return m, registerExtensions(m, map[webrtc.RTPCodecType][]string{
		webrtc.RTPCodecTypeVideo: {sdp.SDESMidURI, RotationURI},
		webrtc.RTPCodecTypeAudio: {sdp.SDESMidURI},
	})
}

func registerExtensions(m *webrtc.MediaEngine, uris map[webrtc.RTPCodecType][]string) error {
	for kind, list := range uris {
		for _, uri := range list {
			err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, kind)
			if err != nil {
				return fmt.Errorf("register extension %s: %w", uri, err)
			}
		}
	}
	return nil
}

// VideoCodec names a video codec as events do.
func VideoCodec(mime string) (event.Codec, bool) {
	switch strings.ToLower(mime) {
	case "video/vp8":
		return event.VP8, true
	case "video/vp9":
		return event.VP9, true
	case "video/h264":
		return event.H264, true
	case "video/av1":
		return event.AV1, true
	}
	return "", false
}

// Capability is a track's codec for a connection that sends it on.
func Capability(c call.Codec) webrtc.RTPCodecCapability {
	out := webrtc.RTPCodecCapability{
		MimeType: c.MimeType, ClockRate: c.ClockRate, Channels: c.Channels, SDPFmtpLine: c.Fmtp,
	}
	if strings.HasPrefix(strings.ToLower(c.MimeType), "video/") {
		out.RTCPFeedback = videoFeedback
	}
	return out
}
