package rtc

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// Bounds of an offer.
const (
	// MaxOffer is the size of the largest offer taken, in bytes.
	MaxOffer = 64 << 10
	// MaxMedia is how many media sections an offer may have.
	MaxMedia = 16
	// maxLayers is how many simulcast layers a media section may have.
	maxLayers = 4
)

// Offer is an SDP offer that was looked through before it is handed on.
type Offer struct {
	// SDP is the text.
	SDP string
	// Media are its audio and video sections in order.
	Media []Media
	// Passive tells that the client waits for our DTLS handshake.
	Passive bool
	// Ufrag and Pwd are the client's ICE credentials.
	Ufrag, Pwd string

	parsed *sdp.SessionDescription
}

// Media is one media section of an offer.
type Media struct {
	// MID is its identification (RFC 5888).
	MID string
	// Kind is "audio" or "video".
	Kind string
	// Sends and Receives tell the direction, as the client sees it.
	Sends, Receives bool
	// Content is the value of a=content (RFC 4796), "slides" for a screen.
	Content string
	// Stream is the first id of a=msid (RFC 8830).
	Stream string
	// Rids are the simulcast layers the client sends, in its order.
	Rids []string

	fmtp map[uint8]string
}

// ParseOffer reads an offer and refuses what could not be answered, in words
// that its author can act on.
func ParseOffer(body []byte) (*Offer, error) {
	if len(body) > MaxOffer {
		return nil, fmt.Errorf("the offer has %d bytes, at most %d are taken", len(body), MaxOffer)
	}
	var d sdp.SessionDescription
	if err := d.Unmarshal(body); err != nil {
		return nil, fmt.Errorf("the body is not SDP: %w", err)
	}
	if n := len(d.MediaDescriptions); n == 0 || n > MaxMedia {
		return nil, fmt.Errorf("the offer has %d media sections, 1 to %d are taken", n, MaxMedia)
	}
	o := &Offer{SDP: string(body), parsed: &d}
	fingerprint, _ := d.Attribute("fingerprint")
	o.Ufrag, _ = d.Attribute("ice-ufrag")
	o.Pwd, _ = d.Attribute("ice-pwd")
	setup, _ := d.Attribute("setup")
	seen := make(map[string]bool)
	for _, md := range d.MediaDescriptions {
		m, err := parseMedia(md)
		if err != nil {
			return nil, err
		}
		if seen[m.MID] {
			return nil, fmt.Errorf("a=mid:%s stands in two media sections", m.MID)
		}
		seen[m.MID] = true
		o.Media = append(o.Media, m)
		first(&o.Ufrag, md, "ice-ufrag")
		first(&o.Pwd, md, "ice-pwd")
		first(&fingerprint, md, "fingerprint")
		first(&setup, md, "setup")
	}
	switch {
	case o.Ufrag == "" || o.Pwd == "":
		return nil, errors.New("the offer has no a=ice-ufrag and a=ice-pwd")
	case fingerprint == "":
		return nil, errors.New("the offer has no a=fingerprint: only DTLS-SRTP is taken")
	}
	o.Passive = setup == "passive"
	return o, nil
}

// first keeps the first value of an attribute that the sections give.
func first(v *string, md *sdp.MediaDescription, key string) {
	if *v == "" {
		*v, _ = md.Attribute(key)
	}
}

func parseMedia(md *sdp.MediaDescription) (Media, error) {
	m := Media{Kind: md.MediaName.Media, Sends: true, Receives: true, fmtp: make(map[uint8]string)}
	if m.Kind != "audio" && m.Kind != "video" {
		return m, fmt.Errorf("m=%s is not taken: offer audio and video only", m.Kind)
	}
	for _, a := range md.Attributes {
		switch a.Key {
		case "mid":
			m.MID = a.Value
		case "sendonly":
			m.Receives = false
		case "recvonly":
			m.Sends = false
		case "inactive":
			m.Sends, m.Receives = false, false
		case "content":
			m.Content = a.Value
		case "msid":
			m.Stream, _, _ = strings.Cut(a.Value, " ")
		case "rid":
			if id, rest, _ := strings.Cut(a.Value, " "); strings.HasPrefix(rest, "send") {
				m.Rids = append(m.Rids, id)
			}
		case "fmtp":
			if pt, params, ok := strings.Cut(a.Value, " "); ok {
				if n, err := strconv.ParseUint(pt, 10, 7); err == nil {
					m.fmtp[uint8(n)] = params
				}
			}
		}
	}
	if m.MID == "" {
		return m, fmt.Errorf("an m=%s section has no a=mid", m.Kind)
	}
	if len(m.Rids) > maxLayers {
		return m, fmt.Errorf("a=mid:%s has %d simulcast layers, at most %d are taken", m.MID, len(m.Rids), maxLayers)
	}
	return m, nil
}

// ParameterSets returns the H.264 SPS and PPS that the section gives for a
// payload type (RFC 6184, section 8.1), without start codes; nil if none.
func (m Media) ParameterSets(pt uint8) [][]byte {
	var out [][]byte
	for _, param := range strings.Split(m.fmtp[pt], ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		if key != "sprop-parameter-sets" {
			continue
		}
		for _, s := range strings.Split(value, ",") {
			if nal, err := base64.StdEncoding.DecodeString(s); err == nil && len(nal) > 0 {
				out = append(out, nal)
			}
		}
	}
	return out
}

// Restarted returns the offer with the ICE credentials replaced and without
// its candidates, which is what a client means by an ICE restart in a fragment
// (RFC 8840, section 4.4).
func (o *Offer) Restarted(ufrag, pwd string) (*Offer, error) {
	var d sdp.SessionDescription
	if err := d.UnmarshalString(o.SDP); err != nil {
		return nil, fmt.Errorf("reread the offer: %w", err)
	}
	d.Origin.SessionVersion++
	d.Attributes = restarted(d.Attributes, ufrag, pwd)
	for _, md := range d.MediaDescriptions {
		md.Attributes = restarted(md.Attributes, ufrag, pwd)
	}
	body, err := d.Marshal()
	if err != nil {
		return nil, fmt.Errorf("write the offer: %w", err)
	}
	return ParseOffer(body)
}

func restarted(attrs []sdp.Attribute, ufrag, pwd string) []sdp.Attribute {
	out := attrs[:0]
	for _, a := range attrs {
		switch a.Key {
		case "candidate", "end-of-candidates":
			continue
		case "ice-ufrag":
			a.Value = ufrag
		case "ice-pwd":
			a.Value = pwd
		}
		out = append(out, a)
	}
	return out
}
