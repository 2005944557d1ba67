package keyframe

import "stillwatch/internal/codec"

// vp9 reads RFC 9628 payloads.
type vp9 struct {
	maxHeight int
}

func (v *vp9) inspect(payload []byte) hint {
	d, ok := codec.ParseDescriptor(payload)
	if !ok {
		return hint{}
	}
	if d.Inter {
		// an upper layer of a keyframe has no inter-picture prediction either
		return hint{class: delta}
	}
	h := hint{layer: d.Layer, layerEnd: d.End}
	if !d.Begin || d.Layer != 0 {
		return h
	}
	h.start, h.top = true, v.choose(d)
	h.class = delta
	if hd, ok := codec.ParseVP9(d.Body); ok && hd.Key {
		h.class = key
	}
	return h
}

// choose returns the lowest spatial layer that reaches the wanted height.
func (v *vp9) choose(d codec.Descriptor) uint8 {
	if !d.Layered {
		return 0
	}
	if d.Layers == 0 {
		return allLayers
	}
	top := d.Layers - 1
	if v.maxHeight > 0 {
		for i := range d.Layers {
			if int(d.Heights[i]) >= v.maxHeight {
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
	var structure codec.Descriptor
	open, top := false, -1
	for i := range ps.packets {
		raw := ps.payload(i)
		if len(raw) == 0 {
			continue
		}
		d, ok := codec.ParseDescriptor(raw)
		if !ok || len(d.Body) == 0 || open == d.Begin || d.Begin && int(d.Layer) <= top {
			return picture{}, errMalformed
		}
		if d.Begin {
			open, top = true, int(d.Layer)
			sizes = append(sizes, 0)
		}
		if int(d.Layer) != top {
			return picture{}, errMalformed
		}
		pic.data = append(pic.data, d.Body...)
		sizes[len(sizes)-1] += uint32(len(d.Body))
		open = !d.End
		if d.Layers > 0 {
			structure = d
		}
	}
	hd, ok := codec.ParseVP9(pic.data)
	if open || len(sizes) == 0 || !ok || !hd.Key {
		return picture{}, errMalformed
	}
	pic.layers = len(sizes)
	pic.width, pic.height = hd.Width, hd.Height
	if len(sizes) > 1 {
		pic.data = codec.AppendSuperframeIndex(pic.data, sizes)
		pic.width, pic.height = int(structure.Widths[top]), int(structure.Heights[top])
	}
	return pic, nil
}
