package media_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"

	"stillwatch/internal/event"
	"stillwatch/recording/media"
	"stillwatch/recording/raw"
)

// A fuzz input is a list of packets: a byte of flags (1 marker, 2 next
// timestamp, 4 timestamp far off, 8 other SSRC, 16 comes 300 ms later, 32
// 3 s later, 64 RTCP), a signed step of the sequence number, the payload's
// length in two bytes, the payload.

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

func readScript(b []byte) (ps []raw.Packet) {
	seq, ts, ssrc, at := uint16(65000), uint32(1<<32-3000), uint32(1), time.Second
	for len(b) >= 4 {
		flags, n := b[0], min(int(binary.BigEndian.Uint16(b[2:])), len(b)-4)
		step := uint16(int8(b[1]))
		if flags&4 != 0 {
			step *= 300
		}
		seq += step
		for i, d := range []uint32{3000, 1 << 29} {
			if flags>>(i+1)&1 != 0 {
				ts += d
			}
		}
		if flags&8 != 0 {
			ssrc++
		}
		at += 10 * time.Millisecond
		if flags&16 != 0 {
			at += 300 * time.Millisecond
		}
		if flags&32 != 0 {
			at += 3 * time.Second
		}
		payload := b[4 : 4+n]
		b = b[4+n:]
		if flags&64 != 0 {
			ps = append(ps, raw.Packet{At: at, RTCP: true, Data: payload})
			continue
		}
		ps = append(ps, stored(&rtp.Packet{
			Header:  rtp.Header{Version: 2, SSRC: ssrc, SequenceNumber: seq, Timestamp: ts, Marker: flags&1 != 0},
			Payload: payload,
		}, at))
	}
	return ps
}

func fuzzStream(f *testing.F, codec string) {
	var units [][]byte
	if slices.Contains(videoCodecs, codec) {
		units = clip(f, clipSpec{codec: codec, width: 64, height: 64, frames: 6, gop: 3})
	} else {
		units = clip(f, clipSpec{codec: codec, tone: 440, seconds: 0.2})
	}
	var packets []*rtp.Packet
	for _, ps := range (sent{codec: codec, units: units, step: 40 * time.Millisecond, mtu: 300}).rtp() {
		packets = append(packets, ps...)
	}
	f.Add(appendScript(nil, packets))
	f.Add(appendScript(nil, append(packets[:3:3], packets[4:]...)))
	f.Fuzz(func(t *testing.T, script []byte) {
		ps := readScript(script)
		var twice []raw.Packet
		total := 0
		for _, p := range ps {
			twice = append(twice, p, p)
			total += len(p.Data)
		}
		one, all := readAll(t, codec, ps)
		_, again := readAll(t, codec, twice)
		if len(all) != len(again) {
			t.Fatalf("%d samples, %d when all comes twice", len(all), len(again))
		}
		sum := 0
		for i, m := range all {
			if !bytes.Equal(m.Data, again[i].Data) || m.Ticks != again[i].Ticks || m.Broken != again[i].Broken {
				t.Fatalf("sample %d differs when all comes twice", i)
			}
			sum += len(m.Data)
		}
		// start codes, sizes and parameter sets come on top of what was sent
		if sum > 4*total+(2048*2+64)*len(all) {
			t.Fatalf("%d bytes of samples from %d", sum, total)
		}
		for _, at := range []time.Duration{0, 2 * time.Second, 10 * time.Second} {
			part := samples(t, one.From(t.Context(), "a", at))
			for i, m := range part {
				if w := all[len(all)-len(part)+i]; !bytes.Equal(m.Data, w.Data) || m.Ticks != w.Ticks {
					t.Fatalf("from %v: sample %d differs", at, i)
				}
			}
		}
		one.Levels("t")
	})
}

func readAll(t *testing.T, codec string, ps []raw.Packet) (*media.Session, []got) {
	src := newMemory()
	info := (sent{codec: codec}).info("a", "u")
	info.TrackID, info.AudioLevelExtID, info.RotationExtID = "t", 1, 2
	if info.Type == event.TrackVideo {
		info.ParameterSets = [][]byte{{0x67, 1}, {}}
	}
	src.add(info, ps)
	s := src.load(t)
	return s, samples(t, s.Samples(t.Context(), "a"))
}

func FuzzVP8(f *testing.F)  { fuzzStream(f, media.VP8) }
func FuzzVP9(f *testing.F)  { fuzzStream(f, media.VP9) }
func FuzzH264(f *testing.F) { fuzzStream(f, media.H264) }
func FuzzAV1(f *testing.F)  { fuzzStream(f, media.AV1) }
func FuzzOpus(f *testing.F) { fuzzStream(f, media.Opus) }
func FuzzPCMU(f *testing.F) { fuzzStream(f, media.PCMU) }
