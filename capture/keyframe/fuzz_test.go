package keyframe_test

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/pion/rtp"

	"stillwatch/capture/keyframe"
	"stillwatch/internal/event"
)

// A fuzz input is a list of packets: a byte of flags (1 marker, 2 next
// timestamp, 4 repeat of the number before, 8 other SSRC), a signed step of
// the sequence number, the payload's length in two bytes, the payload.

func appendScript(b []byte, ps []*rtp.Packet) []byte {
	for i, p := range ps {
		var flags, step byte
		if p.Marker {
			flags |= 1
		}
		if i > 0 {
			step = byte(p.SequenceNumber - ps[i-1].SequenceNumber)
			if p.Timestamp != ps[i-1].Timestamp {
				flags |= 2
			}
		}
		b = append(b, flags, step)
		b = binary.BigEndian.AppendUint16(b, uint16(len(p.Payload)))
		b = append(b, p.Payload...)
	}
	return b
}

func readScript(b []byte) (ps []*rtp.Packet) {
	seq, ts, ssrc := uint16(65000), uint32(1<<32-3000), uint32(1)
	for len(b) >= 4 {
		flags, n := b[0], min(int(binary.BigEndian.Uint16(b[2:])), len(b)-4)
		seq += uint16(int8(b[1]))
		if flags&2 != 0 {
			ts += 3000
		}
		if flags&8 != 0 {
			ssrc++
		}
		ps = append(ps, &rtp.Packet{
			Header:  rtp.Header{Version: 2, SSRC: ssrc, SequenceNumber: seq, Timestamp: ts, Marker: flags&1 != 0},
			Payload: b[4 : 4+n],
		})
		b = b[4+n:]
	}
	return ps
}

func fuzz(f *testing.F, codec event.Codec) {
	const maxBytes = 16 << 10
	f.Fuzz(func(t *testing.T, script []byte) {
		a, err := keyframe.New(codec, keyframe.Config{MaxHeight: 180, MaxBytes: maxBytes, Window: 32})
		if err != nil {
			t.Fatal(err)
		}
		ps := readScript(script)
		var out []*keyframe.Keyframe
		for i, p := range ps {
			before := bytes.Clone(p.Payload)
			if k, ok := a.Push(p, time.Unix(int64(i), 0)); ok {
				out = append(out, k)
			}
			if !bytes.Equal(before, p.Payload) {
				t.Fatal("a payload was changed")
			}
			if m := a.Missing(nil); len(m) > 64 {
				t.Fatalf("%d missing", len(m))
			}
		}
		s := a.Stats()
		if int(s.Keyframes) != len(out) || int(s.Packets) != len(ps) {
			t.Fatalf("%+v for %d keyframes of %d packets", s, len(out), len(ps))
		}
		for _, k := range out {
			if len(k.Data) == 0 || len(k.Data) > maxBytes || k.Packets == 0 || k.LastAt.Before(k.FirstAt) ||
				k.Width < 0 || k.Height < 0 || k.Layers < 1 {
				t.Fatalf("%+v", k)
			}
		}
		a.Reset()
	})
}

func FuzzVP8(f *testing.F)  { fuzz(f, event.VP8) }
func FuzzH264(f *testing.F) { fuzz(f, event.H264) }
func FuzzAV1(f *testing.F)  { fuzz(f, event.AV1) }

func FuzzVP9(f *testing.F) {
	for _, flexible := range []bool{true, false} {
		var script []byte
		for _, g := range svcPackets(f, flexible)[:2] {
			script = appendScript(script, g)
		}
		f.Add(script)
	}
	fuzz(f, event.VP9)
}
