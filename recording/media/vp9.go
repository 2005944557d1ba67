package media

import (
	"encoding/binary"
	"math/bits"
	"slices"

	header "github.com/pion/rtp/codecs/vp9"
)

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

// maxVP9Layers is how many frames a superframe can hold.
const maxVP9Layers = 8

// vp9 reads RFC 9628 payloads.
type vp9 struct{ stateless }

// descriptor is the VP9 payload descriptor (RFC 9628, section 4.2), as far as
// it matters here.
type descriptor struct {
	begin, end bool
	layer      uint8
	// widths and heights are the spatial layers' sizes, 0 when not told.
	widths, heights [maxVP9Layers]uint16
	structured      bool
	body            []byte
}

func (vp9) starts(payload []byte) bool {
	d, ok := parseDescriptor(payload)
	return ok && d.begin && d.layer == 0
}

func (vp9) join(dst []byte, payloads [][]byte) ([]byte, picture, error) {
	from := len(dst)
	var sizes []uint32
	var structure descriptor
	open, top := false, -1
	for _, raw := range payloads {
		d, ok := parseDescriptor(raw)
		if !ok || len(d.body) == 0 || open == d.begin || d.begin && int(d.layer) <= top {
			return dst, picture{}, errMalformed
		}
		if d.begin {
			open, top = true, int(d.layer)
			sizes = append(sizes, 0)
		}
		if int(d.layer) != top {
			return dst, picture{}, errMalformed
		}
		dst = append(dst, d.body...)
		sizes[len(sizes)-1] += uint32(len(d.body))
		open = !d.end
		if d.structured {
			structure = d
		}
	}
	if open || len(sizes) == 0 {
		return dst, picture{}, errMalformed
	}
	pic, ok := vp9Header(dst[from:])
	if !ok {
		return dst, picture{}, errMalformed
	}
	if len(sizes) > 1 {
		dst = appendSuperframeIndex(dst, sizes)
		if w, h := structure.widths[top], structure.heights[top]; pic.key && w > 0 && h > 0 {
			pic.width, pic.height = int(w), int(h)
		}
	}
	if pic.key {
		pic.params = pic.params<<32 | uint64(pic.width)<<16 | uint64(pic.height)
	}
	return dst, pic, nil
}

// vp9Header reads the uncompressed header (VP9 bitstream specification,
// section 6.2); params is profile and depth.
func vp9Header(b []byte) (pic picture, ok bool) {
	var h header.Header
	if h.Unmarshal(b) != nil {
		return picture{}, false
	}
	if h.NonKeyFrame || h.ShowExistingFrame || h.FrameSize == nil {
		return picture{}, true
	}
	pic = picture{key: true, width: int(h.Width()), height: int(h.Height()), params: uint64(h.Profile)}
	if h.ColorConfig != nil {
		pic.params |= uint64(h.ColorConfig.BitDepth) << 4
	}
	return pic, true
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

// parseDescriptor reads the payload descriptor (RFC 9628, section 4.2).
func parseDescriptor(b []byte) (d descriptor, ok bool) {
	if len(b) == 0 {
		return d, false
	}
	flags, b := b[0], b[1:]
	d.begin, d.end = flags&vp9Begin != 0, flags&vp9End != 0
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
		d.layer = b[0] >> 1 & 7
		b = b[n:]
	}
	if flags&vp9Flexible != 0 && flags&vp9Inter != 0 {
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
	layers := int(flags>>5) + 1
	d.structured = true
	if flags&0x10 != 0 {
		if len(b) < 4*layers {
			return nil, false
		}
		for i := range layers {
			d.widths[i] = binary.BigEndian.Uint16(b[4*i:])
			d.heights[i] = binary.BigEndian.Uint16(b[4*i+2:])
		}
		b = b[4*layers:]
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
