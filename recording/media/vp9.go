package media

import "stillwatch/internal/codec"

// vp9 reads RFC 9628 payloads.
type vp9 struct{ stateless }

func (vp9) starts(payload []byte) bool {
	d, ok := codec.ParseDescriptor(payload)
	return ok && d.Begin && d.Layer == 0
}

func (vp9) join(dst []byte, payloads [][]byte) ([]byte, picture, error) {
	from := len(dst)
	var sizes []uint32
	var structure codec.Descriptor
	open, top := false, -1
	for _, raw := range payloads {
		d, ok := codec.ParseDescriptor(raw)
		if !ok || len(d.Body) == 0 || open == d.Begin || d.Begin && int(d.Layer) <= top {
			return dst, picture{}, errMalformed
		}
		if d.Begin {
			open, top = true, int(d.Layer)
			sizes = append(sizes, 0)
		}
		if int(d.Layer) != top {
			return dst, picture{}, errMalformed
		}
		dst = append(dst, d.Body...)
		sizes[len(sizes)-1] += uint32(len(d.Body))
		open = !d.End
		if d.Layers > 0 {
			structure = d
		}
	}
	if open || len(sizes) == 0 {
		return dst, picture{}, errMalformed
	}
	h, ok := codec.ParseVP9(dst[from:])
	if !ok {
		return dst, picture{}, errMalformed
	}
	pic := picture{key: h.Key, width: h.Width, height: h.Height, params: uint64(h.Profile) | uint64(h.BitDepth)<<4}
	if len(sizes) > 1 {
		dst = codec.AppendSuperframeIndex(dst, sizes)
		if w, h := structure.Widths[top], structure.Heights[top]; pic.key && w > 0 && h > 0 {
			pic.width, pic.height = int(w), int(h)
		}
	}
	if pic.key {
		pic.params = pic.params<<32 | uint64(pic.width)<<16 | uint64(pic.height)
	}
	return dst, pic, nil
}
