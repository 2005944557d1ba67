package media

import (
	"bytes"
	"maps"

	"stillwatch/internal/codec"
)

// h264 reads RFC 6184 payloads of packetization modes 0 and 1.
type h264 struct {
	sets h264Sets
	fu   []byte
	nals [][]byte
}

// h264Sets are the parameter sets by id that were seen last. The maps are
// replaced, not changed.
type h264Sets struct {
	sps, pps map[uint32][]byte
}

func newH264(sets [][]byte) *h264 {
	h := &h264{}
	for _, nal := range sets {
		if len(nal) > 0 {
			h.learn(nal)
		}
	}
	return h
}

func (h *h264) save() any  { return h.sets }
func (h *h264) load(v any) { h.sets = v.(h264Sets) }

func (h *h264) starts(payload []byte) bool {
	nal := payload
	if codec.NALType(payload[0]) == codec.NALSTAPA {
		if nal = nil; len(payload) > 3 {
			nal = payload[3:]
		}
	}
	if len(nal) == 0 {
		return false
	}
	t := codec.NALType(nal[0])
	return t == codec.NALSPS || t == codec.NALAUD
}

// learn keeps a parameter set. It copies only what is new.
func (h *h264) learn(nal []byte) {
	put := func(m *map[uint32][]byte, id uint32) {
		if bytes.Equal((*m)[id], nal) {
			return
		}
		n := maps.Clone(*m)
		if n == nil {
			n = map[uint32][]byte{}
		}
		n[id] = bytes.Clone(nal)
		*m = n
	}
	if len(nal) > codec.MaxParameterSet {
		return
	}
	switch codec.NALType(nal[0]) {
	case codec.NALSPS:
		if s, ok := codec.ParseSPS(nal); ok {
			put(&h.sets.sps, s.ID)
		}
	case codec.NALPPS:
		if id, _, ok := codec.PPSIDs(nal); ok {
			put(&h.sets.pps, id)
		}
	}
}

// join makes an Annex B access unit of all NAL units as they came. An IDR
// picture that brings no parameter sets gets those known in front.
func (h *h264) join(dst []byte, payloads [][]byte) ([]byte, picture, error) {
	if !h.split(payloads) {
		return dst, picture{}, errMalformed
	}
	var pic picture
	var first codec.SliceHead
	slices, brought := 0, false
	for _, nal := range h.nals {
		switch t := codec.NALType(nal[0]); {
		case t == codec.NALSPS || t == codec.NALPPS:
			h.learn(nal)
			brought = brought || t == codec.NALSPS
		case t >= codec.NALSlice && t <= codec.NALIDR:
			head, ok := codec.ParseSliceHead(nal)
			if !ok && t != 3 && t != 4 { // partitions B and C have no header
				return dst, picture{}, errMalformed
			}
			if slices == 0 {
				first, pic.key = head, t == codec.NALIDR
			}
			slices++
		}
	}
	switch {
	case slices == 0 && brought:
		// parameter sets with a timestamp of their own: learnt, no picture
		return dst, picture{}, errNoPicture
	case slices == 0 || first.FirstMB != 0:
		return dst, picture{}, errMalformed
	}
	if pic.key {
		spsNAL, ppsNAL, ok := h.sets.of(first.PPS)
		if !ok {
			return dst, picture{}, errMalformed
		}
		s, _ := codec.ParseSPS(spsNAL)
		pic.width, pic.height, pic.params = s.Width, s.Height, s.Sum()
		if !brought {
			dst = codec.AppendNAL(codec.AppendNAL(dst, spsNAL), ppsNAL)
		}
	}
	for _, nal := range h.nals {
		dst = codec.AppendNAL(dst, nal)
	}
	return dst, pic, nil
}

// of returns the sets that slices with this PPS refer to.
func (s h264Sets) of(id uint32) (spsNAL, ppsNAL []byte, ok bool) {
	ppsNAL = s.pps[id]
	if ppsNAL == nil {
		return nil, nil, false
	}
	_, spsID, _ := codec.PPSIDs(ppsNAL)
	spsNAL = s.sps[spsID]
	return spsNAL, ppsNAL, spsNAL != nil
}

// split puts the fragments together and lists the NAL units.
func (h *h264) split(payloads [][]byte) bool {
	h.nals, h.fu = h.nals[:0], h.fu[:0]
	open, from := false, 0
	for _, b := range payloads {
		typ := codec.NALType(b[0])
		if open != (typ == codec.NALFUA && len(b) > 1 && b[1]&0x80 == 0) {
			return false // a fragment too many or too few
		}
		switch {
		case typ == codec.NALSTAPA:
			if !h.splitSTAPA(b[1:]) {
				return false
			}
		case typ == codec.NALFUA:
			if len(b) < 2 {
				return false
			}
			if b[1]&0x80 != 0 {
				from = len(h.fu)
				h.fu = append(h.fu, b[0]&0xe0|b[1]&0x1f)
			}
			h.fu = append(h.fu, b[2:]...)
			if open = b[1]&0x40 == 0; !open {
				h.nals = append(h.nals, h.fu[from:len(h.fu):len(h.fu)])
			}
		case typ > 0 && typ < codec.NALSTAPA:
			h.nals = append(h.nals, b)
		default: // STAP-B, MTAP, FU-B: interleaved mode, which nobody negotiates
			return false
		}
	}
	return !open
}

// splitSTAPA lists the NAL units of an aggregation packet (RFC 6184, section
// 5.7.1).
func (h *h264) splitSTAPA(b []byte) bool {
	for len(b) >= 2 {
		nal, rest, ok := codec.CutSTAP(b)
		if !ok {
			return false
		}
		if len(nal) > 0 {
			h.nals = append(h.nals, nal)
		}
		b = rest
	}
	return true
}
