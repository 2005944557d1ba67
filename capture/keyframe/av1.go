package keyframe

import (
	"bytes"

	"stillwatch/internal/codec"
)

// av1 reads payloads of the RTP Payload Format For AV1 (AOMedia, v1.0).
type av1 struct {
	// sequence is the last sequence header seen: an OBU without size field.
	sequence []byte
}

func (a *av1) inspect(payload []byte) hint {
	g := codec.ParseAggregation(payload[0])
	h := hint{top: allLayers}
	if g.Continues {
		return h
	}
	if g.NewSequence { // the first packet of a coded video sequence
		h.class, h.start = key, true
	}
	b := payload[1:]
	for i := 0; len(b) > 0; i++ {
		elem, rest, ok := g.Element(i, b)
		if !ok || len(elem) == 0 {
			return h
		}
		whole := len(rest) > 0 || !g.Continued
		b = rest
		switch o := codec.ParseOBU(elem); o.Type {
		case codec.OBUSequence:
			if whole {
				a.learn(o)
			}
			h.start = h.start || i == 0
		case codec.OBUHeader, codec.OBUFrame:
			if h.class == unknown {
				h.class = deltaIfFirst
				if codec.ShowsKey(a.sequence, o.Payload) {
					h.class = key
				}
			}
			return h
		}
	}
	return h
}

func (a *av1) learn(o codec.OBU) {
	if len(o.Payload) == 0 || len(o.Payload) > codec.MaxSequenceHeader || bytes.Equal(a.sequence, o.Payload) {
		return
	}
	a.sequence = bytes.Clone(o.Payload)
}

// join makes a temporal unit with delimiter, sequence header and size fields.
func (a *av1) join(ps parts) (picture, error) {
	// each OBU gains a size field of a byte or few
	t := unit{av1: a, out: make([]byte, 0, len(ps.data)+len(a.sequence)+4*len(ps.packets)+32)}
	t.out = append(t.out, codec.OBUDelimiter<<3|2, 0)
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
	pic.width, pic.height, _ = codec.SequenceSize(a.sequence)
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
	g := codec.ParseAggregation(b[0])
	if g.Continues != t.open {
		return false
	}
	b = b[1:]
	for i := 0; len(b) > 0; i++ {
		elem, rest, ok := g.Element(i, b)
		if !ok {
			return false
		}
		b = rest
		if t.open {
			t.fragment = append(t.fragment, elem...)
			elem = t.fragment
		}
		if len(b) == 0 && g.Continued {
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
	o := codec.ParseOBU(elem)
	if o.Cut {
		return false
	}
	switch o.Type {
	case codec.OBUInvalid:
		return false
	case codec.OBUDelimiter, codec.OBUTileList: // to be ignored by receivers (section 5)
		return true
	case codec.OBUSequence:
		t.learn(o)
	case codec.OBUHeader, codec.OBUFrame:
		if !t.frame {
			if !codec.ShowsKey(t.sequence, o.Payload) {
				return false
			}
			t.frame = true
			if !hasSequence(t.out) && t.sequence != nil {
				t.out = codec.AppendOBU(t.out, codec.OBU{Type: codec.OBUSequence, Head: codec.OBUSequence << 3, Payload: t.sequence})
			}
		}
	}
	t.out = codec.AppendOBU(t.out, o)
	return true
}

// hasSequence tells whether a temporal unit under construction, which begins
// with its delimiter, goes on with a sequence header.
func hasSequence(out []byte) bool { return len(out) > 2 && out[2]>>3&15 == codec.OBUSequence }
