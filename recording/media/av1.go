package media

import (
	"bytes"

	"stillwatch/internal/codec"
)

// av1 reads payloads of the RTP Payload Format For AV1 (AOMedia, v1.0).
type av1 struct {
	// sequence is the last sequence header seen: an OBU without size field. It
	// is replaced, not changed.
	sequence []byte
	fragment []byte
}

func (a *av1) save() any  { return a.sequence }
func (a *av1) load(v any) { a.sequence = v.([]byte) }

// starts: the N bit stands on the first packet of a coded video sequence, and
// a sequence header is the first OBU of a temporal unit.
func (a *av1) starts(payload []byte) bool {
	g := codec.ParseAggregation(payload[0])
	if g.Continues {
		return false
	}
	elem, _, ok := g.Element(0, payload[1:])
	return g.NewSequence || ok && codec.ParseOBU(elem).Type == codec.OBUSequence
}

// join makes a temporal unit with delimiter and size fields. A keyframe that
// brings no sequence header gets the one known in front.
func (a *av1) join(dst []byte, payloads [][]byte) ([]byte, picture, error) {
	a.fragment = a.fragment[:0]
	u := unit{av1: a, from: len(dst) + 2, out: append(dst, codec.OBUDelimiter<<3|2, 0)}
	for _, b := range payloads {
		if !u.packet(b) {
			return dst, picture{}, errMalformed
		}
	}
	if u.open || !u.frame || u.pic.key && a.sequence == nil {
		return dst, picture{}, errMalformed
	}
	if u.pic.key {
		u.pic.width, u.pic.height, _ = codec.SequenceSize(a.sequence)
		u.pic.params = mix(mixBasis, a.sequence)
	}
	return u.out, u.pic, nil
}

// unit is a temporal unit while it is put together.
type unit struct {
	*av1
	out      []byte
	from     int // where its OBUs begin, behind the delimiter
	pic      picture
	open     bool // an OBU goes on in the next packet
	sequence bool // a sequence header is in it
	frame    bool // a frame is in it
}

func (u *unit) packet(b []byte) bool {
	g := codec.ParseAggregation(b[0])
	if g.Continues != u.open {
		return false
	}
	b = b[1:]
	i := 0
	for ; len(b) > 0; i++ {
		elem, rest, ok := g.Element(i, b)
		if !ok {
			return false
		}
		b = rest
		if u.open {
			u.fragment = append(u.fragment, elem...)
			elem = u.fragment
		}
		if len(b) == 0 && g.Continued {
			if !u.open {
				u.fragment = append(u.fragment[:0], elem...)
			}
			u.open = true
			return g.Elements == 0 || i == g.Elements-1
		}
		u.open = false
		if len(elem) > 0 && !u.add(elem) {
			return false
		}
	}
	return g.Elements == 0 || i == g.Elements
}

// add appends a whole OBU; false if it cannot be read.
func (u *unit) add(elem []byte) bool {
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
		if !u.learn(o) {
			return false
		}
		u.sequence = true
	case codec.OBUHeader, codec.OBUFrame:
		if !u.frame && codec.ShowsKey(u.av1.sequence, o.Payload) {
			u.pic.key = true
			u.insertSequence()
		}
		u.frame = true
	}
	u.out = codec.AppendOBU(u.out, o)
	return true
}

func (u *unit) insertSequence() {
	if u.sequence || u.av1.sequence == nil {
		return
	}
	var head []byte
	head = codec.AppendOBU(head, codec.OBU{Type: codec.OBUSequence, Head: codec.OBUSequence << 3, Payload: u.av1.sequence})
	u.out = append(u.out, head...)
	copy(u.out[u.from+len(head):], u.out[u.from:])
	copy(u.out[u.from:], head)
	u.sequence = true
}

func (a *av1) learn(o codec.OBU) bool {
	if len(o.Payload) == 0 || len(o.Payload) > codec.MaxSequenceHeader {
		return false
	}
	if !bytes.Equal(a.sequence, o.Payload) {
		a.sequence = bytes.Clone(o.Payload)
	}
	return true
}
