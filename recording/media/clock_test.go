package media_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/pion/rtp"

	"stillwatch/recording/media"
	"stillwatch/recording/raw"
)

// stamps is a stream of tiny packets with nothing to decode: keyframes of VP8,
// or Opus. at is a packet's moment in truth, on the call's clock.
type stamps struct {
	codec string
	n     int
	start time.Duration
	step  time.Duration
	ssrc  uint32
	ts    uint32
	// ppm is how much too fast the sender's clocks run.
	ppm float64
	// lag is from the moment to arrival.
	lag func(i int, at time.Duration) time.Duration
	// wall is the sender's wall clock at the session's start; reports come
	// every so often.
	wall, reports time.Duration
	// jumpAt is where timestamps jump by jumpBy, with a new SSRC if set.
	jumpAt   int
	jumpBy   uint32
	jumpSSRC uint32
}

func (s stamps) sent() sent { return sent{codec: s.codec, start: s.start, ssrc: s.ssrc} }

func (s stamps) truth(i int) time.Duration { return s.start + time.Duration(i)*s.step }

func (s stamps) packets() (out []raw.Packet) {
	rate := float64(s.sent().rate())
	local := func(at time.Duration) time.Duration { return time.Duration(float64(at) * (1 + s.ppm/1e6)) }
	next := s.start
	payload := []byte{0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 64, 0}
	if s.codec == media.Opus {
		payload = []byte{0xf8, 0xff, 0xfe}
	}
	for i := range s.n {
		at := s.truth(i)
		ts, ssrc := s.ts+uint32(int64(local(at-s.start).Seconds()*rate+0.5)), s.ssrc
		if s.jumpAt > 0 && i >= s.jumpAt {
			ts += s.jumpBy
			if s.jumpSSRC != 0 {
				ssrc = s.jumpSSRC
			}
		}
		arrival := at + s.lag(i, at)
		out = append(out, stored(&rtp.Packet{
			Header:  rtp.Header{Version: 2, SSRC: ssrc, SequenceNumber: uint16(i + 65000), Timestamp: ts, Marker: true},
			Payload: payload,
		}, arrival))
		if s.reports > 0 && at >= next {
			out = append(out, senderReport(ssrc, ts, s.wall+local(at), arrival))
			next += s.reports
		}
	}
	return out
}

// errors returns how far each sample is from its truth.
func placed(t testing.TB, session *media.Session, id string, s stamps) (all []time.Duration) {
	t.Helper()
	got := samples(t, session.Samples(t.Context(), id))
	if len(got) != s.n {
		t.Fatalf("%s: %d samples of %d", id, len(got), s.n)
	}
	for i, m := range got {
		all = append(all, m.At-s.truth(i))
	}
	return all
}

func limits(all []time.Duration) (low, high time.Duration) {
	low, high = all[0], all[0]
	for _, d := range all {
		low, high = min(low, d), max(high, d)
	}
	return low, high
}

// jitter delays by base and up to spread more.
func jitter(seed uint64, base, spread time.Duration) func(int, time.Duration) time.Duration {
	r := rand.New(rand.NewPCG(seed, 1))
	return func(int, time.Duration) time.Duration { return base + time.Duration(r.Int64N(int64(spread))) }
}

// Lips and voice agree within 5 ms, whatever the network did to either, and
// whatever the sender's clock shows and how fast it runs (RFC 3550, 6.4.1).
func TestReportsBringSoundAndPictureTogether(t *testing.T) {
	t.Parallel()
	for _, ppm := range []float64{0, 100, -100} {
		t.Run(fmt.Sprint(ppm), func(t *testing.T) {
			t.Parallel()
			const minutes = 20
			a := stamps{
				codec: media.Opus, n: minutes * 3000, step: 20 * time.Millisecond, start: 2 * time.Second, ssrc: 1, ts: 0xfffffff0, ppm: ppm,
				lag: jitter(1, 40*time.Millisecond, 30*time.Millisecond), wall: 98765 * time.Second, reports: 5 * time.Second,
			}
			v := stamps{
				codec: media.VP8, n: minutes * 600, step: 100 * time.Millisecond, start: 3 * time.Second, ssrc: 2, ts: 77, ppm: ppm,
				lag: jitter(2, 190*time.Millisecond, 80*time.Millisecond), wall: 98765 * time.Second, reports: 3 * time.Second,
			}
			src := newMemory()
			src.add(a.sent().info("a", "u"), a.packets())
			src.add(v.sent().info("v", "u"), v.packets())
			session := src.load(t)
			as, vs := placed(t, session, "a", a), placed(t, session, "v", v)
			for _, ds := range [][]time.Duration{as, vs} {
				low, high := limits(ds)
				t.Logf("%v to %v", low, high)
				if low < 36*time.Millisecond || high > 48*time.Millisecond {
					t.Errorf("placed %v to %v behind the truth, not 40 ms", low, high)
				}
			}
			for i, d := range vs {
				j := int((v.truth(i) - a.truth(0)) / a.step)
				if j < len(as) && (d-as[j]).Abs() > 5*time.Millisecond {
					t.Fatalf("at %v picture and sound are %v apart", v.truth(i), d-as[j])
				}
			}
		})
	}
}

// Without reports the fastest packets tell.
func TestWithoutReports(t *testing.T) {
	t.Parallel()
	for _, ppm := range []float64{0, 100} {
		a := stamps{
			codec: media.Opus, n: 30000, step: 20 * time.Millisecond, start: time.Second, ts: 0xffffff00, ppm: ppm,
			lag: jitter(3, 25*time.Millisecond, 60*time.Millisecond),
		}
		src := newMemory()
		src.add(a.sent().info("a", "u"), a.packets())
		if low, high := limits(placed(t, src.load(t), "a", a)); low < 20*time.Millisecond || high > 35*time.Millisecond {
			t.Errorf("%g ppm: placed %v to %v behind the truth, not 25 ms", ppm, low, high)
		}
	}
}

// An encoder that begins anew with other timestamps, with or without another
// SSRC, is placed by its arrivals.
func TestTimestampsThatBeginAnew(t *testing.T) {
	t.Parallel()
	for _, c := range []stamps{
		{jumpBy: 1 << 31, jumpSSRC: 9},
		{jumpBy: 1 << 30},
		{jumpBy: 1<<32 - 48000*60},
		{jumpBy: 48000 * 10},
		{jumpBy: 960, jumpSSRC: 10},
	} {
		for _, codec := range []string{media.Opus, media.VP8} {
			for _, reports := range []time.Duration{0, 2 * time.Second} {
				c.codec, c.n, c.step, c.start, c.ts, c.ssrc, c.jumpAt = codec, 1500, 20*time.Millisecond, time.Second, 5, 7, 700
				c.lag, c.reports, c.wall = jitter(4, 25*time.Millisecond, 10*time.Millisecond), reports, 12345*time.Second
				src := newMemory()
				src.add(c.sent().info("a", "u"), c.packets())
				low, high := limits(placed(t, src.load(t), "a", c))
				if low < 15*time.Millisecond || high > 40*time.Millisecond {
					t.Errorf("%s, jump by %d, new SSRC %d, reports %v: placed %v to %v behind the truth", codec, c.jumpBy, c.jumpSSRC, reports, low, high)
				}
			}
		}
	}
}

// Packets that a network held back for seconds belong where they were sent.
func TestStall(t *testing.T) {
	t.Parallel()
	for _, reports := range []time.Duration{0, 5 * time.Second} {
		c := stamps{codec: media.Opus, n: 2000, step: 20 * time.Millisecond, start: time.Second, reports: reports, wall: time.Hour}
		c.lag = func(_ int, at time.Duration) time.Duration {
			const from, to = 10 * time.Second, 15 * time.Second
			if at > from && at < to {
				return to - at + 30*time.Millisecond
			}
			return 30 * time.Millisecond
		}
		src := newMemory()
		src.add(c.sent().info("a", "u"), c.packets())
		low, high := limits(placed(t, src.load(t), "a", c))
		if low < 20*time.Millisecond || high > 60*time.Millisecond {
			t.Errorf("reports %v: placed %v to %v behind the truth", reports, low, high)
		}
	}
}

// A sender whose timestamps stand still while it is silent goes on where it
// arrives.
func TestPauseWithoutTimestamps(t *testing.T) {
	t.Parallel()
	for _, reports := range []time.Duration{0, 5 * time.Second} {
		c := stamps{codec: media.Opus, n: 1000, step: 20 * time.Millisecond, start: time.Second, reports: reports, wall: time.Hour}
		c.lag = func(i int, _ time.Duration) time.Duration {
			if i >= 500 {
				return 8*time.Second + 30*time.Millisecond
			}
			return 30 * time.Millisecond
		}
		packets := c.packets()
		// its wall clock goes on, of course
		var rtcps []raw.Packet
		for i, p := range packets {
			if p.RTCP && p.At > 12*time.Second {
				ts := c.ts + uint32(int64((p.At-8*time.Second-30*time.Millisecond-c.start).Seconds()*48000+0.5))
				packets[i] = senderReport(c.ssrc, ts, c.wall+p.At-30*time.Millisecond, p.At)
				rtcps = append(rtcps, packets[i])
			}
		}
		if reports > 0 && len(rtcps) == 0 {
			t.Fatal("no reports")
		}
		src := newMemory()
		src.add(c.sent().info("a", "u"), packets)
		session := src.load(t)
		all := placed(t, session, "a", c)
		low, high := limits(all[:500])
		low2, high2 := limits(all[500:])
		if low < 20*time.Millisecond || high > 60*time.Millisecond || low2 < 8010*time.Millisecond || high2 > 8060*time.Millisecond {
			t.Errorf("reports %v: placed %v to %v and %v to %v behind the truth", reports, low, high, low2, high2)
		}
		track, _ := session.Track("t-a")
		if n := len(track.Layers[0].Spans); n != 2 {
			t.Errorf("%d spans", n)
		}
	}
}

// Reports that make no sense do no harm.
func TestHostileReports(t *testing.T) {
	t.Parallel()
	c := stamps{codec: media.Opus, n: 1000, step: 20 * time.Millisecond, start: time.Second, lag: jitter(9, 30*time.Millisecond, 5*time.Millisecond)}
	packets := c.packets()
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 200 {
		ts := c.ts + uint32(i*4800)
		packets = append(packets, senderReport(c.ssrc, ts+r.Uint32N(96000), time.Duration(r.Int64N(int64(9e17))), c.start+time.Duration(i)*100*time.Millisecond))
	}
	src := newMemory()
	src.add(c.sent().info("a", "u"), packets)
	for i, d := range placed(t, src.load(t), "a", c) {
		if d < -4*time.Second || d > 4*time.Second {
			t.Fatalf("sample %d is %v off", i, d)
		}
	}
}

// A long call whose sound card's clock drifts stays together in a file.
func TestDriftInAFile(t *testing.T) {
	t.Parallel()
	a := stamps{
		codec: media.Opus, n: 30000, step: 20 * time.Millisecond, start: time.Second, ssrc: 1, ppm: 200,
		lag: jitter(1, 40*time.Millisecond, 10*time.Millisecond),
	}
	src := newMemory()
	src.add(a.sent().info("a", "u"), a.packets())
	files, err := src.load(t).Remux(t.Context(), media.RemuxOptions{Dir: t.TempDir(), Audio: []string{"t-a"}, Format: "webm"})
	if err != nil {
		t.Fatal(err)
	}
	all := packetsOf(t, filepath.Clean(files[0].Path), "a")
	if len(all) != a.n {
		t.Fatalf("%d packets", len(all))
	}
	for i, p := range all {
		if d := p.at - float64(i)*0.02; d < -0.03 || d > 0.03 {
			t.Fatalf("packet %d is %.3f s off", i, d)
		}
	}
}
