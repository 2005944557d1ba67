package gate

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Listener wraps a TCP listener so that the connections it accepts pass
// through the gate.
func (g *Gate) Listener(l net.Listener) net.Listener { return &listener{Listener: l, gate: g} }

// maxTCP bounds the TCP connections that are open at a time.
const maxTCP = 4096

type listener struct {
	net.Listener
	gate *Gate
	open atomic.Int64
}

// Accept waits for the next connection. Those above the bound are closed.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	for err == nil && l.open.Load() >= maxTCP {
		l.gate.counters.flooded.Add(1)
		_ = c.Close()
		c, err = l.Listener.Accept()
	}
	if err != nil {
		return nil, err
	}
	l.open.Add(1)
	from := netip.AddrPort{}
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		from = a.AddrPort()
	}
	return &tcpConn{Conn: c, gate: l.gate, closed: func() { l.open.Add(-1) }, from: from, in: bufio.NewReader(c)}, nil
}

// tcpConn reads packets framed as RFC 4571 says, two bytes of length before
// each, and hands on those that pass the gate in the same framing.
type tcpConn struct {
	net.Conn
	gate *Gate
	from netip.AddrPort

	closed func()
	once   sync.Once

	in   *bufio.Reader
	buf  []byte // one frame, made at the first read
	rest []byte // what of it is still to be read
}

// Read reads from the frames that pass.
func (c *tcpConn) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// Close closes the connection.
func (c *tcpConn) Close() error {
	c.once.Do(c.closed)
	return c.Conn.Close()
}

// next reads one frame whole. A frame longer than any media packet ends the
// connection: its sender does not speak our protocol.
func (c *tcpConn) next() error {
	if c.buf == nil {
		c.buf = make([]byte, 2+maxPacket)
	}
	if _, err := io.ReadFull(c.in, c.buf[:2]); err != nil {
		return err
	}
	n := int(binary.BigEndian.Uint16(c.buf))
	if n > maxPacket {
		return io.ErrShortBuffer
	}
	if _, err := io.ReadFull(c.in, c.buf[2:2+n]); err != nil {
		return err
	}
	if n > 0 && c.gate.Admit(c.buf[2:2+n], c.from, true, time.Now()) {
		c.rest = c.buf[:2+n]
	}
	return nil
}
