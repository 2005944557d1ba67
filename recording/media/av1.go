package media

import "bytes"

// maxSequenceHeader bounds a sequence header in bytes; real ones have a dozen.
const maxSequenceHeader = 1024

// av1 reads payloads of the RTP Payload Format For AV1 (AOMedia, v1.0).
type av1 struct {
	// sequence is the last sequence header seen: an OBU without size field. It
	// is replaced, not changed.
	sequence []byte
	fragment []byte
}

func (a *av1) save() any  { return a.sequence }
func (a *av1) load(v any) { a.sequence = v.([]byte) }

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

// starts: the N bit stands on the first packet of a coded video sequence, and
// a sequence header is the first OBU of a temporal unit.
func (a *av1) starts(payload []byte) bool {
	g := parseAggregation(payload[0])
	if g.continues {
		return false
	}
	elem, _, ok := g.element(0, payload[1:])
	return g.newSequence || ok && parseOBU(elem).typ == obuSequence
}

// join makes a temporal unit with delimiter and size fields. A keyframe that
// brings no sequence header gets the one known in front.
func (a *av1) join(dst []byte, payloads [][]byte) ([]byte, picture, error) {
	a.fragment = a.fragment[:0]
	u := unit{av1: a, from: len(dst) + 2, out: append(dst, obuDelimiter<<3|2, 0)}
	for _, b := range payloads {
		if !u.packet(b) {
			return dst, picture{}, errMalformed
		}
	}
	if u.open || !u.frame || u.pic.key && a.sequence == nil {
		return dst, picture{}, errMalformed
	}
	if u.pic.key {
		u.pic.width, u.pic.height, _ = sequenceSize(a.sequence)
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
	g := parseAggregation(b[0])
	if g.continues != u.open {
		return false
	}
	b = b[1:]
	i := 0
	for ; len(b) > 0; i++ {
		elem, rest, ok := g.element(i, b)
		if !ok {
			return false
		}
		b = rest
		if u.open {
			u.fragment = append(u.fragment, elem...)
			elem = u.fragment
		}
		if len(b) == 0 && g.continued {
			if !u.open {
				u.fragment = append(u.fragment[:0], elem...)
			}
			u.open = true
			return g.elements == 0 || i == g.elements-1
		}
		u.open = false
		if len(elem) > 0 && !u.add(elem) {
			return false
		}
	}
	return g.elements == 0 || i == g.elements
}

// add appends a whole OBU; false if it cannot be read.
func (u *unit) add(elem []byte) bool {
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
		if !u.learn(o) {
			return false
		}
		u.sequence = true
	case obuHeader, obuFrame:
		if !u.frame && u.showsKey(o.payload) {
			u.pic.key = true
			u.insertSequence()
		}
		u.frame = true
	}
	u.out = appendOBU(u.out, o)
	return true
}

func (u *unit) insertSequence() {
	if u.sequence || u.av1.sequence == nil {
		return
	}
	var head []byte
	head = appendOBU(head, obu{typ: obuSequence, head: obuSequence << 3, payload: u.av1.sequence})
	u.out = append(u.out, head...)
	copy(u.out[u.from+len(head):], u.out[u.from:])
	copy(u.out[u.from:], head)
	u.sequence = true
}

func (a *av1) learn(o obu) bool {
	if len(o.payload) == 0 || len(o.payload) > maxSequenceHeader {
		return false
	}
	if !bytes.Equal(a.sequence, o.payload) {
		a.sequence = bytes.Clone(o.payload)
	}
	return true
}

// showsKey tells of a frame header whether it is that of a shown keyframe
// (section 5.9.2: show_existing_frame, frame_type, show_frame), which it
// always is with reduced_still_picture_header.
func (a *av1) showsKey(frame []byte) bool {
	return len(a.sequence) > 0 && a.sequence[0]&0x08 != 0 || len(frame) > 0 && frame[0]&0xf0 == 0x10
}
