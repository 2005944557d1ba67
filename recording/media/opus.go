package media

// opusTicks returns the length of an Opus packet in 48 kHz ticks, 0 if a
// decoder would refuse it (RFC 6716, sections 3.1 to 3.4).
func opusTicks(b []byte) int64 {
	if len(b) == 0 {
		return 0
	}
	var frame int64
	switch config := b[0] >> 3; {
	case config < 12:
		frame = []int64{480, 960, 1920, 2880}[config&3]
	case config < 16:
		frame = 480 << (config & 1)
	default:
		frame = 120 << (config & 3)
	}
	n, ok := opusFrames(b)
	if !ok || int64(n)*frame > 5760 {
		return 0
	}
	return int64(n) * frame
}

// maxOpusFrame is how long a frame is at most, in bytes.
const maxOpusFrame = 1275

// opusFrames counts the frames of a packet of at least one byte, and tells
// whether their lengths are as they must be.
func opusFrames(b []byte) (n int, ok bool) {
	code, b := b[0]&3, b[1:]
	switch code {
	case 0:
		return 1, len(b) <= maxOpusFrame
	case 1:
		return 2, len(b)%2 == 0 && len(b)/2 <= maxOpusFrame
	case 2:
		first, rest, ok := opusLength(b)
		return 2, ok && first <= len(rest) && len(rest)-first <= maxOpusFrame
	}
	if len(b) == 0 {
		return 0, false
	}
	n = int(b[0] & 0x3f)
	variable, padded := b[0]&0x80 != 0, b[0]&0x40 != 0
	b = b[1:]
	padding := 0
	for more := padded; more; {
		if len(b) == 0 {
			return 0, false
		}
		p := int(b[0])
		if b, more = b[1:], p == 255; more {
			p = 254
		}
		padding += p
	}
	if n == 0 || padding > len(b) {
		return 0, false
	}
	b = b[:len(b)-padding]
	if !variable {
		return n, len(b)%n == 0 && len(b)/n <= maxOpusFrame
	}
	sum := 0
	for range n - 1 {
		var size int
		if size, b, ok = opusLength(b); !ok {
			return 0, false
		}
		sum += size
	}
	return n, sum <= len(b) && len(b)-sum <= maxOpusFrame
}

// opusLength reads a frame's length (RFC 6716, section 3.2.1).
func opusLength(b []byte) (n int, rest []byte, ok bool) {
	switch {
	case len(b) == 0:
		return 0, nil, false
	case b[0] < 252:
		return int(b[0]), b[1:], true
	case len(b) < 2:
		return 0, nil, false
	default:
		return int(b[0]) + 4*int(b[1]), b[2:], true
	}
}

// opusSilence returns the longest packet of silence of at most so many 48 kHz
// ticks, and its length; nil for less than 2.5 ms. It is a CELT fullband frame
// whose first symbol says silence (RFC 6716, section 4.3).
func opusSilence(ticks int64) ([]byte, int64) {
	for config := byte(31); config >= 28; config-- {
		if n := int64(120) << (config & 3); n <= ticks {
			return []byte{config << 3, 0xff, 0xfe}, n
		}
	}
	return nil, 0
}
