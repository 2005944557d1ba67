package keyframe

import "bytes"

// OBU types (AV1 bitstream specification, section 6.2.2).
const (
	obuSequence  = 1
	obuDelimiter = 2
	obuHeader    = 3
	obuFrame     = 6
	obuTileList  = 8
)

// maxSequenceHeader bounds a sequence header in bytes; real ones have a dozen.
const maxSequenceHeader = 1024

// av1 reads payloads of the RTP Payload Format For AV1 (AOMedia, v1.0).
type av1 struct {
	// sequence is the last sequence header seen: an OBU without size field.
	sequence []byte
	still    bool // its reduced_still_picture_header
}

// aggregation is the aggregation header |Z|Y|W W|N|-|-|-| (section 4.4).
type aggregation struct {
	continues, continued bool
	elements             int // 0: all have a length in front
	newSequence          bool
}

func parseAggregation(b byte) aggregation {
	return aggregation{b&0x80 != 0, b&0x40 != 0, int(b >> 4 & 3), b&8 != 0}
}

// element cuts the i-th OBU element off b.
func (g aggregation) element(i int, b []byte) (elem, rest []byte, ok bool) {
	if g.elements != 0 && i == g.elements-1 {
		return b, nil, true
	}
	n, b, ok := leb128(b)
	if !ok || n > uint64(len(b)) || g.elements != 0 && i >= g.elements {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

func (a *av1) inspect(payload []byte) hint {
	g := parseAggregation(payload[0])
	h := hint{top: allLayers}
	if g.continues {
		return h
	}
	if g.newSequence { // the first packet of a coded video sequence
		h.class, h.start = key, true
	}
	b := payload[1:]
	for i := 0; len(b) > 0; i++ {
		elem, rest, ok := g.element(i, b)
		if !ok || len(elem) == 0 {
			return h
		}
		whole := len(rest) > 0 || !g.continued
		b = rest
		switch o := parseOBU(elem); o.typ {
		case obuSequence:
			if whole {
				a.learn(o)
			}
			h.start = h.start || i == 0
		case obuHeader, obuFrame:
			if h.class == unknown {
				h.class = deltaIfFirst
				if a.showsKey(o.payload) {
					h.class = key
				}
			}
			return h
		}
	}
	return h
}

// showsKey tells of a frame header whether it is that of a shown keyframe
// (section 5.9.2: show_existing_frame, frame_type, show_frame).
func (a *av1) showsKey(frame []byte) bool {
	return a.still || len(frame) > 0 && frame[0]&0xf0 == 0x10
}

func (a *av1) learn(o obu) {
	if len(o.payload) == 0 || len(o.payload) > maxSequenceHeader || bytes.Equal(a.sequence, o.payload) {
		return
	}
	a.sequence = bytes.Clone(o.payload)
	a.still = o.payload[0]&0x08 != 0
}

// join makes a temporal unit with delimiter, sequence header and size fields.
func (a *av1) join(ps parts) (picture, error) {
	// each OBU gains a size field of a byte or few
	t := unit{av1: a, out: make([]byte, 0, len(ps.data)+len(a.sequence)+4*len(ps.packets)+32)}
	t.out = append(t.out, obuDelimiter<<3|2, 0)
	for i := range ps.packets {
		if b := ps.payload(i); len(b) > 0 && !t.packet(b) {
			return picture{}, errMalformed
		}
	}
	switch {
	case t.open || !t.frame:
		return picture{}, errMalformed
	case a.sequence == nil:
		return picture{}, errNoParameters
	}
	pic := picture{data: t.out}
	pic.width, pic.height, _ = sequenceSize(a.sequence)
	return pic, nil
}

// unit is a temporal unit while it is put together.
type unit struct {
	*av1
	out      []byte
	fragment []byte
	open     bool // an OBU goes on in the next packet
	frame    bool // a shown keyframe is in it
}

func (t *unit) packet(b []byte) bool {
	g := parseAggregation(b[0])
	if g.continues != t.open {
		return false
	}
	b = b[1:]
	for i := 0; len(b) > 0; i++ {
		elem, rest, ok := g.element(i, b)
		if !ok {
			return false
		}
		b = rest
		if t.open {
			t.fragment = append(t.fragment, elem...)
			elem = t.fragment
		}
		if len(b) == 0 && g.continued {
			if !t.open {
				t.fragment = append(t.fragment[:0], elem...)
			}
			t.open = true
			return true
		}
		t.open = false
		if len(elem) > 0 && !t.add(elem) {
			return false
		}
	}
	return true
}

// add appends a whole OBU; false if it cannot stand in a keyframe's unit.
func (t *unit) add(elem []byte) bool {
	o := parseOBU(elem)
	if o.cut {
		return false
	}
	switch o.typ {
	case obuInvalid:
		return false
	case obuDelimiter, obuTileList: // to be ignored by receivers (section 5)
		return true
	case obuSequence:
		t.learn(o)
	case obuHeader, obuFrame:
		if !t.frame {
			if !t.showsKey(o.payload) {
				return false
			}
			t.frame = true
			if !hasSequence(t.out) && t.sequence != nil {
				t.out = appendOBU(t.out, obu{typ: obuSequence, head: obuSequence << 3, payload: t.sequence})
			}
		}
	}
	t.out = appendOBU(t.out, o)
	return true
}
