package gate

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	addr  = netip.MustParseAddrPort("192.0.2.1:5000")
	start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

const (
	ssrc   = 0x11223344
	twccID = 3
)

// packet makes an RTP packet with a transport sequence number.
func packet(t testing.TB, ssrc uint32, seq uint16, ts uint32, twcc uint16) []byte {
	t.Helper()
	p := rtp.Packet{
		Header:  rtp.Header{Version: 2, PayloadType: 96, SequenceNumber: seq, Timestamp: ts, SSRC: ssrc},
		Payload: make([]byte, 1000),
	}
	if err := p.SetExtension(twccID, binary.BigEndian.AppendUint16(nil, twcc)); err != nil {
		t.Fatal(err)
	}
	b, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newSession(t testing.TB) (*Gate, *Session, *Stream) {
	t.Helper()
	g := New(Config{})
	s := g.NewSession(1, twccID)
	s.Bind(addr, false)
	return g, s, s.AddStream(ssrc, 0, 90000)
}

func TestClosedGateDropsAndOpenPasses(t *testing.T) {
	t.Parallel()
	g, _, st := newSession(t)
	at := start
	passed := 0
	send := func(n int) {
		for range n {
			at = at.Add(5 * time.Millisecond)
			if g.Admit(packet(t, ssrc, uint16(st.packets), 0, 0), addr, false, at) {
				passed++
			}
		}
	}
	send(100) // half a second: the first packet alone
	if passed != 1 {
		t.Errorf("%d of 100 packets passed a closed gate, want 1", passed)
	}
	st.SetOpen(true)
	send(100)
	if passed != 101 {
		t.Errorf("%d packets passed, want 101", passed)
	}
	st.SetOpen(false)
	send(1000) // five seconds: one every PassAfter
	if passed != 103 {
		t.Errorf("%d packets passed, want 103", passed)
	}
	if c := g.Counters(); c.Passed != 103 || c.Dropped != 1097 {
		t.Errorf("counters: %+v", c)
	}
}

// The rollover counter of a receiver that sees only what a closed gate passes
// must stay right over several turns of the sequence number.
func TestRolloverCounterSurvives(t *testing.T) {
	t.Parallel()
	key, salt := make([]byte, 16), make([]byte, 12)
	enc, err := srtp.CreateContext(key, salt, srtp.ProtectionProfileAeadAes128Gcm)
	if err != nil {
		t.Fatal(err)
	}
	dec, err := srtp.CreateContext(key, salt, srtp.ProtectionProfileAeadAes128Gcm)
	if err != nil {
		t.Fatal(err)
	}
	g, _, st := newSession(t)
	const total = 3*65536 + 100
	passed := 0
	for i := range total {
		if i == total-100 {
			st.SetOpen(true)
		}
		// So fast that the distance counts and not the time.
		at := start.Add(time.Duration(i/5000) * time.Second)
		b, err := enc.EncryptRTP(nil, packet(t, ssrc, uint16(i), 0, 0), nil)
		if err != nil {
			t.Fatal(err)
		}
		if !g.Admit(b, addr, false, at) {
			continue
		}
		passed++
		if _, err := dec.DecryptRTP(nil, b, nil); err != nil {
			t.Fatalf("packet %d: %v", i, err)
		}
	}
	if passed < 100+24 || passed > 100+80 {
		t.Errorf("%d of %d packets passed", passed, total)
	}
}

func TestOtherPacketsPass(t *testing.T) {
	t.Parallel()
	g, s, _ := newSession(t)
	rr, _ := (&rtcp.ReceiverReport{SSRC: ssrc}).Marshal()
	for name, b := range map[string][]byte{
		"STUN":         append([]byte{0, 1, 0, 0}, make([]byte, 16)...),
		"DTLS":         append([]byte{22, 254, 253}, make([]byte, 20)...),
		"RTCP":         rr,
		"unknown SSRC": packet(t, 77, 1, 1, 1),
		"short":        {0x80},
	} {
		if !g.Admit(b, addr, false, start) {
			t.Errorf("%s did not pass", name)
		}
	}
	if !g.Admit(packet(t, ssrc, 1, 1, 1), netip.MustParseAddrPort("192.0.2.9:1"), false, start) {
		t.Error("a packet from an unknown source did not pass")
	}
	s.Cut()
	if g.Admit(rr, addr, false, start) {
		t.Error("a packet of a session that was cut off passed")
	}
}

func TestFloodsAreBounded(t *testing.T) {
	t.Parallel()
	g, s, st := newSession(t)
	st.SetOpen(true)
	b := packet(t, ssrc, 1, 1, 1)
	count := func(from netip.AddrPort, n int) (passed int) {
		for i := range n {
			if g.Admit(b, from, false, start.Add(time.Duration(i)*time.Second/time.Duration(n))) {
				passed++
			}
		}
		return passed
	}
	if n := count(addr, 50_000); n > 2*DefaultMaxRate {
		t.Errorf("%d packets of a session passed in a second", n)
	}
	if n := count(netip.MustParseAddrPort("198.51.100.1:9"), 50_000); n > 2*DefaultMaxUnknownRate {
		t.Errorf("%d packets of an unknown source passed in a second", n)
	}
	// New SSRCs without end.
	passed := 0
	for i := range 1000 {
		at := start.Add(time.Hour + time.Duration(i)*10*time.Millisecond)
		if g.Admit(packet(t, uint32(1000+i), 1, 1, 1), addr, false, at) {
			passed++
		}
	}
	if passed != maxUnknownSSRCs || len(s.unknown) != maxUnknownSSRCs {
		t.Errorf("%d SSRCs passed, %d are kept; want %d", passed, len(s.unknown), maxUnknownSSRCs)
	}
	if g.Counters().Flooded == 0 {
		t.Error("nothing was counted as flood")
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	g, s, _ := newSession(t)
	at := start
	// 1000 packets of which every tenth is lost, over a turn of the number.
	for i := range 1000 {
		at = at.Add(10 * time.Millisecond)
		if i%10 == 5 {
			continue
		}
		jitter := time.Duration(i%2) * 4 * time.Millisecond
		g.Admit(packet(t, ssrc, uint16(65000+i), uint32(i*900), uint16(i)), addr, false, at.Add(jitter))
	}
	s.SenderReport(&rtcp.SenderReport{SSRC: ssrc, NTPTime: 0x0123456789abcdef}, at)
	at = at.Add(250 * time.Millisecond)
	var rr *rtcp.ReceiverReport
	var cc []*rtcp.TransportLayerCC
	for _, p := range s.Feedback(at) {
		switch p := p.(type) {
		case *rtcp.ReceiverReport:
			rr = p
		case *rtcp.TransportLayerCC:
			cc = append(cc, p)
		case *rtcp.TransportLayerNack:
			t.Error("a NACK while the gate is closed")
		}
	}
	if rr == nil || len(rr.Reports) != 1 {
		t.Fatalf("no report: %+v", rr)
	}
	r := rr.Reports[0]
	if r.TotalLost != 100 || r.FractionLost < 24 || r.FractionLost > 26 {
		t.Errorf("lost %d, fraction %d/256; want 100 and 25", r.TotalLost, r.FractionLost)
	}
	if want := uint32(65000 + 999); r.LastSequenceNumber != want {
		t.Errorf("last sequence %d, want %d", r.LastSequenceNumber, want)
	}
	// Packets 4 ms early and late in turn: the mean deviation is 4 ms, 360
	// units, but 8 ms or none around a lost one.
	if r.Jitter < 300 || r.Jitter > 420 {
		t.Errorf("jitter %d, want about 360", r.Jitter)
	}
	if r.LastSenderReport != 0x456789ab || r.Delay != 65536/4 {
		t.Errorf("LSR %x, DLSR %d", r.LastSenderReport, r.Delay)
	}
	received, lost := 0, 0
	for _, p := range cc {
		for _, c := range p.PacketChunks {
			switch c := c.(type) {
			case *rtcp.RunLengthChunk:
				if c.PacketStatusSymbol == rtcp.TypeTCCPacketNotReceived {
					lost += int(c.RunLength)
				} else {
					received += int(c.RunLength)
				}
			case *rtcp.StatusVectorChunk:
				for _, sym := range c.SymbolList {
					if sym == rtcp.TypeTCCPacketNotReceived {
						lost++
					} else {
						received++
					}
				}
			}
		}
	}
	// The recorder keeps half a second of packets... all of them when asked at
	// once; the last vector is padded with "not received".
	if received != 900 || lost < 100 || lost > 115 {
		t.Errorf("transport feedback tells of %d received and %d lost, want 900 and 100", received, lost)
	}
	if again := s.Feedback(at.Add(time.Millisecond)); len(again) != 0 {
		t.Errorf("feedback again: %v", again)
	}
}

func TestNacks(t *testing.T) {
	t.Parallel()
	g, s, st := newSession(t)
	at := start
	put := func(seq uint16) { g.Admit(packet(t, ssrc, seq, 0, 0), addr, false, at) }
	put(10)
	put(13)
	if n := s.Nacks(at); len(n) != 0 {
		t.Errorf("NACK while closed: %v", n)
	}
	st.SetOpen(true)
	put(14)
	put(18)
	got := s.Nacks(at)
	if len(got) != 1 {
		t.Fatalf("%d NACKs, want 1", len(got))
	}
	nack := got[0].(*rtcp.TransportLayerNack)
	if l := nack.Nacks[0].PacketList(); len(l) != 3 || l[0] != 15 || l[2] != 17 {
		t.Errorf("asked for %v, want 15 16 17", l)
	}
	put(16) // came late, or again
	if n := s.Nacks(at); len(n) != 0 {
		t.Errorf("asked again at once: %v", n)
	}
	tries := 1
	for range 20 {
		at = at.Add(nackInterval)
		if len(s.Nacks(at)) > 0 {
			tries++
		}
	}
	if tries != nackTries {
		t.Errorf("asked %d times, want %d", tries, nackTries)
	}
	put(5000) // not to be repaired
	if n := s.Nacks(at); len(n) != 0 {
		t.Errorf("asked for a jump: %v", n)
	}
}

func TestRetransmissionsFollowTheirStream(t *testing.T) {
	t.Parallel()
	g, s, _ := newSession(t)
	st := s.AddStream(50, 51, 90000)
	rtx := packet(t, 51, 1, 1, 1)
	g.Admit(rtx, addr, false, start)
	if g.Admit(packet(t, 51, 2, 1, 1), addr, false, start) {
		t.Error("a retransmission passed the closed gate")
	}
	st.SetOpen(true)
	if !g.Admit(packet(t, 51, 3, 1, 1), addr, false, start) {
		t.Error("a retransmission did not pass the open gate")
	}
}

func TestCloseForgets(t *testing.T) {
	t.Parallel()
	g, s, _ := newSession(t)
	for i := range 10 { // many paths
		s.Bind(netip.AddrPortFrom(addr.Addr(), uint16(6000+i)), i%2 == 0)
	}
	if n := len(g.sessions); n != 4 {
		t.Errorf("%d addresses are kept, want 4", n)
	}
	s.Close()
	s.Close()
	if n := len(g.sessions); n != 0 {
		t.Errorf("%d addresses are kept after Close", n)
	}
	s.Bind(addr, false)
	if n := len(g.sessions); n != 0 {
		t.Error("a closed session was bound")
	}
}

func FuzzAdmit(f *testing.F) {
	f.Add(packet(f, ssrc, 1, 1, 1))
	f.Add([]byte{0x90, 96, 0, 1, 0, 0, 0, 1, 0x11, 0x22, 0x33, 0x44, 0xbe, 0xde, 0, 1, 0x31, 0, 1, 0})
	f.Add([]byte{0x90, 96, 0, 1, 0, 0, 0, 1, 0x11, 0x22, 0x33, 0x44, 0x10, 0x00, 0, 1, 3, 2, 0, 1})
	f.Add([]byte{0x9f, 96})
	f.Fuzz(func(t *testing.T, b []byte) {
		g, s, st := newSession(t)
		st.SetOpen(true)
		g.Admit(b, addr, false, start)
		g.Admit(b, addr, false, start.Add(time.Second))
		for _, p := range s.Feedback(start.Add(time.Second)) {
			if _, err := p.Marshal(); err != nil {
				t.Errorf("feedback %T: %v", p, err)
			}
		}
	})
}

func BenchmarkDropped(b *testing.B) { benchmarkAdmit(b, false) }

func BenchmarkPassed(b *testing.B) { benchmarkAdmit(b, true) }

func benchmarkAdmit(b *testing.B, open bool) {
	g, s, st := newSession(b)
	st.SetOpen(open)
	p := packet(b, ssrc, 0, 0, 0)
	at := start
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		at = at.Add(5 * time.Millisecond)
		binary.BigEndian.PutUint16(p[2:], uint16(i))
		binary.BigEndian.PutUint16(p[17:], uint16(i))
		g.Admit(p, addr, false, at)
		if i%20 == 0 {
			s.Feedback(at)
		}
	}
}

func TestRepairedPacketsAreNotAskedForAgain(t *testing.T) {
	t.Parallel()
	g, s, st := newSession(t)
	st.SetOpen(true)
	g.Admit(packet(t, ssrc, 10, 0, 0), addr, false, start)
	g.Admit(packet(t, ssrc, 13, 0, 0), addr, false, start)
	st.SetOpen(true) // another one taps: nothing is forgotten
	if got := s.Nacks(start); len(got) != 1 {
		t.Fatalf("%d NACKs, want 1", len(got))
	}
	st.Repaired(11)
	got := s.Nacks(start.Add(nackInterval))
	if len(got) != 1 {
		t.Fatalf("%d NACKs, want 1", len(got))
	}
	if l := got[0].(*rtcp.TransportLayerNack).Nacks[0].PacketList(); len(l) != 1 || l[0] != 12 {
		t.Errorf("asked for %v, want 12", l)
	}
	st.Repaired(12)
	if got := s.Nacks(start.Add(2 * nackInterval)); len(got) != 0 {
		t.Errorf("asked for %v though all is there", got)
	}
}
