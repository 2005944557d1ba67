//go:build !linux

package gate

import (
	"net"
	"net/netip"
	"time"
)

// socket reads one packet at a time where recvmmsg does not exist.
type socket struct {
	conn *net.UDPConn
	buf  [maxPacket]byte
	n    int
	addr netip.AddrPort
	at   time.Time
}

func newSocket(conn *net.UDPConn) (*socket, error) {
	_ = conn.SetReadBuffer(socketBuffer)
	_ = conn.SetWriteBuffer(socketBuffer)
	return &socket{conn: conn}, nil
}

func (s *socket) read(bool) (int, error) {
	n, addr, err := s.conn.ReadFromUDPAddrPort(s.buf[:])
	if err != nil {
		return 0, err
	}
	s.n, s.addr, s.at = n, addr, time.Now()
	return 1, nil
}

func (s *socket) packet(int) ([]byte, netip.AddrPort, time.Time) {
	return s.buf[:s.n], s.addr, s.at
}

// WriteToAddrPort sends a packet.
func (s *socket) WriteToAddrPort(p []byte, to netip.AddrPort) (int, error) {
	return s.conn.WriteToUDPAddrPort(p, to)
}

// Close closes the socket; a read that waits returns.
func (s *socket) Close() error { return s.conn.Close() }
