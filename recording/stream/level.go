package stream

import "encoding/binary"

// Profiles of header extensions (RFC 8285, sections 4.2 and 4.3).
const (
	oneByteProfile = 0xbede
	twoByteProfile = 0x1000
)

// audioLevel reads the loudness of an RTP packet (RFC 6464, section 3) from the
// header extension with this id: -dBov, and whether it is marked as voice. It
// allocates nothing.
func audioLevel(b []byte, id uint8) (level uint8, voice, ok bool) {
	if len(b) < 12 || b[0]>>6 != 2 || b[0]&0x10 == 0 {
		return 0, false, false
	}
	at := 12 + 4*int(b[0]&0x0f)
	if len(b) < at+4 {
		return 0, false, false
	}
	profile, words := binary.BigEndian.Uint16(b[at:]), int(binary.BigEndian.Uint16(b[at+2:]))
	b = b[at+4:]
	if len(b) < 4*words {
		return 0, false, false
	}
	b = b[:4*words]
	head := 1
	if profile&0xfff0 == twoByteProfile {
		head = 2
	} else if profile != oneByteProfile {
		return 0, false, false
	}
	for len(b) > 0 {
		if b[0] == 0 { // padding
			b = b[1:]
			continue
		}
		if len(b) < head {
			return 0, false, false
		}
		this, size := b[0]>>4, int(b[0]&0x0f)+1
		if head == 2 {
			this, size = b[0], int(b[1])
		} else if this == 15 { // reserved: nothing follows
			return 0, false, false
		}
		b = b[head:]
		if len(b) < size {
			return 0, false, false
		}
		if this == id && size >= 1 {
			return b[0] & 0x7f, b[0]&0x80 != 0, true
		}
		b = b[size:]
	}
	return 0, false, false
}
