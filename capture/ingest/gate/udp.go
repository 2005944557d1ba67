package gate

import (
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Defaults of a UDP socket.
const (
	// DefaultPoll is the default time for which packets gather in the socket.
	DefaultPoll = 5 * time.Millisecond
	// socketBuffer is the size asked for the socket's buffers, in bytes. The
	// kernel grants net.core.rmem_max at most to a process without privilege.
	socketBuffer = 8 << 20
	batchSize    = 64
	// maxPacket is the size of the largest packet taken, in bytes. Media
	// packets are below a path's MTU; DTLS fragments too.
	maxPacket = 2048
)

// UDP is the socket below the ICE mux. It reads in batches and returns only
// packets that pass the gate. Its Read methods are for one goroutine.
//
// While packets come fast it lets them gather for the poll time and is not
// woken by each; the arrival times are the kernel's all the same.
type UDP struct {
	*socket
	local   *net.UDPAddr
	gate    *Gate
	poll    time.Duration
	next, n int
	readAt  time.Time
	gap     time.Duration // between the last two reads
}

// ListenUDP opens the socket. poll is how long packets may gather, 0 for not
// at all.
func (g *Gate) ListenUDP(address string, poll time.Duration) (*UDP, error) {
	addr, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, fmt.Errorf("resolve media address %q: %w", address, err)
	}
	network := "udp"
	if addr.IP.To4() != nil {
		network = "udp4"
	}
	conn, err := net.ListenUDP(network, addr)
	if err != nil {
		return nil, fmt.Errorf("listen for media: %w", err)
	}
	local, _ := conn.LocalAddr().(*net.UDPAddr)
	s, err := newSocket(conn)
	if err != nil {
		return nil, fmt.Errorf("prepare media socket: %w", err)
	}
	return &UDP{socket: s, local: local, gate: g, poll: poll}, nil
}

// ReadFromAddrPort returns the next packet that passes the gate.
func (u *UDP) ReadFromAddrPort(p []byte) (int, netip.AddrPort, error) {
	for {
		for u.next < u.n {
			b, from, at := u.packet(u.next)
			u.next++
			if len(b) > 0 && u.gate.Admit(b, from, false, at) {
				return copy(p, b), from, nil
			}
		}
		if err := u.fill(); err != nil {
			return 0, netip.AddrPort{}, err
		}
	}
}

// fill reads the next batch. A batch of several packets, or one soon after
// another, means that traffic is dense enough for waiting to pay.
func (u *UDP) fill() error {
	dense := u.poll > 0 && u.n > 0 && (u.n > 1 || u.gap < u.poll)
	if dense && u.n < batchSize {
		time.Sleep(u.poll)
	}
	u.next, u.n = 0, 0
	n, err := u.read(!dense)
	if n == 0 && err == nil {
		n, err = u.read(true)
	}
	if err != nil {
		return err
	}
	now := time.Now()
	u.n, u.gap, u.readAt = n, now.Sub(u.readAt), now
	return nil
}

// ReadFrom is ReadFromAddrPort for callers of the net package's interface.
func (u *UDP) ReadFrom(p []byte) (int, net.Addr, error) {
	n, from, err := u.ReadFromAddrPort(p)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// WriteTo is WriteToAddrPort for callers of the net package's interface.
func (u *UDP) WriteTo(p []byte, to net.Addr) (int, error) {
	a, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, fmt.Errorf("gate: write to %T", to)
	}
	return u.WriteToAddrPort(p, a.AddrPort())
}

// LocalAddr is the address of the socket.
func (u *UDP) LocalAddr() net.Addr { return u.local }

// SetDeadline does nothing: reads end with Close, writes do not wait.
func (u *UDP) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (u *UDP) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (u *UDP) SetWriteDeadline(time.Time) error { return nil }
