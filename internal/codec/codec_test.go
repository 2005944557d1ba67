package codec

import (
	"bytes"
	"testing"
)

func FuzzHeaders(f *testing.F) {
	f.Add([]byte{0x67, 0x42, 0xc0, 0x0d, 0xda, 0x05, 0x07, 0xe4, 0xc0, 0x5a, 0x80, 0x80, 0x80, 0xa0}) // SPS
	f.Add([]byte{0x68, 0xce, 0x3c, 0x80})                                                             // PPS
	f.Add([]byte{0x30, 0x07, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00})                         // VP8
	f.Add([]byte{0x82, 0x49, 0x83, 0x42, 0x00, 0x13, 0xf0, 0x0b, 0x36, 0x00})                         // VP9
	f.Add([]byte{0x00, 0x00, 0x00, 0x02, 0xaf, 0xff, 0x9b, 0x5f, 0x30, 0x08})                         // AV1 sequence
	f.Add([]byte{0x8a, 0x80, 0x01, 0x1a, 0x00, 0x00, 0x10, 0x20, 0x30, 0x40})                         // VP9 descriptor with structure
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, ok := ParseSPS(b); ok && (s.Width <= 0 || s.Height <= 0 || s.Width > 1<<17 || s.Height > 1<<17) {
			t.Errorf("SPS: %d×%d", s.Width, s.Height)
		}
		if p, ok := ParseVP8(b); ok && p.Key && (p.Width <= 0 || p.Height <= 0 || p.Width >= 1<<14) {
			t.Errorf("VP8: %d×%d", p.Width, p.Height)
		}
		if p, ok := ParseVP9(b); ok && p.Key && (p.Width <= 0 || p.Height <= 0 || p.Width > 1<<16 || p.Height > 1<<16) {
			t.Errorf("VP9: %d×%d", p.Width, p.Height)
		}
		if w, h, ok := SequenceSize(b); ok && (w <= 0 || h <= 0 || w > 1<<16 || h > 1<<16) {
			t.Errorf("AV1: %d×%d", w, h)
		}
		if id, ok := SPSID(b); ok && id > 31 {
			t.Errorf("SPS %d", id)
		}
		if pps, sps, ok := PPSIDs(b); ok && (pps > 255 || sps > 31) {
			t.Errorf("PPS %d of SPS %d", pps, sps)
		}
		for rest := b; ; {
			nal, next, ok := CutSTAP(rest)
			if !ok {
				break
			}
			if len(next)+len(nal)+2 != len(rest) {
				t.Fatalf("STAP-A: %d of %d bytes, %d left", len(nal), len(rest), len(next))
			}
			rest = next
		}
		if d, ok := ParseDescriptor(b); ok && (d.Layer > 7 || d.Layers > MaxVP9Layers || len(d.Body) >= len(b)) {
			t.Errorf("VP9: %+v", d)
		}
		if o := ParseOBU(b); o.Type != OBUInvalid {
			if again := ParseOBU(AppendOBU(nil, o)); !o.Cut && (again.Type != o.Type || !bytes.Equal(again.Payload, o.Payload)) {
				t.Errorf("AV1: %+v, written and read: %+v", o, again)
			}
		}
		if len(b) > 0 {
			ParseSliceHead(b)
			elements(ParseAggregation(b[0]), b[1:])
		}
	})
}

func TestParseSPSIgnoresTheID(t *testing.T) {
	t.Parallel()
	// the bits behind the level of an SPS of x264, with another id in front
	nal := []byte{0x67, 0x42, 0xc0, 0x0d, 0xda, 0x05, 0x07, 0xe4, 0xc0, 0x5a, 0x80, 0x80, 0x80, 0xa0, 0x00, 0x00, 0x03, 0x00, 0x20, 0x00, 0x00, 0x06, 0x41, 0xe2, 0x85, 0x54}
	a, ok := ParseSPS(nal)
	if !ok || a.ID != 0 || a.Width != 320 || a.Height != 240 {
		t.Fatalf("%+v %v", a, ok)
	}
	rbsp := unescape(nal, len(nal))
	r := bitReader{b: rbsp, pos: 25} // behind the id's one bit
	bits := []uint32{0, 1, 0}        // id 1
	for r.pos < 8*len(rbsp) {
		bits = append(bits, r.u(1))
	}
	other := append([]byte{0x67}, rbsp[:3]...)
	for len(bits) > 0 {
		var c byte
		for i := range 8 {
			c <<= 1
			if i < len(bits) {
				c |= byte(bits[i])
			}
		}
		other, bits = append(other, c), bits[min(8, len(bits)):]
	}
	b, ok := ParseSPS(other)
	if !ok || b.ID != 1 || b.Width != 320 || b.Height != 240 || b.Sum() != a.Sum() {
		t.Fatalf("%+v %v, not %+v", b, ok, a)
	}
	nal[12] ^= 0x40
	if c, _ := ParseSPS(nal); c.Sum() == a.Sum() {
		t.Error("another SPS has the same sum")
	}
}

// elements cuts all elements off a payload and counts their bytes.
func elements(g Aggregation, b []byte) (n int) {
	for i := 0; len(b) > 0; i++ {
		elem, rest, ok := g.Element(i, b)
		if !ok {
			return n
		}
		n, b = n+len(elem), rest
	}
	return n
}
