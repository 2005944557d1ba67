package keyframe_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"
	"pgregory.net/rapid"

	"stillwatch/capture/keyframe"
	"stillwatch/capture/keyframe/keyframetest"
	"stillwatch/internal/event"
)

var allCodecs = []event.Codec{event.VP8, event.VP9, event.H264, event.AV1}

var start = time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)

func newAssembler(t testing.TB, codec event.Codec, cfg keyframe.Config) *keyframe.Assembler {
	t.Helper()
	a, err := keyframe.New(codec, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// push pushes the packets a millisecond apart and returns what came out.
func push(a *keyframe.Assembler, packets []*rtp.Packet) (out []*keyframe.Keyframe) {
	for i, p := range packets {
		if k, ok := a.Push(p, start.Add(time.Duration(i)*time.Millisecond)); ok {
			out = append(out, k)
		}
	}
	return out
}

func forEachCodec(t *testing.T, test func(t *testing.T, codec event.Codec, clip keyframetest.Clip)) {
	for _, codec := range allCodecs {
		t.Run(string(codec), func(t *testing.T) {
			t.Parallel()
			test(t, codec, keyframetest.Encode(t, keyframetest.Spec{Codec: codec}))
		})
	}
}

func TestWholeStreamGivesTheEncodersKeyframes(t *testing.T) {
	t.Parallel()
	forEachCodec(t, func(t *testing.T, codec event.Codec, clip keyframetest.Clip) {
		for _, mtu := range []uint16{1200, 300} {
			groups := clip.Packets(65530, mtu) // the sequence wraps
			got := push(newAssembler(t, codec, keyframe.Config{}), slices.Concat(groups...))
			if len(got) != 2 {
				t.Fatalf("%d keyframes, want 2", len(got))
			}
			for i, k := range got {
				n := i * clip.GOP
				if !bytes.Equal(k.Data, clip.Keyframe(n)) {
					t.Errorf("mtu %d: keyframe %d has %d bytes that differ from the encoder's %d", mtu, i, len(k.Data), len(clip.Keyframe(n)))
				}
				if k.Width != 320 || k.Height != 240 {
					t.Errorf("size %dx%d", k.Width, k.Height)
				}
				if k.RTPTimestamp != groups[n][0].Timestamp || k.Packets != len(groups[n]) || k.Codec != codec {
					t.Errorf("timestamp %d, packets %d, codec %s", k.RTPTimestamp, k.Packets, k.Codec)
				}
				if d := k.LastAt.Sub(k.FirstAt); d != time.Duration(k.Packets-1)*time.Millisecond {
					t.Errorf("arrivals %v apart", d)
				}
			}
		}
	})
}

// TestAnyOrderGivesTheSameBytes shuffles a keyframe with its neighbours and
// repeats packets.
func TestAnyOrderGivesTheSameBytes(t *testing.T) {
	t.Parallel()
	forEachCodec(t, func(t *testing.T, codec event.Codec, clip keyframetest.Clip) {
		groups := clip.Packets(65500, 400)
		want := clip.Keyframe(clip.GOP)
		lead, ps := groups[clip.GOP-1], slices.Concat(groups[clip.GOP], groups[clip.GOP+1])
		rapid.Check(t, func(t *rapid.T) {
			order := rapid.Permutation(ps).Draw(t, "order")
			for range rapid.IntRange(0, 5).Draw(t, "duplicates") {
				i := rapid.IntRange(0, len(order)-1).Draw(t, "from")
				j := rapid.IntRange(0, len(order)-1).Draw(t, "to")
				order = slices.Insert(slices.Clone(order), j, order[i])
			}
			a, err := keyframe.New(codec, keyframe.Config{})
			if err != nil {
				t.Fatal(err)
			}
			got := push(a, append(slices.Clone(lead), order...))
			if len(got) != 1 || !bytes.Equal(got[0].Data, want) {
				t.Fatalf("%d keyframes, stats %+v", len(got), a.Stats())
			}
			if m := a.Missing(nil); len(m) != 0 {
				t.Fatalf("missing %v", m)
			}
		})
	})
}

// TestAnyLossGivesNothing drops each packet of a keyframe in turn; what is
// missing is named, and its late retransmission makes the keyframe whole.
func TestAnyLossGivesNothing(t *testing.T) {
	t.Parallel()
	forEachCodec(t, func(t *testing.T, codec event.Codec, clip keyframetest.Clip) {
		groups := clip.Packets(65500, 400)
		keyPackets := groups[clip.GOP]
		if len(keyPackets) < 4 {
			t.Fatalf("only %d packets: no test", len(keyPackets))
		}
		rest := slices.Concat(groups[clip.GOP+1 : clip.GOP+4]...)
		for drop, lost := range keyPackets {
			a := newAssembler(t, codec, keyframe.Config{Window: 64})
			push(a, groups[clip.GOP-1])
			left := slices.Delete(slices.Clone(keyPackets), drop, drop+1)
			if got := push(a, slices.Concat(left, rest)); len(got) != 0 {
				t.Fatalf("packet %d of %d lost, and yet a keyframe", drop, len(keyPackets))
			}
			if m := a.Missing(nil); !slices.Contains(m, lost.SequenceNumber) {
				t.Fatalf("missing %v has no %d", m, lost.SequenceNumber)
			}
			got := push(a, []*rtp.Packet{lost})
			if len(got) != 1 || !bytes.Equal(got[0].Data, clip.Keyframe(clip.GOP)) {
				t.Fatalf("packet %d of %d came late: %d keyframes", drop, len(keyPackets), len(got))
			}
		}
	})
}

func TestLossBeyondTheWindowIsCounted(t *testing.T) {
	t.Parallel()
	forEachCodec(t, func(t *testing.T, codec event.Codec, clip keyframetest.Clip) {
		groups := clip.Packets(0, 200)
		a := newAssembler(t, codec, keyframe.Config{Window: 3})
		push(a, groups[clip.GOP-1])
		lost := groups[clip.GOP][len(groups[clip.GOP])/2]
		for _, p := range slices.Concat(groups[clip.GOP:]...) {
			if p != lost {
				push(a, []*rtp.Packet{p})
			}
		}
		for i := range uint16(5) { // padding moves the window on
			last := groups[clip.Spec.Frames-1][len(groups[clip.Spec.Frames-1])-1]
			p := *last
			p.SequenceNumber += i + 1
			p.Payload = nil
			push(a, []*rtp.Packet{&p})
		}
		if s := a.Stats(); s.Incomplete != 1 || s.Keyframes != 0 {
			t.Fatalf("stats %+v", s)
		}
		if got := push(a, []*rtp.Packet{lost}); len(got) != 0 {
			t.Fatal("a keyframe after its window")
		}
	})
}

func TestResolutionChangesMidStream(t *testing.T) {
	t.Parallel()
	for _, codec := range allCodecs {
		t.Run(string(codec), func(t *testing.T) {
			t.Parallel()
			one := keyframetest.Encode(t, keyframetest.Spec{Codec: codec})
			two := keyframetest.Encode(t, keyframetest.Spec{Codec: codec, Width: 322, Height: 178, Frames: 2})
			first := slices.Concat(one.Packets(10, 1200)...)
			last := first[len(first)-1]
			second := slices.Concat(two.Packets(last.SequenceNumber+1, 1200)...)
			for _, p := range second {
				p.Timestamp += last.Timestamp - 0xfffff000 + 6000
			}
			got := push(newAssembler(t, codec, keyframe.Config{}), append(first, second...))
			if len(got) != 3 {
				t.Fatalf("%d keyframes", len(got))
			}
			if k := got[2]; k.Width != 322 || k.Height != 178 || !bytes.Equal(k.Data, two.Keyframe(0)) {
				t.Fatalf("size %dx%d", k.Width, k.Height)
			}
		})
	}
}

func TestResetKeepsNoPackets(t *testing.T) {
	t.Parallel()
	forEachCodec(t, func(t *testing.T, codec event.Codec, clip keyframetest.Clip) {
		groups := clip.Packets(100, 300)
		a := newAssembler(t, codec, keyframe.Config{})
		ps := groups[clip.GOP]
		push(a, groups[clip.GOP-1])
		push(a, ps[:len(ps)-1])
		a.Reset()
		if got := push(a, append([]*rtp.Packet{ps[len(ps)-1]}, groups[clip.GOP+1]...)); len(got) != 0 {
			t.Fatal("a keyframe across a reset")
		}
	})
}

func TestStreamThatStartsAnew(t *testing.T) {
	t.Parallel()
	forEachCodec(t, func(t *testing.T, codec event.Codec, clip keyframetest.Clip) {
		a := newAssembler(t, codec, keyframe.Config{})
		push(a, slices.Concat(clip.Packets(100, 300)...))
		// the same SSRC with a far sequence number, the second packet confirms it
		again := slices.Concat(clip.Packets(40000, 300)[clip.GOP-2:]...)
		if got := push(a, again); len(got) != 1 {
			t.Fatalf("far sequence: %d keyframes", len(got))
		}
		other := slices.Concat(clip.Packets(7, 300)...)
		for _, p := range other {
			p.SSRC = 9
		}
		if got := push(a, other); len(got) != 2 {
			t.Fatalf("other SSRC: %d keyframes, %+v", len(got), a.Stats())
		}
	})
}

func TestRotation(t *testing.T) {
	t.Parallel()
	forEachCodec(t, func(t *testing.T, codec event.Codec, clip keyframetest.Clip) {
		for quarter := range 4 {
			groups := clip.Packets(100, 300)
			last := groups[0][len(groups[0])-1]
			if err := last.SetExtension(4, []byte{byte(quarter) | 8}); err != nil {
				t.Fatal(err)
			}
			a := newAssembler(t, codec, keyframe.Config{RotationExtID: 4})
			got := push(a, slices.Concat(groups...))
			if len(got) != 2 || got[0].Rotation != 90*quarter || got[1].Rotation != 90*quarter {
				t.Fatalf("rotation of %d quarter turns: %+v", quarter, got)
			}
		}
	})
}

func TestTooLargeAndBounded(t *testing.T) {
	t.Parallel()
	forEachCodec(t, func(t *testing.T, codec event.Codec, clip keyframetest.Clip) {
		a := newAssembler(t, codec, keyframe.Config{MaxBytes: 2000})
		if got := push(a, slices.Concat(clip.Packets(1, 300)...)); len(got) != 0 {
			t.Fatal("a keyframe above the bound")
		}
		if s := a.Stats(); s.TooLarge != 2 {
			t.Fatalf("stats %+v", s)
		}
	})
}

func TestUnknownCodec(t *testing.T) {
	t.Parallel()
	if _, err := keyframe.New("H265", keyframe.Config{}); !errors.Is(err, keyframe.ErrCodec) {
		t.Fatalf("err = %v", err)
	}
}

// TestDeltaFramesCostNoAllocation holds the promise for packets that are not
// part of a keyframe.
func TestDeltaFramesCostNoAllocation(t *testing.T) {
	for _, codec := range allCodecs {
		t.Run(string(codec), func(t *testing.T) {
			clip := keyframetest.Encode(t, keyframetest.Spec{Codec: codec})
			deltas := slices.Concat(clip.Packets(0, 300)[1:clip.GOP]...)
			a := newAssembler(t, codec, keyframe.Config{})
			var seq uint16
			var ts uint32
			if n := testing.AllocsPerRun(200, func() {
				for _, p := range deltas {
					q := *p
					q.SequenceNumber, q.Timestamp = seq, p.Timestamp+ts
					seq++
					a.Push(&q, start)
				}
				ts += 30000
			}); n > 0 {
				t.Fatalf("%.1f allocations for %d packets", n, len(deltas))
			}
		})
	}
}

func BenchmarkPush(b *testing.B) {
	for _, codec := range allCodecs {
		clip := keyframetest.Encode(b, keyframetest.Spec{Codec: codec, Width: 1280, Height: 720, Frames: 20, GOP: 20})
		groups := clip.Packets(0, 1200)
		for name, ps := range map[string][]*rtp.Packet{"key": groups[0], "delta": slices.Concat(groups[1:]...)} {
			b.Run(string(codec)+"/"+name, func(b *testing.B) {
				a := newAssembler(b, codec, keyframe.Config{})
				b.ReportAllocs()
				var seq uint16
				var ts uint32
				for i := 0; i < b.N; i++ {
					p := *ps[i%len(ps)]
					if i%len(ps) == 0 {
						ts += 200000
					}
					p.SequenceNumber = seq
					p.Timestamp += ts
					seq++
					a.Push(&p, start)
				}
			})
		}
	}
}
