package codec

// OBU types (AV1 bitstream specification, section 6.2.2).
const (
	// OBUInvalid is that of an OBU that cannot be read; 0 is reserved.
	OBUInvalid   = 0
	OBUSequence  = 1
	OBUDelimiter = 2
	OBUHeader    = 3
	OBUFrame     = 6
	OBUTileList  = 8
)

// MaxSequenceHeader bounds a sequence header in bytes; real ones have a dozen.
const MaxSequenceHeader = 1024

// OBU is an open bitstream unit.
type OBU struct {
	Type byte
	// Head is the first header byte, Ext the second if there is one.
	Head, Ext byte
	Payload   []byte
	// Cut says that the size field promises more than there is.
	Cut bool
}

func (o OBU) extended() bool { return o.Head&4 != 0 }

// ParseOBU reads the OBU that elem is or, if elem is its first fragment,
// begins (AV1 section 5.3).
func ParseOBU(elem []byte) OBU {
	if len(elem) == 0 || elem[0]&0x80 != 0 {
		return OBU{}
	}
	o := OBU{Type: elem[0] >> 3 & 15, Head: elem[0]}
	b := elem[1:]
	if o.extended() {
		if len(b) == 0 {
			return OBU{}
		}
		o.Ext, b = b[0], b[1:]
	}
	if o.Head&2 != 0 {
		n, rest, ok := leb128(b)
		if !ok {
			return OBU{}
		}
		o.Cut = n > uint64(len(rest))
		b = rest[:min(n, uint64(len(rest)))]
	}
	o.Payload = b
	return o
}

// AppendOBU appends o with a size field.
func AppendOBU(out []byte, o OBU) []byte {
	out = append(out, o.Head|2)
	if o.extended() {
		out = append(out, o.Ext)
	}
	n := len(o.Payload)
	for ; n > 0x7f; n >>= 7 {
		out = append(out, byte(n)|0x80)
	}
	return append(append(out, byte(n)), o.Payload...)
}

// ShowsKey tells of a frame header whether it is that of a shown keyframe
// (AV1 section 5.9.2: show_existing_frame, frame_type, show_frame), which it
// always is with reduced_still_picture_header of the sequence header.
func ShowsKey(sequence, frame []byte) bool {
	return len(sequence) > 0 && sequence[0]&0x08 != 0 || len(frame) > 0 && frame[0]&0xf0 == 0x10
}

// Aggregation is the aggregation header |Z|Y|W W|N|-|-|-| of the RTP Payload
// Format For AV1 (AOMedia, v1.0, section 4.4).
type Aggregation struct {
	// Continues says that the first OBU element goes on from the packet before,
	// Continued that the last one goes on in the next.
	Continues, Continued bool
	// Elements counts the OBU elements, 1 to 3; 0: all have a length in front.
	Elements int
	// NewSequence marks the first packet of a coded video sequence.
	NewSequence bool
}

// ParseAggregation reads the first byte of a payload.
func ParseAggregation(b byte) Aggregation {
	return Aggregation{b&0x80 != 0, b&0x40 != 0, int(b >> 4 & 3), b&8 != 0}
}

// Element cuts the i-th OBU element, from 0, off b.
func (g Aggregation) Element(i int, b []byte) (elem, rest []byte, ok bool) {
	if g.Elements != 0 && i == g.Elements-1 {
		return b, nil, true
	}
	n, b, ok := leb128(b)
	if !ok || n > uint64(len(b)) || g.Elements != 0 && i >= g.Elements {
		return nil, nil, false
	}
	return b[:n], b[n:], true
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

// SequenceSize reads the largest frame size, in pixels, of a sequence header's
// payload (AV1 section 5.5.1).
func SequenceSize(b []byte) (width, height int, ok bool) {
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
