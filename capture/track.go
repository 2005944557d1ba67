package capture

import (
	"time"

	"github.com/pion/rtp"

	"stillwatch/internal/event"
)

// TrackInfo says whose track this is and how its packets are to be read. It
// does not change while the track lives.
type TrackInfo struct {
	// ID is unique among the live tracks of all calls.
	ID string
	// CID is the call, CallType the part of it before the colon.
	CID, CallType string
	// SessionID is the live run of the call.
	SessionID string
	// UserID is the publisher; UserSessionID is this one connection of theirs.
	UserID, UserSessionID string
	// Type says camera or screen share.
	Type event.TrackType
	// Codec is the video codec that was negotiated.
	Codec event.Codec
	// RotationExtID is the id that was negotiated for the RTP header extension
	// urn:3gpp:video-orientation (3GPP TS 26.114, section 7.4.5); 0 when it
	// was not.
	RotationExtID uint8
	// AudioLevelExtID is the same for urn:ietf:params:rtp-hdrext:ssrc-audio-level
	// (RFC 6464) of a sound track.
	AudioLevelExtID uint8
	// ParameterSets are H.264 SPS and PPS NAL units from the SDP's
	// sprop-parameter-sets (RFC 6184, section 8.1), without start codes.
	ParameterSets [][]byte
	// Record is what of the connection's media is recorded.
	Record event.RecordType
}

// Layer is one simulcast encoding of a track.
type Layer struct {
	// RID names the layer (RFC 8852); empty without simulcast.
	RID string
	// Width and Height are in pixels, 0 when not known.
	Width, Height int
	// Active tells that packets of the layer arrived lately.
	Active bool
}

// Track is a live video track. Its methods may be called from any goroutine,
// return without waiting for the network, and do not call the Sampler.
type Track interface {
	// Info describes the track.
	Info() TrackInfo
	// Layers lists the encodings, smallest picture first; one unnamed layer
	// without simulcast.
	Layers() []Layer
	// Tap lets packets of a layer flow to sink until stop is called. A packet
	// is valid only during the call, which may come from any one goroutine at
	// a time; sink does not block. stop may be called twice and from within
	// sink; a packet that is on its way may still arrive shortly after it.
	// While no tap is open the track need not decrypt anything.
	Tap(rid string, sink func(p *rtp.Packet, at time.Time)) (stop func())
	// RequestKeyframe asks the publisher for a keyframe of a layer (PLI,
	// RFC 4585, section 6.3.1). One request serves all who ask within 300 ms.
	RequestKeyframe(rid string)
}
