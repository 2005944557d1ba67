package keyframe

import (
	"math/bits"
	"slices"

	header "github.com/pion/rtp/codecs/vp9"
)

// vp9 reads RFC 9628 payloads.
type vp9 struct {
	maxHeight int
}

// descriptor is the VP9 payload descriptor (RFC 9628, section 4.2), as far as
// it matters here.
type descriptor struct {
	inter, begin, end bool
	layered           bool
	layer             uint8
	// layers is the number of spatial layers, 0 without scalability structure;
	// widths and heights are theirs, 0 when not told.
	layers          int
	widths, heights [8]uint16
	body            []byte
}

func (v *vp9) inspect(payload []byte) hint {
	d, ok := parseDescriptor(payload)
	if !ok {
		return hint{}
	}
	if d.inter {
		// an upper layer of a keyframe has no inter-picture prediction either
		return hint{class: delta}
	}
	h := hint{layer: d.layer, layerEnd: d.end}
	if !d.begin || d.layer != 0 {
		return h
	}
	h.start, h.top = true, v.choose(d)
	h.class = delta
	var hd header.Header
	if hd.Unmarshal(d.body) == nil && !hd.NonKeyFrame && !hd.ShowExistingFrame {
		h.class = key
	}
	return h
}

// choose returns the lowest spatial layer that reaches the wanted height.
func (v *vp9) choose(d descriptor) uint8 {
	if !d.layered {
		return 0
	}
	if d.layers == 0 {
		return allLayers
	}
	top := d.layers - 1
	if v.maxHeight > 0 {
		for i := range d.layers {
			if int(d.heights[i]) >= v.maxHeight {
				top = i
				break
			}
		}
	}
	return uint8(top)
}

func (v *vp9) join(ps parts) (picture, error) {
	pic := picture{data: make([]byte, 0, len(ps.data)+16)}
	var sizes []uint32
	var structure descriptor
	open, top := false, -1
	for i := range ps.packets {
		raw := ps.payload(i)
		if len(raw) == 0 {
			continue
		}
		d, ok := parseDescriptor(raw)
		if !ok || len(d.body) == 0 || open == d.begin || d.begin && int(d.layer) <= top {
			return picture{}, errMalformed
		}
		if d.begin {
			open, top = true, int(d.layer)
			sizes = append(sizes, 0)
		}
		if int(d.layer) != top {
			return picture{}, errMalformed
		}
		pic.data = append(pic.data, d.body...)
		sizes[len(sizes)-1] += uint32(len(d.body))
		open = !d.end
		if d.layers > 0 {
			structure = d
		}
	}
	var hd header.Header
	if open || len(sizes) == 0 || hd.Unmarshal(pic.data) != nil || hd.FrameSize == nil {
		return picture{}, errMalformed
	}
	pic.layers = len(sizes)
	pic.width, pic.height = int(hd.Width()), int(hd.Height())
	if len(sizes) > 1 {
		pic.data = appendSuperframeIndex(pic.data, sizes)
		pic.width, pic.height = int(structure.widths[top]), int(structure.heights[top])
	}
	return pic, nil
}

// appendSuperframeIndex appends the index that tells a decoder where each
// layer's frame ends (VP9 bitstream specification, annex B.2).
func appendSuperframeIndex(data []byte, sizes []uint32) []byte {
	width := (bits.Len32(slices.Max(sizes)) + 7) / 8
	mark := byte(0b110<<5 | (width-1)<<3 | len(sizes) - 1)
	data = append(data, mark)
	for _, s := range sizes {
		for i := range width {
			data = append(data, byte(s>>(8*i)))
		}
	}
	return append(data, mark)
}
