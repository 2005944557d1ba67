package gate

import "encoding/binary"

// header is what an SRTP packet shows in clear (RFC 3550, section 5.1).
type header struct {
	ssrc      uint32
	timestamp uint32
	seq       uint16
	pt        uint8
	twcc      uint16
	hasTWCC   bool
}

// Extension profiles of RFC 8285.
const (
	oneByteProfile = 0xBEDE
	twoByteProfile = 0x1000
)

// isRTP tells RTP from STUN, DTLS and RTCP by the first two bytes (RFC 7983,
// section 7, and RFC 5761, section 4).
func isRTP(b []byte) bool {
	return len(b) >= 12 && b[0]>>6 == 2 && (b[1] < 192 || b[1] > 223)
}

// parse reads the clear header. twccID is the negotiated id of the transport
// sequence number, 0 for none.
func (h *header) parse(b []byte, twccID uint8) {
	h.pt = b[1] & 0x7f
	h.seq = binary.BigEndian.Uint16(b[2:])
	h.timestamp = binary.BigEndian.Uint32(b[4:])
	h.ssrc = binary.BigEndian.Uint32(b[8:])
	h.hasTWCC = false
	if twccID == 0 || b[0]&0x10 == 0 {
		return
	}
	off := 12 + 4*int(b[0]&0x0f)
	if len(b) < off+4 {
		return
	}
	profile := binary.BigEndian.Uint16(b[off:])
	n := 4 * int(binary.BigEndian.Uint16(b[off+2:]))
	off += 4
	if len(b) < off+n {
		return
	}
	ext := b[off : off+n]
	switch {
	case profile == oneByteProfile:
		h.twcc, h.hasTWCC = findOneByte(ext, twccID)
	case profile&0xfff0 == twoByteProfile:
		h.twcc, h.hasTWCC = findTwoByte(ext, twccID)
	}
}

func findOneByte(ext []byte, id uint8) (uint16, bool) {
	for i := 0; i < len(ext); {
		if ext[i] == 0 { // padding
			i++
			continue
		}
		got, n := ext[i]>>4, int(ext[i]&0x0f)+1
		if got == 15 || i+1+n > len(ext) {
			return 0, false
		}
		if got == id && n >= 2 {
			return binary.BigEndian.Uint16(ext[i+1:]), true
		}
		i += 1 + n
	}
	return 0, false
}

func findTwoByte(ext []byte, id uint8) (uint16, bool) {
	for i := 0; i < len(ext); {
		if ext[i] == 0 {
			i++
			continue
		}
		if i+2 > len(ext) {
			return 0, false
		}
		got, n := ext[i], int(ext[i+1])
		if i+2+n > len(ext) {
			return 0, false
		}
		if got == id && n >= 2 {
			return binary.BigEndian.Uint16(ext[i+2:]), true
		}
		i += 2 + n
	}
	return 0, false
}
