//go:build cgo && linux

package picture

import (
	"encoding/binary"
	"testing"
)

// bitWriter writes headers bit by bit.
type bitWriter struct {
	b []byte
	n int
}

func (w *bitWriter) u(width int, v uint64) *bitWriter {
	for i := width - 1; i >= 0; i-- {
		if w.n%8 == 0 {
			w.b = append(w.b, 0)
		}
		w.b[len(w.b)-1] |= byte(v>>i&1) << (7 - w.n%8)
		w.n++
	}
	return w
}

// ue is H.264's Exp-Golomb code (clause 9.1).
func (w *bitWriter) ue(v uint64) *bitWriter {
	length := 0
	for x := v + 1; x > 1; x >>= 1 {
		length++
	}
	return w.u(length, 0).u(length+1, v+1)
}

// nal puts start code and emulation prevention around a payload.
func (w *bitWriter) nal(header byte) []byte {
	out := []byte{0, 0, 0, 1, header}
	zeros := 0
	for _, b := range w.u(1, 1).b {
		if zeros >= 2 && b <= 3 {
			out, zeros = append(out, 3), 0
		}
		if out = append(out, b); b == 0 {
			zeros++
		} else {
			zeros = 0
		}
	}
	return out
}

// bombVP8 makes a small keyframe claim a size of 14 bits (RFC 6386, 9.1).
func bombVP8(keyframe []byte, w, h uint16) []byte {
	binary.LittleEndian.PutUint16(keyframe[6:], w&0x3fff)
	binary.LittleEndian.PutUint16(keyframe[8:], h&0x3fff)
	return keyframe
}

// bombVP9 does so in the uncompressed header of profile 0: 8 bits of flags,
// 24 of sync code, 4 of colour, then the size.
func bombVP9(keyframe []byte, w, h int) []byte {
	head := &bitWriter{}
	head.u(32, uint64(binary.BigEndian.Uint32(keyframe))).u(4, uint64(keyframe[4]>>4))
	head.u(16, uint64(w-1)).u(16, uint64(h-1)).u(4, uint64(keyframe[8]&15))
	return append(head.b, keyframe[9:]...)
}

// bombH264 is a picture of macroblocks that never come.
func bombH264(widthMB, heightMB uint64) []byte {
	sps := new(bitWriter).u(8, 66).u(8, 0).u(8, 62).ue(0).ue(0).ue(2).ue(1).u(1, 0).
		ue(widthMB-1).ue(heightMB-1).u(1, 1).u(1, 1).u(1, 0).u(1, 0)
	pps := new(bitWriter).ue(0).ue(0).u(1, 0).u(1, 0).ue(0).ue(0).ue(0).u(1, 0).u(2, 0).ue(0).ue(0).ue(0).u(3, 0)
	slice := new(bitWriter).ue(0).ue(7).ue(0).u(4, 0).ue(0).u(2, 0).ue(0).u(32, 0xdeadbeef)
	return append(append(sps.nal(0x67), pps.nal(0x68)...), slice.nal(0x65)...)
}

// bombAV1 is a still picture (AV1 section 5.5.1, reduced header).
func bombAV1(w, h uint64) []byte {
	seq := new(bitWriter).u(3, 0).u(1, 1).u(1, 1).u(5, 31).u(4, 15).u(4, 15).u(16, w-1).u(16, h-1).
		u(6, 0).u(4, 0).u(2, 0).u(1, 0).u(1, 0).u(1, 1)
	frame := new(bitWriter).u(1, 0).u(1, 0).u(1, 0).u(1, 1)
	for range 30 {
		frame.u(8, 0)
	}
	out := []byte{0x12, 0x00, 0x0a, byte(len(seq.b))}
	out = append(append(out, seq.b...), 0x32, byte(len(frame.b)))
	return append(out, frame.b...)
}

func TestBits(t *testing.T) {
	t.Parallel()
	w := new(bitWriter).ue(0).ue(1).ue(2).ue(3).u(5, 0b10101)
	// 1 010 011 00100 10101
	if w.n != 17 || w.b[0] != 0b10100110 || w.b[1] != 0b01001010 || w.b[2] != 0b10000000 {
		t.Fatalf("%d bits: %08b", w.n, w.b)
	}
}
