package keyframe

import "github.com/pion/rtp/codecs"

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
	// frame tag, start code, dimensions: RFC 6386, section 9.1
	if len(data) < 10 || data[0]&1 != 0 || data[3] != 0x9d || data[4] != 0x01 || data[5] != 0x2a {
		return picture{}, errMalformed
	}
	firstPartition := int(data[0])>>5 | int(data[1])<<3 | int(data[2])<<11
	w := (int(data[6]) | int(data[7])<<8) & 0x3fff
	h := (int(data[8]) | int(data[9])<<8) & 0x3fff
	if firstPartition > len(data)-10 || w == 0 || h == 0 {
		return picture{}, errMalformed
	}
	return picture{data: data, width: w, height: h}, nil
}
