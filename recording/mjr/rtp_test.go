package mjr

import (
	"bytes"
	"testing"
	"time"

	"github.com/pion/rtp"
)

func TestStripRED(t *testing.T) {
	t.Parallel()
	// RFC 2198, section 3: one block of 3 bytes, 960 ticks older, and the newest.
	payload := []byte{0x80 | 111, 960 >> 6, 960 & 0x3f << 2, 3, 111, 'o', 'l', 'd', 'n', 'e', 'w', '!'}
	p := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 63, Marker: true, SequenceNumber: 5, Timestamp: 9, SSRC: 7}, Payload: payload}
	b, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	head, ok := parseRTP(b)
	if !ok {
		t.Fatal("no RTP")
	}
	got, ok := stripRED(b, head)
	var out rtp.Packet
	if !ok || out.Unmarshal(got) != nil {
		t.Fatalf("%v %x", ok, got)
	}
	if !bytes.Equal(out.Payload, []byte("new!")) || out.PayloadType != 111 || !out.Marker || out.SequenceNumber != 5 || out.Timestamp != 9 {
		t.Errorf("%v", out)
	}
}

func TestTicker(t *testing.T) {
	t.Parallel()
	c := ticker{rate: 1000}
	for i, s := range []struct {
		ts   uint32
		want time.Duration
	}{{0xffff_ff00, 0}, {0xffff_ff64, 100}, {0, 256}, {0xffff_fff0, 256}, {100, 356}, {100 + 70_000, 356}, {100 + 71_000, 1356}} {
		if got := c.at(s.ts); got != s.want*time.Millisecond {
			t.Errorf("%d: %v, want %v ms", i, got, int(s.want))
		}
	}
}

func FuzzRTP(f *testing.F) {
	f.Add([]byte{0x90, 63, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xbe, 0xde, 0, 0, 0xef, 1, 2, 3, 111, 1, 2, 3})
	f.Add([]byte{0xa0, 63, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 111, 1, 2, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok := parseRTP(b)
		if !ok {
			return
		}
		if p.payload > len(b) {
			t.Fatal("payload outside")
		}
		n := len(b)
		if out, ok := stripRED(b, p); ok && (len(out) > n || len(out) < p.payload) {
			t.Fatalf("%d of %d", len(out), n)
		}
	})
}
