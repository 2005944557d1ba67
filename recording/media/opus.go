package media

// opusTicks returns the length of an Opus packet in 48 kHz ticks, 0 if it is
// none (RFC 6716, section 3.1; at most 120 ms, section 3.2.5).
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
	n := int64(2)
	switch b[0] & 3 {
	case 0:
		n = 1
	case 3:
		if len(b) < 2 {
			return 0
		}
		n = int64(b[1] & 0x3f)
	}
	if n*frame > 5760 {
		return 0
	}
	return n * frame
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
