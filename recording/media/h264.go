package media

import (
	"bytes"
	"maps"
)

// NAL unit types (H.264 table 7-1; RFC 6184, table 1).
const (
	nalSlice = 1
	nalIDR   = 5
	nalSPS   = 7
	nalPPS   = 8
	nalAUD   = 9
	nalSTAPA = 24
	nalFUA   = 28
)

// maxParameterSet bounds an SPS or PPS in bytes; real ones have some dozens.
const maxParameterSet = 2048

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

func (h *h264) save() any   { return h.sets }
func (h *h264) load(v any)  { h.sets = v.(h264Sets) }
func nalType(nal byte) byte { return nal & 0x1f }

func (h *h264) starts(payload []byte) bool {
	nal := payload
	if nalType(payload[0]) == nalSTAPA {
		if nal = nil; len(payload) > 3 {
			nal = payload[3:]
		}
	}
	if len(nal) == 0 {
		return false
	}
	t := nalType(nal[0])
	return t == nalSPS || t == nalAUD
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
	if len(nal) > maxParameterSet {
		return
	}
	switch nalType(nal[0]) {
	case nalSPS:
		if s, ok := parseSPS(nal); ok {
			put(&h.sets.sps, s.id)
		}
	case nalPPS:
		if id, _, ok := ppsIDs(nal); ok {
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
	var first sliceHead
	slices, brought := 0, false
	for _, nal := range h.nals {
		switch t := nalType(nal[0]); {
		case t == nalSPS || t == nalPPS:
			h.learn(nal)
			brought = brought || t == nalSPS
		case t >= nalSlice && t <= nalIDR:
			head, ok := parseSliceHead(nal)
			if !ok && t != 3 && t != 4 { // partitions B and C have no header
				return dst, picture{}, errMalformed
			}
			if slices == 0 {
				first, pic.key = head, t == nalIDR
			}
			slices++
		}
	}
	switch {
	case slices == 0 && brought:
		// parameter sets with a timestamp of their own: learnt, no picture
		return dst, picture{}, errNoPicture
	case slices == 0 || first.firstMB != 0:
		return dst, picture{}, errMalformed
	}
	if pic.key {
		spsNAL, ppsNAL, ok := h.sets.of(first.pps)
		if !ok {
			return dst, picture{}, errMalformed
		}
		s, _ := parseSPS(spsNAL)
		pic.width, pic.height, pic.params = s.width, s.height, s.sum
		if !brought {
			dst = appendNAL(appendNAL(dst, spsNAL), ppsNAL)
		}
	}
	for _, nal := range h.nals {
		dst = appendNAL(dst, nal)
	}
	return dst, pic, nil
}

// of returns the sets that slices with this PPS refer to.
func (s h264Sets) of(id uint32) (spsNAL, ppsNAL []byte, ok bool) {
	ppsNAL = s.pps[id]
	if ppsNAL == nil {
		return nil, nil, false
	}
	_, spsID, _ := ppsIDs(ppsNAL)
	spsNAL = s.sps[spsID]
	return spsNAL, ppsNAL, spsNAL != nil
}

func appendNAL(dst, nal []byte) []byte {
	return append(append(dst, 0, 0, 0, 1), nal...)
}

// split puts the fragments together and lists the NAL units.
func (h *h264) split(payloads [][]byte) bool {
	h.nals, h.fu = h.nals[:0], h.fu[:0]
	open, from := false, 0
	for _, b := range payloads {
		typ := nalType(b[0])
		if open != (typ == nalFUA && len(b) > 1 && b[1]&0x80 == 0) {
			return false // a fragment too many or too few
		}
		switch {
		case typ == nalSTAPA:
			if !h.splitSTAPA(b[1:]) {
				return false
			}
		case typ == nalFUA:
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
		case typ > 0 && typ < nalSTAPA:
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
		n := int(b[0])<<8 | int(b[1])
		if b = b[2:]; n > len(b) {
			return false
		}
		if n > 0 {
			h.nals = append(h.nals, b[:n])
		}
		b = b[n:]
	}
	return true
}
