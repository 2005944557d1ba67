package codec

// ParseVP8 reads the frame tag and, of keyframes, the dimensions, which are
// not 0 (RFC 6386, section 9.1).
func ParseVP8(b []byte) (h Header, ok bool) {
	if len(b) < 3 {
		return Header{}, false
	}
	if b[0]&1 != 0 {
		return Header{}, true
	}
	if len(b) < 10 || b[3] != 0x9d || b[4] != 0x01 || b[5] != 0x2a {
		return Header{}, false
	}
	firstPartition := int(b[0])>>5 | int(b[1])<<3 | int(b[2])<<11
	h = Header{Key: true, Width: (int(b[6]) | int(b[7])<<8) & 0x3fff, Height: (int(b[8]) | int(b[9])<<8) & 0x3fff}
	if firstPartition > len(b)-10 || h.Width == 0 || h.Height == 0 {
		return Header{}, false
	}
	return h, true
}
