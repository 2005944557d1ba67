package media_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"stillwatch/internal/jail"
	"stillwatch/recording/media"
	"stillwatch/recording/raw"
)

func TestMain(m *testing.M) {
	jail.Init()
	goleak.VerifyTestMain(m)
}

var videoCodecs = []string{media.VP8, media.VP9, media.H264, media.AV1}

// video is a clip of 3 s with a keyframe each second.
func video(t testing.TB, codec string) sent {
	units := clip(t, clipSpec{codec: codec, width: 320, height: 180, frames: 75, gop: 25})
	if len(units) != 75 {
		t.Fatalf("%s: %d pictures", codec, len(units))
	}
	return sent{
		codec: codec, units: units, start: 500 * time.Millisecond, step: 40 * time.Millisecond,
		lag: 30 * time.Millisecond, ts: 0xffff_0000, seq: 65500,
	}
}

func sound(t testing.TB, codec string, tone int) sent {
	return sent{
		codec: codec, units: clip(t, clipSpec{codec: codec, tone: tone, seconds: 3}),
		start: 500 * time.Millisecond, step: 20 * time.Millisecond, lag: 30 * time.Millisecond, ts: 0xffff_f000, seq: 65530, ssrc: 0xa0d10,
	}
}

func anySent(t testing.TB, codec string) sent {
	if slices.Contains(videoCodecs, codec) {
		return video(t, codec)
	}
	return sound(t, codec, 440)
}

// equal checks that the samples are the units, with their timestamps.
func equal(t testing.TB, s sent, all []got) {
	t.Helper()
	if len(all) != len(s.units) {
		t.Fatalf("%d samples of %d", len(all), len(s.units))
	}
	for i, m := range all {
		if !bytes.Equal(m.Data, s.units[i]) {
			t.Fatalf("sample %d: %d bytes differ from %d sent", i, len(m.Data), len(s.units[i]))
		}
		if uint32(m.Ticks) != s.ticks(i) {
			t.Errorf("sample %d: ticks %d, not %d", i, uint32(m.Ticks), s.ticks(i))
		}
		if want := !s.video() || i%25 == 0; m.Key != want {
			t.Errorf("sample %d: key %v", i, m.Key)
		}
		if m.Broken {
			t.Errorf("sample %d is broken", i)
		}
		if m.Key && s.video() && (m.Width != 320 || m.Height != 180) {
			t.Errorf("sample %d: %d×%d", i, m.Width, m.Height)
		}
	}
}

func TestSamplesAreWhatWasSent(t *testing.T) {
	t.Parallel()
	for _, codec := range append(videoCodecs, media.Opus, media.PCMU, media.PCMA) {
		for _, loss := range []float64{0, 0.02, 0.1} {
			t.Run(fmt.Sprintf("%s/%g", codec, loss), func(t *testing.T) {
				t.Parallel()
				s := anySent(t, codec)
				packets := s.packets()
				if loss > 0 {
					packets = network(rand.New(rand.NewPCG(1, uint64(loss*100))), packets, loss)
				}
				src := newMemory()
				src.add(s.info("a", "u"), packets)
				all := samples(t, src.load(t).Samples(t.Context(), "a"))
				equal(t, s, all)
				for i, m := range all {
					want := s.start + time.Duration(i)*s.step + s.lag
					if d := (m.At - want).Abs(); d > 10*time.Millisecond {
						t.Fatalf("sample %d at %v, not %v", i, m.At, want)
					}
				}
			})
		}
	}
}

// Whatever the order within the window, and whatever comes twice, the samples
// are the same.
func TestOrderAndDoublesDoNotMatter(t *testing.T) {
	t.Parallel()
	sents := map[string]sent{}
	for _, codec := range append(videoCodecs, media.Opus) {
		sents[codec] = anySent(t, codec)
	}
	rapid.Check(t, func(rt *rapid.T) {
		codec := rapid.SampledFrom(append(videoCodecs, media.Opus)).Draw(rt, "codec")
		s := sents[codec]
		packets := s.packets()
		spread := rapid.IntRange(0, 900).Draw(rt, "spread ms")
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		var out []raw.Packet
		for _, p := range packets {
			for range 1 + r.IntN(2) {
				q := p
				q.At += time.Duration(r.IntN(spread+1)) * time.Millisecond
				out = append(out, q)
			}
		}
		src := newMemory()
		src.add(s.info("a", "u"), out)
		equal(t, s, samples(t, src.load(t).Samples(t.Context(), "a")))
	})
}

// What is missing for good breaks all until the next keyframe, and nothing
// else; what is given is what was sent.
func TestLossBreaksUntilTheNextKeyframe(t *testing.T) {
	t.Parallel()
	for _, codec := range videoCodecs {
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			s := video(t, codec)
			units := s.rtp()
			for lost := range units {
				src := newMemory()
				var packets []raw.Packet
				n := 0
				for i, ps := range units {
					for j, p := range ps {
						if i == lost && j == (lost*7)%len(ps) {
							continue
						}
						packets = append(packets, stored(p, time.Duration(n)*time.Millisecond))
					}
					n += 40
				}
				src.add(s.info("a", "u"), packets)
				all := samples(t, src.load(t).Samples(t.Context(), "a"))
				k := 0
				for i := range units {
					if k < len(all) && uint32(all[k].Ticks) == s.ticks(i) {
						broken := i > lost && i/25 == lost/25
						if i == lost || !bytes.Equal(all[k].Data, s.units[i]) || all[k].Broken != broken {
							t.Fatalf("lost %d: sample %d: broken %v", lost, i, all[k].Broken)
						}
						k++
						continue
					}
					// a neighbour may be unprovable, but no keyframe of another group
					if i != lost && i/25 != lost/25 && !(i == lost+1) {
						t.Fatalf("lost %d: sample %d is missing", lost, i)
					}
				}
				if k != len(all) {
					t.Fatalf("lost %d: %d samples too many", lost, len(all)-k)
				}
			}
		})
	}
}

func TestFromBeginsAtTheKeyframe(t *testing.T) {
	t.Parallel()
	for _, codec := range append(videoCodecs, media.Opus) {
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			s := anySent(t, codec)
			one := s.units
			for range 7 { // 24 s, so that there are several places to read from
				s.units = append(s.units, one...)
			}
			src := newMemory()
			src.add(s.info("a", "u"), network(rand.New(rand.NewPCG(3, 4)), s.packets(), 0.05))
			session := src.load(t)
			all := samples(t, session.Samples(t.Context(), "a"))
			if len(all) != len(s.units) {
				t.Fatalf("%d samples of %d", len(all), len(s.units))
			}
			for at := time.Duration(0); at < 26*time.Second; at += 777 * time.Millisecond {
				part := samples(t, session.From(t.Context(), "a", at))
				first := len(all) - len(part)
				for i, m := range part {
					w := all[first+i]
					if !bytes.Equal(m.Data, w.Data) || m.Ticks != w.Ticks || m.At != w.At {
						t.Fatalf("from %v: sample %d differs: %v, not %v", at, i, m.At, w.At)
					}
				}
				var next time.Duration
				for i := first + 1; i < len(all); i++ {
					if all[i].Key {
						next = all[i].At
						break
					}
				}
				switch {
				case len(part) == 0:
					if at < all[len(all)-1].At {
						t.Fatalf("from %v: nothing", at)
					}
				case part[0].At > at && first != 0:
					t.Fatalf("from %v: begins at %v", at, part[0].At)
				case next > 0 && next <= at:
					t.Fatalf("from %v: begins at %v, though %v is a keyframe", at, part[0].At, next)
				}
			}
		})
	}
}
