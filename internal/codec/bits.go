package codec

// bitReader reads a bitstream from its highest bit on. Reading past the end
// gives zeros and sets short.
type bitReader struct {
	b     []byte
	pos   int
	short bool
}

func (r *bitReader) u(n int) (v uint32) {
	for range n {
		v <<= 1
		if r.pos>>3 >= len(r.b) {
			r.short = true
			continue
		}
		v |= uint32(r.b[r.pos>>3]>>(7-r.pos&7)) & 1
		r.pos++
	}
	return v
}

func (r *bitReader) flag() bool { return r.u(1) == 1 }

// ue reads an unsigned Exp-Golomb code (H.264, section 9.1); AV1's uvlc is
// the same (AV1 section 4.10.3). At most 31 leading zeros.
func (r *bitReader) ue() uint32 {
	zeros := 0
	for !r.flag() {
		if zeros++; zeros > 31 || r.short {
			r.short = true
			return 0
		}
	}
	return 1<<zeros - 1 + r.u(zeros)
}

// se reads a signed Exp-Golomb code (H.264, section 9.1.1).
func (r *bitReader) se() int32 {
	v := r.ue()
	if v&1 == 1 {
		return int32(v/2) + 1
	}
	return -int32(v / 2)
}
