package whep

import (
	"testing"
	"time"

	"github.com/pion/rtp"

	"stillwatch/internal/event"
)

func TestRewriterGoesOn(t *testing.T) {
	t.Parallel()
	var r rewriter
	at := time.Unix(1000, 0)
	in := func(seq uint16, ts uint32, payload int) (uint16, uint32, bool) {
		at = at.Add(10 * time.Millisecond)
		return r.next(&rtp.Packet{
			Header: rtp.Header{SequenceNumber: seq, Timestamp: ts}, Payload: make([]byte, payload),
		}, at, 90000)
	}
	want := func(seq uint16, ts uint32, ok bool) func(uint16, uint32, bool) {
		return func(gotSeq uint16, gotTS uint32, gotOK bool) {
			t.Helper()
			if gotOK != ok || ok && (gotSeq != seq || gotTS != ts) {
				t.Errorf("got %d %d %t, want %d %d %t", gotSeq, gotTS, gotOK, seq, ts, ok)
			}
		}
	}
	want(65534, 100, true)(in(65534, 100, 9))
	want(0, 200, true)(in(0, 200, 9)) // one is late
	want(65535, 100, true)(in(65535, 100, 9))
	want(0, 0, false)(in(65533, 100, 9)) // from before the start
	want(1, 300, true)(in(1, 300, 9))
	want(0, 0, false)(in(2, 300, 0)) // padding only: leaves no hole
	want(2, 400, true)(in(3, 400, 9))
	r.restart()                           // another layer
	want(3, 400+900, true)(in(700, 5, 9)) // 10 ms later
	want(4, 400+900+95, true)(in(701, 100, 9))
	want(0, 0, false)(in(699, 5, 9))
}

func TestStartsKeyframe(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		codec event.Codec
		p     []byte
		want  bool
	}{
		"VP8 key":                 {event.VP8, []byte{0x10, 0x10}, true},
		"VP8 delta":               {event.VP8, []byte{0x10, 0x11}, false},
		"VP8 key, not the start":  {event.VP8, []byte{0x00, 0x10}, false},
		"VP8 key, long id":        {event.VP8, []byte{0x90, 0xe0, 0x81, 0x02, 0x03, 0x04, 0x10}, true},
		"VP8 key, id and tl0":     {event.VP8, []byte{0x90, 0xc0, 0x81, 0x02, 0x03, 0x10}, true},
		"VP8 cut short":           {event.VP8, []byte{0x90, 0x80}, false},
		"VP9 key":                 {event.VP9, []byte{0x08, 0}, true},
		"VP9 delta":               {event.VP9, []byte{0x48, 0}, false},
		"VP9 key, base layer":     {event.VP9, []byte{0xa8, 0x01, 0x00}, true},
		"VP9 key, upper layer":    {event.VP9, []byte{0xa8, 0x01, 0x02}, false},
		"H264 SPS":                {event.H264, []byte{0x67, 0x42}, true},
		"H264 delta":              {event.H264, []byte{0x41, 0x9a}, false},
		"H264 STAP-A with SPS":    {event.H264, []byte{0x78, 0, 2, 0x67, 0x42, 0, 1, 0x68}, true},
		"H264 STAP-A without":     {event.H264, []byte{0x78, 0, 2, 0x41, 0x42, 0, 1, 0x06}, false},
		"H264 FU-A start of IDR":  {event.H264, []byte{0x7c, 0x85}, true},
		"H264 FU-A middle of IDR": {event.H264, []byte{0x7c, 0x05}, false},
		"AV1 new sequence":        {event.AV1, []byte{0x18, 0}, true},
		"AV1 other":               {event.AV1, []byte{0x10, 0}, false},
		"empty":                   {event.AV1, nil, false},
	} {
		if got := startsKeyframe(c.codec, c.p); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func FuzzStartsKeyframe(f *testing.F) {
	f.Add([]byte{0x90, 0xe0, 0x81, 0x02, 0x03, 0x04, 0x10})
	f.Add([]byte{0x78, 0, 2, 0x67, 0x42, 0, 1, 0x68})
	f.Fuzz(func(_ *testing.T, p []byte) {
		for _, c := range []event.Codec{event.VP8, event.VP9, event.H264, event.AV1, "other"} {
			startsKeyframe(c, p)
		}
	})
}
