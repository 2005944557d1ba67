package media

import (
	"bytes"
	"testing"

	"github.com/pion/rtp/codecs"
	"pgregory.net/rapid"

	"stillwatch/internal/codec"
)

// elements makes the payloads of a temporal unit in every way that the
// payload format allows.
func elements(t *rapid.T, obus [][]byte) (payloads [][]byte) {
	var rest [][]byte // of what is to be sent, and whether it is a fragment
	rest = append(rest, obus...)
	continued := false
	for len(rest) > 0 {
		n := rapid.IntRange(1, min(4, len(rest))).Draw(t, "elements")
		withW := n <= 3 && rapid.Bool().Draw(t, "W")
		var head byte
		if continued {
			head |= 0x80
		}
		last := rest[n-1]
		continued = false
		if len(last) > 1 && rapid.Bool().Draw(t, "cut") {
			k := rapid.IntRange(1, len(last)-1).Draw(t, "at")
			last, rest[n-1] = last[:k], last[k:]
			continued = true
			head |= 0x40
		}
		if withW {
			head |= byte(n) << 4
		}
		p := []byte{head}
		for i := range n {
			e := rest[i]
			if i == n-1 {
				e = last
			}
			if !withW || i < n-1 {
				p = append(p, byte(len(e)))
			}
			p = append(p, e...)
		}
		payloads = append(payloads, p)
		if continued {
			n--
		}
		rest = rest[n:]
	}
	return payloads
}

// However a temporal unit is aggregated and cut, the OBUs come out whole, and
// as another depacketizer has them.
func TestAV1Aggregation(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		sequence := []byte{codec.OBUSequence << 3, 0x00, 0x00, 0x00, 0x02, 0xaf, 0xff, 0x9b, 0x5f, 0x30, 0x08}
		obus := [][]byte{sequence, append([]byte{codec.OBUFrame << 3, 0x10}, rapid.SliceOfN(rapid.Byte(), 1, 100).Draw(t, "key")...)}
		for range rapid.IntRange(0, 4).Draw(t, "more") {
			obus = append(obus, append([]byte{codec.OBUFrame << 3, 0x30}, rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(t, "frame")...))
		}
		var want []byte
		for _, o := range obus {
			want = append(append(want, o[0]|2, byte(len(o)-1)), o[1:]...)
		}
		payloads := elements(t, append([][]byte{}, obus...))
		var other []byte
		var d codecs.AV1Depacketizer
		for _, p := range payloads {
			b, err := d.Unmarshal(p)
			if err != nil {
				t.Fatal(err)
			}
			other = append(other, b...)
		}
		if !bytes.Equal(other, want) {
			t.Fatalf("the other makes % x of % x", other, want)
		}
		got, pic, err := (&av1{}).join(nil, payloads)
		if err != nil || !pic.key || !bytes.Equal(got, append([]byte{0x12, 0}, want...)) {
			t.Fatalf("%v, %+v: % x, not % x", err, pic, got, want)
		}
		if pic.width == 0 || pic.height == 0 {
			t.Fatalf("%d×%d", pic.width, pic.height)
		}
		if len(payloads) > 1 { // one end of an OBU missing is noticed; its middle only by sequence numbers
			cut := append(append([][]byte{}, payloads[:1]...), payloads[2:]...)
			if got, _, err := (&av1{}).join(nil, cut); err == nil && payloads[1][0]>>7 != payloads[1][0]>>6&1 {
				t.Fatalf("a fragment is missing in % x", got)
			}
		}
	})
}

func TestAV1KeyframeGetsTheSequenceHeader(t *testing.T) {
	t.Parallel()
	a := &av1{}
	sequence := []byte{codec.OBUSequence << 3, 0x00, 0x00, 0x00, 0x02, 0xaf, 0xff, 0x9b, 0x5f, 0x30, 0x08}
	first, _, err := a.join(nil, [][]byte{append([]byte{0x10}, sequence...), {0x10, codec.OBUFrame << 3, 0x10, 1, 2, 3}})
	if err != nil {
		t.Fatal(err)
	}
	second, pic, err := a.join(nil, [][]byte{{0x10, codec.OBUFrame << 3, 0x10, 1, 2, 3}})
	if err != nil || !pic.key || !bytes.Equal(first, second) {
		t.Fatalf("%v, %+v: % x, not % x", err, pic, second, first)
	}
	if _, _, err := (&av1{}).join(nil, [][]byte{{0x10, codec.OBUFrame << 3, 0x10, 1, 2, 3}}); err == nil {
		t.Error("a keyframe without any sequence header passes")
	}
}

// A picture of several spatial layers is a superframe.
func TestVP9SpatialLayers(t *testing.T) {
	t.Parallel()
	key := []byte{0x82, 0x49, 0x83, 0x42, 0x00, 0x13, 0xf0, 0x0b, 0x36, 0x00}
	// L B E V of layer 0 with the structure of two, then layer 1 in two packets
	structure := []byte{1<<5 | 0x10, 1, 64, 0, 180, 2, 128, 1, 104}
	payloads := [][]byte{
		append(append([]byte{codec.VP9Layer | codec.VP9Begin | codec.VP9End | codec.VP9Structure, 0 << 1, 0}, structure...), key...),
		{codec.VP9Inter | codec.VP9Layer | codec.VP9Begin, 1 << 1, 0, 0xa1, 0xa2, 0xa3},
		{codec.VP9Inter | codec.VP9Layer | codec.VP9End, 1 << 1, 0, 0xa4},
	}
	got, pic, err := vp9{}.join(nil, payloads)
	want := append(append([]byte{}, key...), 0xa1, 0xa2, 0xa3, 0xa4, 0xc1, byte(len(key)), 4, 0xc1)
	if err != nil || !bytes.Equal(got, want) || !pic.key || pic.width != 640 || pic.height != 360 {
		t.Fatalf("%v, %+v: % x, not % x", err, pic, got, want)
	}
	if !(vp9{}).starts(payloads[0]) || (vp9{}).starts(payloads[1]) {
		t.Error("the base layer alone begins a picture")
	}
	for i := range payloads {
		if _, _, err := (vp9{}).join(nil, append(append([][]byte{}, payloads[:i]...), payloads[i+1:]...)); err == nil && i > 0 {
			t.Errorf("packet %d is not missed", i)
		}
	}
}

func TestOpusTicks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		b    []byte
		want int64
	}{
		{nil, 0},
		{[]byte{0x00}, 480},
		{[]byte{0x18}, 2880},
		{[]byte{0x60}, 480},
		{[]byte{0x68}, 960},
		{[]byte{0xe0}, 120},
		{[]byte{0xf8, 0xff, 0xfe}, 960},
		{[]byte{0xf9}, 1920},
		{[]byte{0xfb, 3}, 2880},
		{[]byte{0xfb}, 0},
		{[]byte{0xfb, 7}, 0},
	} {
		if got := opusTicks(c.b); got != c.want {
			t.Errorf("% x: %d, not %d", c.b, got, c.want)
		}
	}
	for n := range int64(2000) {
		b, got := opusSilence(n)
		if b == nil != (n < 120) || got > n || got != opusTicks(b) {
			t.Fatalf("silence of %d: % x, %d", n, b, got)
		}
	}
}
