package keyframe_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"slices"
	"testing"

	"github.com/pion/rtp"

	"stillwatch/capture/keyframe"
	"stillwatch/internal/event"
)

// readSVC reads testdata/vp9svc.ivf: superframes of three spatial layers.
func readSVC(t testing.TB) (superframes [][]byte) {
	t.Helper()
	b, err := os.ReadFile("testdata/vp9svc.ivf")
	if err != nil {
		t.Fatal(err)
	}
	for b = b[32:]; len(b) > 12; {
		n := binary.LittleEndian.Uint32(b)
		superframes = append(superframes, b[12:12+n])
		b = b[12+n:]
	}
	return superframes
}

// layersOf splits a superframe of three by its index with sizes of two bytes.
func layersOf(t testing.TB, super []byte) (layers [3][]byte) {
	t.Helper()
	mark := super[len(super)-1]
	if mark != 0b110_01_010 && mark != 0b110_00_010 {
		t.Fatalf("superframe mark %08b", mark)
	}
	width := int(mark>>3&3) + 1
	index := super[len(super)-1-3*width : len(super)-1]
	for i := range layers {
		n := int(index[i*width])
		if width == 2 {
			n |= int(index[i*width+1]) << 8
		}
		layers[i], super = super[:n], super[n:]
	}
	return layers
}

// svcPackets payloads superframes as RFC 9628 says, two packets or more to a
// layer. The scalability structure is on the first packet of a keyframe.
func svcPackets(t testing.TB, flexible bool) (all [][]*rtp.Packet) {
	t.Helper()
	seq := uint16(65533)
	for n, super := range readSVC(t) {
		var ps []*rtp.Packet
		for sid, layer := range layersOf(t, super) {
			for off, size := 0, len(layer)/2+1; off < len(layer); off += size {
				p := svcPayload(layer[off:min(off+size, len(layer))], n, sid, flexible, off == 0, off+size >= len(layer))
				ps = append(ps, &rtp.Packet{Header: rtp.Header{
					Version: 2, SSRC: 5, SequenceNumber: seq, Timestamp: uint32(n * 6000),
					Marker: sid == 2 && off+size >= len(layer),
				}, Payload: p})
				seq++
			}
		}
		all = append(all, ps)
	}
	return all
}

func svcPayload(body []byte, n, sid int, flexible, begin, end bool) []byte {
	flags := byte(0x80 | 0x20) // I, L
	set := func(on bool, bit byte) {
		if on {
			flags |= bit
		}
	}
	structure := n == 0 && sid == 0 && begin
	set(n > 0, 0x40)
	set(flexible, 0x10)
	set(begin, 0x08)
	set(end, 0x04)
	set(structure, 0x02)
	inter := byte(0)
	if sid > 0 {
		inter = 1
	}
	out := []byte{flags, 0x80, byte(n), byte(sid)<<1 | inter}
	switch {
	case !flexible:
		out = append(out, byte(n)) // TL0PICIDX
	case n > 0:
		out = append(out, 1<<1) // one reference, the picture before
	}
	if structure {
		out = append(out, 2<<5|0x10|0x08) // three layers, sizes, pictures
		for _, wh := range [][2]uint16{{160, 90}, {320, 180}, {640, 360}} {
			out = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(out, wh[0]), wh[1])
		}
		out = append(out, 1, 1<<2, 1) // one picture that refers to the one before
	}
	return append(out, body...)
}

func TestVP9SpatialLayers(t *testing.T) {
	t.Parallel()
	super := readSVC(t)[0]
	layers := layersOf(t, super)
	for _, tc := range []struct{ maxHeight, layers, width, height int }{
		{0, 3, 640, 360},
		{720, 3, 640, 360},
		{360, 3, 640, 360},
		{181, 3, 640, 360},
		{180, 2, 320, 180},
		{90, 1, 160, 90},
		{50, 1, 160, 90},
	} {
		for _, flexible := range []bool{true, false} {
			a := newAssembler(t, event.VP9, keyframe.Config{MaxHeight: tc.maxHeight})
			got := push(a, slices.Concat(svcPackets(t, flexible)...))
			if len(got) != 1 {
				t.Fatalf("%+v: %d keyframes, %+v", tc, len(got), a.Stats())
			}
			k := got[0]
			if k.Layers != tc.layers || k.Width != tc.width || k.Height != tc.height {
				t.Errorf("%+v: %d layers, %dx%d", tc, k.Layers, k.Width, k.Height)
			}
			want := bytes.Join(layers[:tc.layers], nil)
			if tc.layers == 3 && !bytes.Equal(k.Data, super) || !bytes.HasPrefix(k.Data, want) ||
				tc.layers == 1 && len(k.Data) != len(want) {
				t.Errorf("%+v: other bytes than the encoder's", tc)
			}
		}
	}
}

// TestVP9UpperLayersMayBeLost: what is above the wanted layer does not matter.
func TestVP9UpperLayersMayBeLost(t *testing.T) {
	t.Parallel()
	ps := svcPackets(t, true)[0]
	for drop := range ps {
		a := newAssembler(t, event.VP9, keyframe.Config{MaxHeight: 180})
		got := push(a, slices.Delete(slices.Clone(ps), drop, drop+1))
		if want := drop >= 4; (len(got) == 1) != want {
			t.Errorf("packet %d of %d lost: %d keyframes", drop, len(ps), len(got))
		}
	}
}

func TestVP9LayersInAnyOrder(t *testing.T) {
	t.Parallel()
	ps := svcPackets(t, true)[0]
	whole := push(newAssembler(t, event.VP9, keyframe.Config{MaxHeight: 180}), ps)[0].Data
	slices.Reverse(ps)
	got := push(newAssembler(t, event.VP9, keyframe.Config{MaxHeight: 180}), ps)
	if len(got) != 1 || !bytes.Equal(got[0].Data, whole) {
		t.Fatalf("%d keyframes", len(got))
	}
}
