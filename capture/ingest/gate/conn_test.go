package gate

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestUDPReadsWhatPasses(t *testing.T) {
	t.Parallel()
	g := New(Config{})
	u, err := g.ListenUDP("127.0.0.1:0", time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = u.Close() }()
	c, err := net.Dial("udp", u.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	from := c.LocalAddr().(*net.UDPAddr).AddrPort()
	s := g.NewSession(1, 0)
	s.Bind(from, false)
	st := s.AddStream(ssrc, 0, 90000)
	for i := range 200 {
		if _, err := c.Write(packet(t, ssrc, uint16(i), 0, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Write([]byte{22, 1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(make([]byte, maxPacket+1)); err != nil { // too large: dropped
		t.Fatal(err)
	}
	if _, err := c.Write([]byte{22, 4}); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 8192)
	var sizes []int
	for len(sizes) < 3 {
		n, got, err := u.ReadFromAddrPort(buf)
		if err != nil {
			t.Fatal(err)
		}
		if got != from {
			t.Errorf("from %s, want %s", got, from)
		}
		sizes = append(sizes, n)
	}
	if sizes[0] < 1000 || sizes[1] != 4 || sizes[2] != 2 {
		t.Errorf("read packets of %v bytes", sizes)
	}
	if got := st.Stats(); got.Packets != 200 || got.Lost != 0 || time.Since(got.LastAt) > time.Second {
		t.Errorf("stats: %+v", got)
	}
	if c := g.Counters(); c.Dropped != 199 {
		t.Errorf("counters: %+v", c)
	}
}

func TestUDPCloseEndsRead(t *testing.T) {
	t.Parallel()
	u, err := New(Config{}).ListenUDP("127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, _, err := u.ReadFrom(make([]byte, 100))
		done <- err
	}()
	if err := errors.Join(u.Close(), u.Close()); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("read ended with %v", err)
	}
}

func TestListenRefusesBadAddress(t *testing.T) {
	t.Parallel()
	if _, err := New(Config{}).ListenUDP("nowhere", 0); err == nil {
		t.Error("no error")
	}
}

func frame(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }

func TestTCPFramesPassTheGate(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := New(Config{})
	gl := g.Listener(l)
	defer func() { _ = gl.Close() }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	s := g.NewSession(1, 0)
	s.Bind(c.LocalAddr().(*net.TCPAddr).AddrPort(), true)
	s.AddStream(ssrc, 0, 90000)
	sc, err := gl.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sc.Close() }()
	var out []byte
	for i := range 5 {
		out = append(out, frame(packet(t, ssrc, uint16(i), 0, 0))...)
	}
	out = append(out, frame([]byte{22, 9})...)
	out = append(out, frame(nil)...)
	out = append(out, frame(make([]byte, maxPacket+1))...)
	if _, err := c.Write(out); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(sc)
	if !errors.Is(err, io.ErrShortBuffer) {
		t.Errorf("an oversize frame: %v", err)
	}
	want := append(frame(packet(t, ssrc, 0, 0, 0)), frame([]byte{22, 9})...)
	if string(got) != string(want) {
		t.Errorf("read %d bytes, want %d", len(got), len(want))
	}
}

func TestIPv6AddressesAreOne(t *testing.T) {
	t.Parallel()
	a := netip.MustParseAddrPort("[::ffff:192.0.2.1]:5000")
	if unmap(a) != addr {
		t.Errorf("%s became %s", a, unmap(a))
	}
}
