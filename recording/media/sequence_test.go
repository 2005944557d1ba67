package media_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/pion/rtp"
	"pgregory.net/rapid"

	"stillwatch/recording/media"
	"stillwatch/recording/raw"
)

// Whatever numbers, timestamps and arrivals packets have: what is given is in
// order and whole, twice is as good as once, and reading from the middle gives
// what reading from the start does.
func TestHostileSequences(t *testing.T) {
	t.Parallel()
	key := []byte{0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 64, 0}
	delta := []byte{0x10, 0x11, 0, 0, 0}
	rapid.Check(t, func(rt *rapid.T) {
		var ps, twice []raw.Packet
		seq, ts, ssrc, at := uint16(65530), uint32(1<<32-9000), uint32(1), time.Second
		for i := range rapid.IntRange(1, 400).Draw(rt, "packets") {
			switch rapid.IntRange(0, 30).Draw(rt, "what") {
			case 0:
				seq += uint16(rapid.SampledFrom([]int{-2, -40, -600, -1500, 2, 40, 600, 1100, 2900, 3100, 32768}).Draw(rt, "step"))
			case 1:
				ts += rapid.SampledFrom([]uint32{1 << 31, 1 << 20, 0xfff00000, 200000}).Draw(rt, "jump")
			case 2:
				ssrc = rapid.Uint32Range(1, 3).Draw(rt, "ssrc")
			case 3:
				at += time.Duration(rapid.IntRange(0, 4000).Draw(rt, "pause")) * time.Millisecond
			case 4:
				seq-- // the same number again
			}
			seq++
			last := rapid.IntRange(0, 3).Draw(rt, "packets of picture") > 0
			if last {
				ts += 3000
			}
			payload := delta
			if rapid.IntRange(0, 9).Draw(rt, "key") == 0 {
				payload = key
			}
			payload = append(bytes.Clone(payload), byte(i), byte(i>>8))
			at += time.Duration(rapid.IntRange(0, 40).Draw(rt, "ms")) * time.Millisecond
			p := stored(&rtp.Packet{Header: rtp.Header{Version: 2, SSRC: ssrc, SequenceNumber: seq, Timestamp: ts, Marker: last}, Payload: payload}, at)
			ps = append(ps, p)
			twice = append(twice, p, p)
			if rapid.IntRange(0, 20).Draw(rt, "report") == 0 {
				sr := senderReport(ssrc, ts, at, at)
				ps, twice = append(ps, sr), append(twice, sr)
			}
		}
		src := newMemory()
		src.add((sent{codec: media.VP8}).info("a", "u"), ps)
		src.add((sent{codec: media.VP8}).info("b", "u"), twice)
		s := src.load(t)
		all, again := samples(t, s.Samples(t.Context(), "a")), samples(t, s.Samples(t.Context(), "b"))
		if len(all) != len(again) {
			rt.Fatalf("%d samples, %d when all comes twice", len(all), len(again))
		}
		for i, m := range all {
			if !bytes.Equal(m.Data, again[i].Data) || m.Ticks != again[i].Ticks || m.Broken != again[i].Broken {
				rt.Fatalf("sample %d differs when all comes twice", i)
			}
		}
		for _, at := range []time.Duration{time.Second, 3 * time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second} {
			part := samples(t, s.From(t.Context(), "a", at))
			for i, m := range part {
				if w := all[len(all)-len(part)+i]; !bytes.Equal(m.Data, w.Data) || m.Ticks != w.Ticks || m.Broken != w.Broken {
					rt.Fatalf("from %v: sample %d of %d is not that of %d", at, i, len(part), len(all))
				}
			}
		}
	})
}
