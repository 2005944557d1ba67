package codec

import "hash/fnv"

// NAL unit types (H.264 table 7-1; RFC 6184, table 1).
const (
	NALSlice = 1
	NALIDR   = 5
	NALSPS   = 7
	NALPPS   = 8
	NALAUD   = 9
	NALSTAPA = 24
	NALFUA   = 28
)

// MaxParameterSet bounds an SPS or PPS in bytes; real ones have some dozens.
const MaxParameterSet = 2048

// NALType is the type in the first byte of a NAL unit or of an RTP payload.
func NALType(nal byte) byte { return nal & 0x1f }

// AppendNAL appends a NAL unit in Annex B form (H.264, annex B.1).
func AppendNAL(dst, nal []byte) []byte {
	return append(append(dst, 0, 0, 0, 1), nal...)
}

// CutSTAP cuts the next NAL unit, which may be empty, off the units of an
// aggregation packet (RFC 6184, section 5.7.1), which begin behind its first
// byte. It is false when nothing follows or the unit is cut off; what is left
// then tells which.
func CutSTAP(b []byte) (nal, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := int(b[0])<<8 | int(b[1])
	if b = b[2:]; n > len(b) {
		return nil, b, false
	}
	return b[:n], b[n:], true
}

// unescape removes emulation prevention bytes (H.264, section 7.4.1) from at
// most the first n bytes of a NAL unit, and its header byte.
func unescape(nal []byte, n int) []byte {
	out := make([]byte, 0, min(len(nal), n))
	zeros := 0
	for _, c := range nal[1:min(len(nal), n)] {
		if zeros >= 2 && c == 3 {
			zeros = 0
			continue
		}
		if zeros++; c != 0 {
			zeros = 0
		}
		out = append(out, c)
	}
	return out
}

// SliceHead is the start of a slice header (H.264, section 7.3.3).
type SliceHead struct {
	// FirstMB is first_mb_in_slice: 0 of a picture's first slice.
	FirstMB uint32
	// PPS is pic_parameter_set_id.
	PPS uint32
}

// ParseSliceHead reads the start of a slice NAL unit, which is not empty.
func ParseSliceHead(nal []byte) (SliceHead, bool) {
	r := bitReader{b: unescape(nal, 24)}
	h := SliceHead{FirstMB: r.ue()}
	r.ue() // slice_type
	h.PPS = r.ue()
	return h, !r.short
}

// SPSID reads seq_parameter_set_id, 0 to 31 (H.264, section 7.3.2.1.1). It
// does not allocate: bytes to escape cannot come so early.
func SPSID(nal []byte) (uint32, bool) {
	r := bitReader{b: nal[min(4, len(nal)):]}
	id := r.ue()
	return id, !r.short && id < 32
}

// PPSIDs reads the ids of a PPS, 0 to 255, and of its SPS, 0 to 31 (H.264,
// section 7.3.2.2). It does not allocate.
func PPSIDs(nal []byte) (pps, sps uint32, ok bool) {
	r := bitReader{b: nal[min(1, len(nal)):]}
	pps, sps = r.ue(), r.ue()
	return pps, sps, !r.short && pps < 256 && sps < 32
}

// SPS is a sequence parameter set, as far as it matters.
type SPS struct {
	ID uint32
	// Width and Height, in pixels, are those of the cropped picture.
	Width, Height int

	head   [3]byte   // profile, constraints, level
	behind bitReader // stands behind the id
}

// ParseSPS reads an SPS NAL unit (H.264, sections 7.3.2.1.1 and 7.4.2.1.1).
func ParseSPS(nal []byte) (s SPS, ok bool) {
	if len(nal) < 5 || len(nal) > MaxParameterSet {
		return SPS{}, false
	}
	r := bitReader{b: unescape(nal, len(nal))}
	profile := r.u(8)
	r.u(16) // constraints, level
	s.ID = r.ue()
	if r.short || s.ID >= 32 {
		return SPS{}, false
	}
	s.head, s.behind = [3]byte(r.b[:3]), r
	chroma := uint32(1)
	switch profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
		chroma = r.highProfile()
	}
	r.ue() // log2_max_frame_num_minus4
	r.picOrderCount()
	r.ue()   // max_num_ref_frames
	r.flag() // gaps_in_frame_num_value_allowed_flag
	mbs, units := r.ue()+1, r.ue()+1
	fields := uint32(1)
	if !r.flag() { // frame_mbs_only_flag
		fields = 2
		r.flag()
	}
	r.flag() // direct_8x8_inference_flag
	if r.short || mbs > 1<<12 || units > 1<<12 {
		return SPS{}, false
	}
	w, h := 16*mbs, 16*units*fields
	if r.flag() { // frame_cropping_flag
		cx, cy := uint32(1), fields
		if chroma == 1 || chroma == 2 {
			cx = 2
		}
		if chroma == 1 {
			cy *= 2
		}
		x, y := uint64(r.ue())+uint64(r.ue()), uint64(r.ue())+uint64(r.ue())
		if x*uint64(cx) >= uint64(w) || y*uint64(cy) >= uint64(h) {
			return SPS{}, false
		}
		w, h = w-uint32(x)*cx, h-uint32(y)*cy
	}
	s.Width, s.Height = int(w), int(h)
	return s, !r.short
}

// Sum hashes all of the set but its id, which some encoders count up: two
// sets with one sum say the same.
func (s SPS) Sum() uint64 {
	h := fnv.New64a()
	h.Write(s.head[:])
	r := s.behind
	end := 8 * len(r.b) // to the stop bit
	for end > r.pos && r.b[(end-1)>>3]>>(7-(end-1)&7)&1 == 0 {
		end--
	}
	var rest []byte
	for r.pos < end {
		rest = append(rest, byte(r.u(min(8, end-r.pos))))
	}
	h.Write(rest)
	return h.Sum64()
}

// highProfile skips what high profiles add and returns chroma_format_idc.
func (r *bitReader) highProfile() uint32 {
	chroma := r.ue()
	if chroma == 3 {
		r.flag()
	}
	r.ue()
	r.ue()
	r.flag()
	if !r.flag() { // seq_scaling_matrix_present_flag
		return chroma
	}
	lists := 8
	if chroma == 3 {
		lists = 12
	}
	for i := range lists {
		if !r.flag() {
			continue
		}
		size, last, next := 16, int32(8), int32(8)
		if i >= 6 {
			size = 64
		}
		for range size {
			if next != 0 {
				next = (last + r.se()) & 0xff
			}
			if next != 0 {
				last = next
			}
		}
	}
	return chroma
}

func (r *bitReader) picOrderCount() {
	switch r.ue() {
	case 0:
		r.ue()
	case 1:
		r.flag()
		r.se()
		r.se()
		for n := r.ue(); n > 0 && !r.short; n-- {
			r.se()
		}
	}
}
