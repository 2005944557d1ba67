package keyframe

import (
	"bytes"

	"stillwatch/internal/codec"
)

// h264 reads RFC 6184 payloads of packetization modes 0 and 1.
type h264 struct {
	sps map[uint32][]byte
	pps map[uint32][]byte
}

func newH264(sets [][]byte) *h264 {
	h := &h264{sps: map[uint32][]byte{}, pps: map[uint32][]byte{}}
	for _, nal := range sets {
		h.learn(nal)
	}
	return h
}

func (h *h264) inspect(payload []byte) hint {
	switch typ := codec.NALType(payload[0]); {
	case typ == codec.NALSTAPA:
		return h.inspectSTAPA(payload)
	case typ == codec.NALFUA:
		if len(payload) < 2 {
			return hint{}
		}
		return hint{class: sliceClass(payload[1] & 0x1f)}
	default:
		h.learn(payload)
		return hint{class: sliceClass(typ), start: typ == codec.NALSPS || typ == codec.NALAUD, top: allLayers}
	}
}

func (h *h264) inspectSTAPA(payload []byte) hint {
	ht := hint{top: allLayers}
	first := true
	for nal := range stapUnits(payload) {
		typ := codec.NALType(nal[0])
		h.learn(nal)
		if first {
			ht.start = typ == codec.NALSPS || typ == codec.NALAUD
		}
		first = false
		ht.class = max(ht.class, sliceClass(typ))
	}
	return ht
}

// sliceClass: a picture of IDR slices has no others (H.264, section 7.4.1.2.4).
func sliceClass(typ byte) class {
	switch {
	case typ == codec.NALIDR:
		return key
	case typ >= 1 && typ <= 4:
		return delta
	default:
		return unknown
	}
}

// stapUnits yields the non-empty NAL units of an aggregation packet (RFC 6184,
// section 5.7.1) up to the first that is cut off.
func stapUnits(payload []byte) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for b := payload[1:]; ; {
			nal, rest, ok := codec.CutSTAP(b)
			if !ok || len(nal) > 0 && !yield(nal) {
				return
			}
			b = rest
		}
	}
}

// learn keeps a parameter set. It copies only what is new.
func (h *h264) learn(nal []byte) {
	if len(nal) < 4 || len(nal) > codec.MaxParameterSet {
		return
	}
	switch codec.NALType(nal[0]) {
	case codec.NALSPS:
		if id, ok := codec.SPSID(nal); ok && !bytes.Equal(h.sps[id], nal) {
			h.sps[id] = bytes.Clone(nal)
		}
	case codec.NALPPS:
		if id, _, ok := codec.PPSIDs(nal); ok && !bytes.Equal(h.pps[id], nal) {
			h.pps[id] = bytes.Clone(nal)
		}
	}
}

// join makes an Annex B access unit: the parameter sets that the slices refer
// to, then the slices. Everything else (SEI, delimiters, filler) is left out.
func (h *h264) join(ps parts) (picture, error) {
	slices, err := h.slices(ps)
	if err != nil {
		return picture{}, err
	}
	var used h264Refs
	for i, nal := range slices {
		head, ok := codec.ParseSliceHead(nal)
		if !ok || i == 0 && (codec.NALType(nal[0]) != codec.NALIDR || head.FirstMB != 0) {
			return picture{}, errMalformed
		}
		if !used.add(h, head.PPS) {
			return picture{}, errNoParameters
		}
	}
	if len(slices) == 0 {
		return picture{}, errMalformed
	}
	size := 0
	all := append(used.nals, slices...)
	for _, nal := range all {
		size += len(nal) + 4
	}
	pic := picture{data: make([]byte, 0, size)}
	for _, nal := range all {
		pic.data = codec.AppendNAL(pic.data, nal)
	}
	if s, ok := codec.ParseSPS(used.sps); ok {
		pic.width, pic.height = s.Width, s.Height
	}
	return pic, nil
}

// slices puts the fragments together and returns the slice NAL units.
// Parameter sets on the way are learnt.
func (h *h264) slices(ps parts) (slices [][]byte, err error) {
	take := func(nal []byte) {
		if sliceClass(codec.NALType(nal[0])) == unknown {
			h.learn(nal)
			return
		}
		slices = append(slices, nal)
	}
	var fu []byte
	open := false
	for i := range ps.packets {
		b := ps.payload(i)
		if len(b) == 0 {
			continue
		}
		typ := codec.NALType(b[0])
		if open != (typ == codec.NALFUA && len(b) > 1 && b[1]&0x80 == 0) {
			return nil, errMalformed // a fragment too many or too few
		}
		switch {
		case typ == codec.NALSTAPA:
			for nal := range stapUnits(b) {
				take(nal)
			}
		case typ == codec.NALFUA:
			if len(b) < 2 {
				return nil, errMalformed
			}
			if b[1]&0x80 != 0 {
				fu = append(make([]byte, 0, fragmentBytes(ps, i)), b[0]&0xe0|b[1]&0x1f)
			}
			fu = append(fu, b[2:]...)
			if open = b[1]&0x40 == 0; !open {
				take(fu)
			}
		case typ > 0 && typ < codec.NALSTAPA:
			take(b)
		default: // STAP-B, MTAP, FU-B: interleaved mode, which nobody negotiates
			return nil, errMalformed
		}
	}
	if open {
		return nil, errMalformed
	}
	return slices, nil
}

// fragmentBytes bounds the size of the fragmented unit that starts at packet i.
func fragmentBytes(ps parts, i int) (n int) {
	for ; i < len(ps.packets); i++ {
		b := ps.payload(i)
		n += len(b)
		if len(b) > 1 && b[1]&0x40 != 0 {
			break
		}
	}
	return n
}
