package media

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Ogg writes Opus in Ogg (RFC 7845), one packet a page, so that every packet
// has its own granule position and a gap is a jump of it.
type Ogg struct {
	w    io.Writer
	page []byte
	seq  uint32
	// held is the last packet, kept since the last page must say that it is.
	held []byte
	end  int64
	any  bool
}

const (
	oggFirst = 2
	oggLast  = 4
	// maxOggPacket is what one page holds.
	maxOggPacket = 255*255 - 1
)

var oggTable = func() (t [256]uint32) {
	for i := range t {
		r := uint32(i) << 24
		for range 8 {
			if r&(1<<31) != 0 {
				r = r<<1 ^ 0x04c11db7
			} else {
				r <<= 1
			}
		}
		t[i] = r
	}
	return t
}()

// opusHead is the identification header (RFC 7845, section 5.1). Nothing is
// skipped: packets stand at their time.
func opusHead(channels int) []byte {
	h := append([]byte("OpusHead"), 1, byte(channels), 0, 0)
	h = binary.LittleEndian.AppendUint32(h, 48000)
	return append(h, 0, 0, 0)
}

// NewOgg writes the headers. channels is 1 or 2.
func NewOgg(w io.Writer, channels int) (*Ogg, error) {
	o := &Ogg{w: w}
	if err := o.write(opusHead(channels), 0, oggFirst); err != nil {
		return nil, err
	}
	tags := append([]byte("OpusTags"), 10, 0, 0, 0)
	tags = append(append(tags, "stillwatch"...), 0, 0, 0, 0)
	return o, o.write(tags, 0, 0)
}

// Write writes a packet that ends at a position in 48 kHz samples, not before
// the last one.
func (o *Ogg) Write(end int64, data []byte) error {
	if len(data) > maxOggPacket {
		return fmt.Errorf("write Ogg page: packet of %d bytes is too large", len(data))
	}
	if o.any {
		if err := o.write(o.held, o.end, 0); err != nil {
			return err
		}
	}
	o.held, o.end, o.any = append(o.held[:0], data...), end, true
	return nil
}

// Close writes the last page.
func (o *Ogg) Close() error {
	if !o.any {
		return nil
	}
	o.any = false
	return o.write(o.held, o.end, oggLast)
}

func (o *Ogg) write(data []byte, granule int64, flags byte) error {
	p := append(o.page[:0], 'O', 'g', 'g', 'S', 0, flags)
	p = binary.LittleEndian.AppendUint64(p, uint64(granule))
	p = append(p, 'o', 'p', 'u', 's') // the serial number
	p = binary.LittleEndian.AppendUint32(p, o.seq)
	p = append(p, 0, 0, 0, 0)
	p = append(p, byte(len(data)/255+1))
	for n := len(data); ; n -= 255 {
		p = append(p, byte(min(n, 255)))
		if n < 255 {
			break
		}
	}
	p = append(p, data...)
	sum := uint32(0)
	for _, c := range p {
		sum = sum<<8 ^ oggTable[byte(sum>>24)^c]
	}
	binary.LittleEndian.PutUint32(p[22:], sum)
	o.page = p
	o.seq++
	if _, err := o.w.Write(p); err != nil {
		return fmt.Errorf("write Ogg page: %w", err)
	}
	return nil
}
