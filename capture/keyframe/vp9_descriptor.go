package keyframe

import "encoding/binary"

// Bits of the first byte of the VP9 payload descriptor: |I|P|L|F|B|E|V|Z|.
const (
	vp9PictureID = 0x80
	vp9Inter     = 0x40
	vp9Layer     = 0x20
	vp9Flexible  = 0x10
	vp9Begin     = 0x08
	vp9End       = 0x04
	vp9Structure = 0x02
)

// parseDescriptor reads the payload descriptor (RFC 9628, section 4.2). It
// does not allocate, which is why it is not a library's.
func parseDescriptor(b []byte) (d descriptor, ok bool) {
	if len(b) == 0 {
		return d, false
	}
	flags, b := b[0], b[1:]
	d.inter, d.begin, d.end = flags&vp9Inter != 0, flags&vp9Begin != 0, flags&vp9End != 0
	if flags&vp9PictureID != 0 {
		if len(b) == 0 {
			return d, false
		}
		n := 1 + int(b[0]>>7)
		if len(b) < n {
			return d, false
		}
		b = b[n:]
	}
	if flags&vp9Layer != 0 {
		n := 1
		if flags&vp9Flexible == 0 {
			n = 2 // TL0PICIDX follows
		}
		if len(b) < n {
			return d, false
		}
		d.layered, d.layer = true, b[0]>>1&7
		b = b[n:]
	}
	if flags&vp9Flexible != 0 && d.inter {
		for n := 0; ; n++ {
			if len(b) == 0 || n == 3 {
				return d, false
			}
			more := b[0]&1 != 0
			b = b[1:]
			if !more {
				break
			}
		}
	}
	if flags&vp9Structure != 0 {
		if b, ok = d.parseStructure(b); !ok {
			return d, false
		}
	}
	d.body = b
	return d, true
}

// parseStructure reads the scalability structure (RFC 9628, section 4.2.1).
func (d *descriptor) parseStructure(b []byte) (rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, false
	}
	flags := b[0]
	b = b[1:]
	d.layers = int(flags>>5) + 1
	if flags&0x10 != 0 {
		if len(b) < 4*d.layers {
			return nil, false
		}
		for i := range d.layers {
			d.widths[i] = binary.BigEndian.Uint16(b[4*i:])
			d.heights[i] = binary.BigEndian.Uint16(b[4*i+2:])
		}
		b = b[4*d.layers:]
	}
	if flags&0x08 == 0 {
		return b, true
	}
	if len(b) == 0 {
		return nil, false
	}
	pictures := int(b[0])
	b = b[1:]
	for range pictures {
		if len(b) == 0 {
			return nil, false
		}
		n := 1 + int(b[0]>>2&3)
		if len(b) < n {
			return nil, false
		}
		b = b[n:]
	}
	return b, true
}
