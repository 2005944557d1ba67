package keyframe

import (
	"github.com/pion/rtp/codecs"

	"stillwatch/internal/codec"
)

// vp8 reads RFC 7741 payloads.
type vp8 struct{}

func (vp8) inspect(payload []byte) hint {
	var p codecs.VP8Packet
	body, err := p.Unmarshal(payload)
	if err != nil || p.S == 0 || p.PID != 0 || len(body) == 0 {
		return hint{}
	}
	// the first partition of a frame: its first bit is the inverse key frame
	// flag (RFC 6386, section 9.1)
	if body[0]&1 != 0 {
		return hint{class: delta, start: true}
	}
	return hint{class: key, start: true, top: allLayers}
}

func (vp8) join(ps parts) (picture, error) {
	data := make([]byte, 0, len(ps.data))
	for i := range ps.packets {
		raw := ps.payload(i)
		if len(raw) == 0 {
			continue
		}
		var p codecs.VP8Packet
		body, err := p.Unmarshal(raw)
		if err != nil {
			return picture{}, errMalformed
		}
		data = append(data, body...)
	}
	h, ok := codec.ParseVP8(data)
	if !ok || !h.Key {
		return picture{}, errMalformed
	}
	return picture{data: data, width: h.Width, height: h.Height}, nil
}
