package keyframe

import "stillwatch/internal/codec"

// h264Refs gathers the parameter sets that slices refer to.
type h264Refs struct {
	ids  []uint32
	nals [][]byte
	sps  []byte
}

func (u *h264Refs) add(h *h264, id uint32) bool {
	for _, have := range u.ids {
		if have == id {
			return true
		}
	}
	pps := h.pps[id]
	if pps == nil {
		return false
	}
	_, spsID, _ := codec.PPSIDs(pps)
	sps := h.sps[spsID]
	if sps == nil {
		return false
	}
	u.ids = append(u.ids, id)
	if u.sps == nil {
		u.sps = sps
		u.nals = append(u.nals, sps)
	}
	u.nals = append(u.nals, pps)
	return true
}
