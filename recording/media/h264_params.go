package media

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

// sliceHead is the start of a slice header (H.264, section 7.3.3).
type sliceHead struct{ firstMB, pps uint32 }

func parseSliceHead(nal []byte) (sliceHead, bool) {
	r := bitReader{b: unescape(nal, 24)}
	h := sliceHead{firstMB: r.ue()}
	r.ue() // slice_type
	h.pps = r.ue()
	return h, !r.short
}

// ppsIDs reads the ids of a PPS and of its SPS (H.264, section 7.3.2.2).
func ppsIDs(nal []byte) (pps, sps uint32, ok bool) {
	r := bitReader{b: nal[min(1, len(nal)):]}
	pps, sps = r.ue(), r.ue()
	return pps, sps, !r.short && pps < 256 && sps < 32
}

// sps is a sequence parameter set, as far as it matters.
type sps struct {
	id            uint32
	width, height int
	// sum hashes all of it but the id, which some encoders count up.
	sum uint64
}

// parseSPS reads the cropped size of the picture (H.264, sections 7.3.2.1.1
// and 7.4.2.1.1).
func parseSPS(nal []byte) (s sps, ok bool) {
	if len(nal) < 5 || len(nal) > maxParameterSet {
		return sps{}, false
	}
	r := bitReader{b: unescape(nal, len(nal))}
	profile := r.u(8)
	r.u(16) // constraints, level
	s.id = r.ue()
	if r.short || s.id >= 32 {
		return sps{}, false
	}
	s.sum = sumAfter(r, profile)
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
		return sps{}, false
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
			return sps{}, false
		}
		w, h = w-uint32(x)*cx, h-uint32(y)*cy
	}
	s.width, s.height = int(w), int(h)
	return s, !r.short
}

// sumAfter hashes the bits from where r stands to the stop bit, with what
// stood before the id.
func sumAfter(r bitReader, profile uint32) uint64 {
	h := mix(mixBasis, append([]byte{byte(profile)}, r.b[1:3]...))
	end := 8 * len(r.b)
	for end > r.pos && r.b[(end-1)>>3]>>(7-(end-1)&7)&1 == 0 {
		end--
	}
	for r.pos < end {
		h = mix(h, []byte{byte(r.u(min(8, end-r.pos)))})
	}
	return h
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
