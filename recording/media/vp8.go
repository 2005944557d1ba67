package media

import (
	"github.com/pion/rtp/codecs"

	"stillwatch/internal/codec"
)

// vp8 reads RFC 7741 payloads.
type vp8 struct{ stateless }

func (vp8) starts(payload []byte) bool {
	var p codecs.VP8Packet
	_, err := p.Unmarshal(payload)
	return err == nil && p.S == 1 && p.PID == 0
}

func (vp8) join(dst []byte, payloads [][]byte) ([]byte, picture, error) {
	from := len(dst)
	for _, raw := range payloads {
		var p codecs.VP8Packet
		body, err := p.Unmarshal(raw)
		if err != nil {
			return dst, picture{}, errMalformed
		}
		dst = append(dst, body...)
	}
	h, ok := codec.ParseVP8(dst[from:])
	if !ok {
		return dst, picture{}, errMalformed
	}
	pic := picture{key: h.Key, width: h.Width, height: h.Height}
	if h.Key {
		pic.params = uint64(h.Width)<<16 | uint64(h.Height)
	}
	return dst, pic, nil
}
