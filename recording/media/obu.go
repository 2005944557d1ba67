package media

// OBU types (AV1 bitstream specification, section 6.2.2).
const (
	obuSequence  = 1
	obuDelimiter = 2
	obuHeader    = 3
	obuFrame     = 6
	obuTileList  = 8
)

// obuInvalid is the type of an OBU that cannot be read; 0 is reserved.
const obuInvalid = 0

// obu is an open bitstream unit.
type obu struct {
	typ byte
	// head is the first header byte, ext the second if there is one.
	head, ext byte
	payload   []byte
	// cut says that the size field promises more than there is.
	cut bool
}

func (o obu) extended() bool { return o.head&4 != 0 }

// parseOBU reads the OBU that elem is or, if elem is its first fragment,
// begins (AV1 section 5.3).
func parseOBU(elem []byte) obu {
	if len(elem) == 0 || elem[0]&0x80 != 0 {
		return obu{}
	}
	o := obu{typ: elem[0] >> 3 & 15, head: elem[0]}
	b := elem[1:]
	if o.extended() {
		if len(b) == 0 {
			return obu{}
		}
		o.ext, b = b[0], b[1:]
	}
	if o.head&2 != 0 {
		n, rest, ok := leb128(b)
		if !ok {
			return obu{}
		}
		o.cut = n > uint64(len(rest))
		b = rest[:min(n, uint64(len(rest)))]
	}
	o.payload = b
	return o
}

// appendOBU appends o with a size field.
func appendOBU(out []byte, o obu) []byte {
	out = append(out, o.head|2)
	if o.extended() {
		out = append(out, o.ext)
	}
	n := len(o.payload)
	for ; n > 0x7f; n >>= 7 {
		out = append(out, byte(n)|0x80)
	}
	return append(append(out, byte(n)), o.payload...)
}

// leb128 reads a number of at most eight bytes (AV1 section 4.10.5).
func leb128(b []byte) (v uint64, rest []byte, ok bool) {
	for i := 0; i < len(b) && i < 8; i++ {
		v |= uint64(b[i]&0x7f) << (7 * i)
		if b[i]&0x80 == 0 {
			return v, b[i+1:], v < 1<<32
		}
	}
	return 0, nil, false
}

// sequenceSize reads the largest frame size of a sequence header (AV1 section
// 5.5.1).
func sequenceSize(b []byte) (width, height int, ok bool) {
	r := bitReader{b: b}
	r.u(4) // seq_profile, still_picture
	if r.flag() {
		r.u(5)
	} else {
		r.operatingPoints()
	}
	wBits, hBits := int(r.u(4))+1, int(r.u(4))+1
	width, height = int(r.u(wBits))+1, int(r.u(hBits))+1
	if r.short {
		return 0, 0, false
	}
	return width, height, true
}

// operatingPoints skips timing and operating points.
func (r *bitReader) operatingPoints() {
	delayBits, model := 0, false
	if r.flag() { // timing_info_present_flag
		r.u(32)
		r.u(32)
		if r.flag() {
			r.ue()
		}
		if model = r.flag(); model {
			delayBits = int(r.u(5)) + 1
			r.u(32)
			r.u(10)
		}
	}
	display := r.flag()
	for range r.u(5) + 1 {
		r.u(12)
		if r.u(5) > 7 {
			r.flag()
		}
		if model && r.flag() {
			r.u(delayBits)
			r.u(delayBits)
			r.flag()
		}
		if display && r.flag() {
			r.u(4)
		}
	}
}
