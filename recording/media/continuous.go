package media

import (
	"context"
	"io"
)

// silentG711 is the byte that is silence.
var silentG711 = map[string]byte{PCMU: 0xff, PCMA: 0xd5}

// continuous writes a track's sound from one moment to another without gaps:
// silence where there is nothing, so that what stands at a position was said
// at that time. Opus comes in Ogg, exact to 2.5 ms; G.711 as it is, exact to a
// sample of 8 kHz.
func (s *Session) continuous(ctx context.Context, w io.Writer, t Track, span Span) error {
	id := t.Layers[0].StreamID
	in := s.streams[id].in
	if t.Codec != Opus {
		c := g711Filler{w: w, silence: silentG711[t.Codec], end: round(span.Length(), int64(in.ClockRate))}
		return s.fill(ctx, id, span, int64(in.ClockRate), c.put, c.close)
	}
	// two channels hold whatever a packet brings
	ogg, err := NewOgg(w, 2)
	if err != nil {
		return err
	}
	c := opusFiller{ogg: ogg, end: round(span.Length(), 48000)}
	return s.fill(ctx, id, span, 48000, c.put, c.close)
}

// fill gives put the samples of the span with their position, and close the
// end.
func (s *Session) fill(ctx context.Context, id string, span Span, rate int64, put func(int64, Sample) error, end func() error) error {
	line := timeline{origin: span.From, rate: int64(s.streams[id].in.ClockRate), out: rate}
	for m, err := range s.From(ctx, id, span.From) {
		if err != nil {
			return err
		}
		if m.At >= span.To {
			break
		}
		if m.At < span.From {
			continue
		}
		if err := put(line.pts(m), m); err != nil {
			return err
		}
	}
	return end()
}

const (
	// maxConceal is how long a decoder makes up what is missing, as a
	// listener's does, before there is silence.
	maxConceal = 48 * 60
	// maxComfort is the same where the sender said that it sends nothing:
	// there it makes comfort noise until the next packet.
	maxComfort = 48 * 1000
	// maxDTX is how long a packet is, in bytes, that says so.
	maxDTX = 2
)

// opusFiller puts packets at their positions, in 48 kHz samples.
type opusFiller struct {
	ogg      *Ogg
	pos, end int64
	// began says that a packet came. last is the first byte of the one before,
	// gap how much of a gap may be concealed behind it.
	began bool
	last  byte
	gap   int64
}

func (c *opusFiller) put(at int64, m Sample) error {
	n := opusTicks(m.Data)
	if at < c.pos-n/2 {
		return nil // the one before goes on too long: slip
	}
	if err := c.fill(at); err != nil {
		return err
	}
	c.pos += n
	c.began, c.last, c.gap = true, m.Data[0], maxConceal
	if len(m.Data) <= maxDTX {
		c.gap = maxComfort
	}
	return c.ogg.Write(c.pos, m.Data)
}

// fill fills up with packets that are missing, and then with silence. A packet
// without a frame's data is how a decoder is told that one is missing; it
// leaves the decoder in the state that the next packet expects, which a packet
// of silence does not; before the first packet it is silence.
func (c *opusFiller) fill(to int64) error {
	lost := []byte{c.last &^ 3}
	for n := opusTicks(lost); c.gap >= n && c.pos+n <= to; c.gap -= n {
		c.pos += n
		if err := c.ogg.Write(c.pos, lost); err != nil {
			return err
		}
	}
	c.gap = 0
	for {
		b, n := opusSilence(to - c.pos)
		if b == nil {
			return nil
		}
		if !c.began {
			b = b[:1]
		}
		c.pos += n
		if err := c.ogg.Write(c.pos, b); err != nil {
			return err
		}
	}
}

// close fills up to the end, and a bit beyond rather than less.
func (c *opusFiller) close() error {
	if err := c.fill(max(c.end+119, 960)); err != nil {
		return err
	}
	return c.ogg.Close()
}

// g711Filler puts bytes at their positions.
type g711Filler struct {
	w        io.Writer
	silence  byte
	pos, end int64
	buf      []byte
}

func (c *g711Filler) put(at int64, m Sample) error {
	if err := c.fill(at); err != nil {
		return err
	}
	data := m.Data
	if late := c.pos - at; late > 0 { // what overlaps goes
		if late >= int64(len(data)) {
			return nil
		}
		data = data[late:]
	}
	if left := c.end - c.pos; int64(len(data)) > left {
		data = data[:max(left, 0)]
	}
	c.pos += int64(len(data))
	_, err := c.w.Write(data)
	return err
}

func (c *g711Filler) fill(to int64) error {
	const piece = 4096
	if c.buf == nil {
		c.buf = make([]byte, piece)
		for i := range c.buf {
			c.buf[i] = c.silence
		}
	}
	for c.pos < to {
		n := min(to-c.pos, piece)
		c.pos += n
		if _, err := c.w.Write(c.buf[:n]); err != nil {
			return err
		}
	}
	return nil
}

func (c *g711Filler) close() error { return c.fill(c.end) }
