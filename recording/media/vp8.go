package media

import "github.com/pion/rtp/codecs"

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
	pic, ok := vp8Header(dst[from:])
	if !ok {
		return dst, picture{}, errMalformed
	}
	return dst, pic, nil
}

// vp8Header reads the frame tag and, of keyframes, the dimensions (RFC 6386,
// section 9.1).
func vp8Header(b []byte) (pic picture, ok bool) {
	if len(b) < 3 {
		return picture{}, false
	}
	if b[0]&1 != 0 {
		return picture{}, true
	}
	if len(b) < 10 || b[3] != 0x9d || b[4] != 0x01 || b[5] != 0x2a {
		return picture{}, false
	}
	firstPartition := int(b[0])>>5 | int(b[1])<<3 | int(b[2])<<11
	w := (int(b[6]) | int(b[7])<<8) & 0x3fff
	h := (int(b[8]) | int(b[9])<<8) & 0x3fff
	if firstPartition > len(b)-10 || w == 0 || h == 0 {
		return picture{}, false
	}
	return picture{key: true, width: w, height: h, params: uint64(w)<<16 | uint64(h)}, true
}
