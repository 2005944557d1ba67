package codec

import (
	"encoding/binary"
	"math/bits"
	"slices"

	header "github.com/pion/rtp/codecs/vp9"
)

// Bits of the first byte of the VP9 payload descriptor: |I|P|L|F|B|E|V|Z|.
const (
	VP9PictureID = 0x80
	VP9Inter     = 0x40
	VP9Layer     = 0x20
	VP9Flexible  = 0x10
	VP9Begin     = 0x08
	VP9End       = 0x04
	VP9Structure = 0x02
)

// MaxVP9Layers is how many frames a superframe can hold.
const MaxVP9Layers = 8

// Descriptor is the VP9 payload descriptor (RFC 9628, section 4.2), as far as
// it matters here.
type Descriptor struct {
	// Inter says that the picture is predicted from others, Begin and End that
	// a layer's frame begins and ends in this packet.
	Inter, Begin, End bool
	// Layer is the spatial layer, 0 to 7; Layered says that it was told.
	Layer   uint8
	Layered bool
	// Layers is the number of spatial layers, 0 without a scalability
	// structure; Widths and Heights are theirs in pixels, 0 when not told.
	Layers          int
	Widths, Heights [MaxVP9Layers]uint16
	Body            []byte
}

// ParseDescriptor reads the payload descriptor (RFC 9628, section 4.2). It
// does not allocate, which is why it is not a library's.
func ParseDescriptor(b []byte) (d Descriptor, ok bool) {
	if len(b) == 0 {
		return d, false
	}
	flags, b := b[0], b[1:]
	d.Inter, d.Begin, d.End = flags&VP9Inter != 0, flags&VP9Begin != 0, flags&VP9End != 0
	if flags&VP9PictureID != 0 {
		if len(b) == 0 {
			return d, false
		}
		n := 1 + int(b[0]>>7)
		if len(b) < n {
			return d, false
		}
		b = b[n:]
	}
	if flags&VP9Layer != 0 {
		n := 1
		if flags&VP9Flexible == 0 {
			n = 2 // TL0PICIDX follows
		}
		if len(b) < n {
			return d, false
		}
		d.Layered, d.Layer = true, b[0]>>1&7
		b = b[n:]
	}
	if flags&VP9Flexible != 0 && d.Inter {
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
	if flags&VP9Structure != 0 {
		if b, ok = d.parseStructure(b); !ok {
			return d, false
		}
	}
	d.Body = b
	return d, true
}

// parseStructure reads the scalability structure (RFC 9628, section 4.2.1).
func (d *Descriptor) parseStructure(b []byte) (rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, false
	}
	flags := b[0]
	b = b[1:]
	d.Layers = int(flags>>5) + 1
	if flags&0x10 != 0 {
		if len(b) < 4*d.Layers {
			return nil, false
		}
		for i := range d.Layers {
			d.Widths[i] = binary.BigEndian.Uint16(b[4*i:])
			d.Heights[i] = binary.BigEndian.Uint16(b[4*i+2:])
		}
		b = b[4*d.Layers:]
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

// ParseVP9 reads the uncompressed header (VP9 bitstream specification, section
// 6.2). A frame that only shows an earlier one is no keyframe.
func ParseVP9(b []byte) (h Header, ok bool) {
	var read header.Header
	if read.Unmarshal(b) != nil {
		return Header{}, false
	}
	if read.NonKeyFrame || read.ShowExistingFrame || read.FrameSize == nil {
		return Header{}, true
	}
	// Its own Width and Height make 0 of 65536.
	h = Header{
		Key: true, Profile: int(read.Profile),
		Width: int(read.FrameSize.FrameWidthMinus1) + 1, Height: int(read.FrameSize.FrameHeightMinus1) + 1,
	}
	if read.ColorConfig != nil {
		h.BitDepth = int(read.ColorConfig.BitDepth)
	}
	return h, true
}

// AppendSuperframeIndex appends the index that tells a decoder where each
// layer's frame ends (VP9 bitstream specification, annex B.2).
func AppendSuperframeIndex(data []byte, sizes []uint32) []byte {
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
