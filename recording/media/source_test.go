package media_test

import (
	"cmp"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"stillwatch/internal/event"
	"stillwatch/recording/media"
	"stillwatch/recording/raw"
)

// memory is a session's folder in memory.
type memory struct {
	entries []raw.Entry
	streams []raw.StreamInfo
	packets map[string][]raw.Packet
	length  time.Duration
}

func newMemory() *memory { return &memory{packets: map[string][]raw.Packet{}} }

func (m *memory) Session() raw.SessionInfo  { return raw.SessionInfo{CID: "default:x", SessionID: "s"} }
func (m *memory) Entries() []raw.Entry      { return m.entries }
func (m *memory) Streams() []raw.StreamInfo { return m.streams }
func (m *memory) Length() time.Duration     { return m.length }

func (m *memory) Packets(id string) iter.Seq2[raw.Packet, error] {
	return func(yield func(raw.Packet, error) bool) {
		// one buffer for all, as a file's reader has
		var buf []byte
		for _, p := range m.packets[id] {
			buf = append(buf[:0], p.Data...)
			p.Data = buf
			if !yield(p, nil) {
				return
			}
		}
	}
}

// add stores packets in order of arrival.
func (m *memory) add(info raw.StreamInfo, packets []raw.Packet) {
	slices.SortStableFunc(packets, func(a, b raw.Packet) int { return cmp.Compare(a.At, b.At) })
	m.streams = append(m.streams, info)
	m.packets[info.ID] = packets
	if n := len(packets); n > 0 {
		m.length = max(m.length, packets[n-1].At+40*time.Millisecond)
	}
}

func (m *memory) load(t testing.TB) *media.Session {
	t.Helper()
	s, err := media.Load(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range s.Problems() {
		t.Error(p)
	}
	return s
}

// sent is what a sender sends: pictures or packets of sound.
type sent struct {
	codec string
	units [][]byte
	// start is the moment of the first, step between two, in the sender's
	// time; lag from sending to arrival.
	start, step, lag time.Duration
	ts               uint32
	seq              uint16
	ssrc             uint32
	mtu              uint16
}

func (s sent) rate() uint32 {
	return map[string]uint32{media.Opus: 48000, media.PCMU: 8000, media.PCMA: 8000}[s.codec] + 90000*b2u(s.video())
}

func b2u(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

func (s sent) video() bool {
	return !slices.Contains([]string{media.Opus, media.PCMU, media.PCMA}, s.codec)
}

// ticks is the RTP timestamp of unit i.
func (s sent) ticks(i int) uint32 {
	return s.ts + uint32(int64(i)*int64(s.step)*int64(s.rate())/int64(time.Second))
}

func (s sent) info(id, user string) raw.StreamInfo {
	i := raw.StreamInfo{
		ID: id, TrackID: "t-" + id, UserID: user, UserSessionID: user + "-1", Type: event.TrackAudio,
		MimeType: "audio/" + s.codec, ClockRate: s.rate(), Channels: 1, At: s.start,
	}
	if s.video() {
		i.Type, i.MimeType, i.Channels = event.TrackVideo, "video/"+s.codec, 0
	}
	return i
}

// rtp makes the packets, by unit.
func (s sent) rtp() [][]*rtp.Packet {
	pay := payloader(s.codec)
	seq := s.seq
	var all [][]*rtp.Packet
	for i, u := range s.units {
		var ps []*rtp.Packet
		payloads := pay.Payload(cmp.Or(s.mtu, 1100), u)
		for j, b := range payloads {
			ps = append(ps, &rtp.Packet{
				Header: rtp.Header{
					Version: 2, PayloadType: 96, SSRC: cmp.Or(s.ssrc, 0x5711), SequenceNumber: seq,
					Timestamp: s.ticks(i), Marker: s.video() && j == len(payloads)-1,
				},
				Payload: b,
			})
			seq++
		}
		all = append(all, ps)
	}
	return all
}

// packets makes them arrive in order and without loss.
func (s sent) packets() (out []raw.Packet) {
	for i, ps := range s.rtp() {
		for _, p := range ps {
			out = append(out, stored(p, s.start+time.Duration(i)*s.step+s.lag))
		}
	}
	return out
}

func stored(p *rtp.Packet, at time.Duration) raw.Packet {
	b, err := p.Marshal()
	if err != nil {
		panic(err)
	}
	return raw.Packet{At: at.Truncate(time.Millisecond), Data: b}
}

// network delays some packets by up to 20 ms (reordering), loses some whose
// retransmission comes 60 to 300 ms later, and doubles some.
func network(r *rand.Rand, packets []raw.Packet, loss float64) []raw.Packet {
	var out []raw.Packet
	for _, p := range packets {
		switch {
		case r.Float64() < loss:
			p.At += time.Duration(60+r.IntN(240)) * time.Millisecond
		case r.Float64() < 0.3:
			p.At += time.Duration(r.IntN(20)) * time.Millisecond
		}
		out = append(out, p)
		if r.Float64() < 0.05 {
			p.At += time.Duration(r.IntN(400)) * time.Millisecond
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b raw.Packet) int { return cmp.Compare(a.At, b.At) })
	return out
}

// senderReport says that the ticks were at a moment of the sender's wall
// clock.
func senderReport(ssrc, ticks uint32, wall, at time.Duration) raw.Packet {
	const base = uint64(3_900_000_000)
	ns := uint64(wall)
	ntp := (base+ns/1e9)<<32 | (ns%1e9)<<32/1e9
	b, err := (&rtcp.SenderReport{SSRC: ssrc, NTPTime: ntp, RTPTime: ticks}).Marshal()
	if err != nil {
		panic(err)
	}
	return raw.Packet{At: at.Truncate(time.Millisecond), RTCP: true, Data: b}
}

// got is a sample that is kept.
type got struct {
	media.Sample
}

func samples(t testing.TB, seq iter.Seq2[media.Sample, error]) (all []got) {
	t.Helper()
	for m, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		m.Data = slices.Clone(m.Data)
		if n := len(all); n > 0 && m.At < all[n-1].At {
			t.Errorf("sample %d goes back from %v to %v", n, all[n-1].At, m.At)
		}
		all = append(all, got{m})
	}
	return all
}
