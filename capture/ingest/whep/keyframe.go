package whep

import "stillwatch/internal/event"

// startsKeyframe tells whether a payload is the first of a keyframe, so that a
// viewer can begin with it.
func startsKeyframe(codec event.Codec, p []byte) bool {
	switch codec {
	case event.VP8:
		return startsVP8(p)
	case event.VP9:
		return startsVP9(p)
	case event.H264:
		return startsH264(p)
	case event.AV1:
		// The N bit: first packet of a coded video sequence (AV1 RTP, 4.4).
		return len(p) > 1 && p[0]&0x08 != 0
	}
	return false
}

// startsVP8 reads the payload descriptor and the P bit (RFC 7741, section 4).
func startsVP8(p []byte) bool {
	if len(p) < 2 || p[0]&0x10 == 0 || p[0]&0x07 != 0 {
		return false
	}
	n := 1
	if p[0]&0x80 != 0 {
		x := p[1]
		n++
		if x&0x80 != 0 {
			if n >= len(p) {
				return false
			}
			if p[n]&0x80 != 0 {
				n++
			}
			n++
		}
		if x&0x40 != 0 {
			n++
		}
		if x&0x30 != 0 {
			n++
		}
	}
	return n < len(p) && p[n]&1 == 0
}

// startsVP9 looks for the beginning of a frame of the base layer that depends
// on no other (RFC 9628, section 4.2).
func startsVP9(p []byte) bool {
	if len(p) < 2 || p[0]&0x40 != 0 || p[0]&0x08 == 0 {
		return false
	}
	if p[0]&0x20 == 0 {
		return true
	}
	n := 1
	if p[0]&0x80 != 0 {
		if p[1]&0x80 != 0 {
			n++
		}
		n++
	}
	return n < len(p) && p[n]>>1&0x07 == 0
}

// startsH264 looks for an SPS or the start of an IDR slice (RFC 6184,
// section 5.2).
func startsH264(p []byte) bool {
	if len(p) < 2 {
		return false
	}
	const idr, sps, stapA, fuA = 5, 7, 24, 28
	switch p[0] & 0x1f {
	case idr, sps:
		return true
	case stapA:
		for n := 1; n+3 <= len(p); {
			if t := p[n+2] & 0x1f; t == idr || t == sps {
				return true
			}
			n += 2 + int(p[n])<<8 + int(p[n+1])
		}
	case fuA:
		return p[1]&0x80 != 0 && p[1]&0x1f == idr
	}
	return false
}
