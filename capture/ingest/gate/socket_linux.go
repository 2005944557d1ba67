package gate

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socket is a UDP socket outside the runtime's poller, which would wake a
// thread for every packet even while nobody waits for one. Who does wait is
// woken through an epoll instance of the socket's own that is armed for one
// event at a time.
type socket struct {
	batch

	mu   sync.RWMutex // held for reading while fd is in use
	fd   int          // -1 when closed
	epfd int
	wake *os.File // epfd, which the runtime polls
	raw  syscall.RawConn
	wait func(fd uintptr) bool
}

// newSocket takes the socket over from conn, which it closes.
func newSocket(conn *net.UDPConn) (*socket, error) {
	defer func() { _ = conn.Close() }()
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &socket{fd: -1}
	var dupErr error
	err = raw.Control(func(fd uintptr) { s.fd, dupErr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err == nil {
		err = dupErr
	}
	if err != nil {
		return nil, fmt.Errorf("duplicate socket: %w", err)
	}
	setBuffers(s.fd)
	// Without kernel timestamps packets get the time of reading.
	_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	if err := s.watch(); err != nil {
		_ = unix.Close(s.fd)
		return nil, err
	}
	local, _ := conn.LocalAddr().(*net.UDPAddr)
	s.v6 = local != nil && local.IP.To4() == nil
	s.init()
	return s, nil
}

// watch makes the epoll instance.
func (s *socket) watch() error {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("create epoll: %w", err)
	}
	ev := unix.EpollEvent{Fd: int32(s.fd)}
	if err := unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, s.fd, &ev); err != nil {
		_ = unix.Close(epfd)
		return fmt.Errorf("watch socket: %w", err)
	}
	if err := unix.SetNonblock(epfd, true); err != nil {
		_ = unix.Close(epfd)
		return fmt.Errorf("set epoll non-blocking: %w", err)
	}
	s.epfd, s.wake = epfd, os.NewFile(uintptr(epfd), "media socket")
	if s.raw, err = s.wake.SyscallConn(); err != nil {
		_ = s.wake.Close()
		return fmt.Errorf("poll epoll: %w", err)
	}
	events := make([]unix.EpollEvent, 1)
	s.wait = func(fd uintptr) bool {
		n, _ := unix.EpollWait(int(fd), events, 0)
		return n > 0
	}
	return nil
}

// setBuffers asks for large socket buffers: beyond the system's bound if the
// process may, up to it if not.
func setBuffers(fd int) {
	for _, opt := range [][2]int{{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF}} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt[0], socketBuffer) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt[1], socketBuffer)
		}
	}
}

// read returns how many packets there are. If there are none it waits for one,
// or, if it is not to wait, returns 0.
func (s *socket) read(wait bool) (int, error) {
	for {
		n, err := s.receive()
		if n > 0 || err != nil || !wait {
			return n, err
		}
		if err := s.arm(); err != nil {
			return 0, err
		}
		if err := s.raw.Read(s.wait); err != nil {
			return 0, net.ErrClosed
		}
	}
}

func (s *socket) receive() (int, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.fd < 0 {
		return 0, net.ErrClosed
	}
	return s.recvmmsg(s.fd)
}

// arm asks for one event when the socket is readable.
func (s *socket) arm() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.fd < 0 {
		return net.ErrClosed
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(s.fd)}
	return unix.EpollCtl(s.epfd, unix.EPOLL_CTL_MOD, s.fd, &ev)
}

// WriteToAddrPort sends a packet. When the socket's buffer is full the packet
// is dropped, as it would be on the way.
func (s *socket) WriteToAddrPort(p []byte, to netip.AddrPort) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.fd < 0 {
		return 0, net.ErrClosed
	}
	var sa unix.RawSockaddrInet6
	size := sockaddr(&sa, to, s.v6)
	_, _, errno := syscall.Syscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, uintptr(unsafe.Pointer(&sa)), size)
	switch errno {
	case 0, unix.EAGAIN, unix.ENOBUFS, unix.ECONNREFUSED:
		return len(p), nil
	}
	return 0, fmt.Errorf("sendto %s: %w", to, errno)
}

// Close closes the socket; a read that waits returns.
func (s *socket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return nil
	}
	fd := s.fd
	s.fd = -1
	err := s.wake.Close()
	if e := unix.Close(fd); err == nil {
		err = e
	}
	return err
}

// sockaddr writes an address as the kernel wants it, and returns its size.
func sockaddr(sa *unix.RawSockaddrInet6, to netip.AddrPort, v6 bool) uintptr {
	addr := to.Addr()
	if !v6 {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		v4.Family, v4.Addr = unix.AF_INET, addr.Unmap().As4()
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&v4.Port))[:], to.Port())
		return unix.SizeofSockaddrInet4
	}
	sa.Family, sa.Addr = unix.AF_INET6, addr.As16()
	if zone := addr.Zone(); zone != "" {
		if i, err := net.InterfaceByName(zone); err == nil {
			sa.Scope_id = uint32(i.Index)
		}
	}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:], to.Port())
	return unix.SizeofSockaddrInet6
}

// mmsghdr is the kernel's struct mmsghdr (recvmmsg(2)).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// batch is the memory for many packets that are read with one system call,
// with the time at which the kernel received each.
type batch struct {
	v6    bool
	hdrs  [batchSize]mmsghdr
	iovs  [batchSize]unix.Iovec
	names [batchSize]unix.RawSockaddrInet6
	ctrls [batchSize][64]byte
	bufs  [batchSize][maxPacket]byte
	now   time.Time
}

func (b *batch) init() {
	for i := range b.hdrs {
		b.iovs[i].Base = &b.bufs[i][0]
		b.iovs[i].SetLen(maxPacket)
		b.hdrs[i].hdr.Iov = &b.iovs[i]
		b.hdrs[i].hdr.SetIovlen(1)
		b.hdrs[i].hdr.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		b.hdrs[i].hdr.Control = &b.ctrls[i][0]
	}
}

func (b *batch) recvmmsg(fd int) (int, error) {
	for i := range b.hdrs {
		b.hdrs[i].hdr.Namelen = unix.SizeofSockaddrInet6
		b.hdrs[i].hdr.SetControllen(len(b.ctrls[i]))
	}
	n, _, errno := syscall.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.hdrs[0])),
		batchSize, unix.MSG_DONTWAIT, 0, 0)
	switch errno {
	case 0:
		b.now = time.Now()
		return int(n), nil
	case unix.EAGAIN, unix.EINTR, unix.ECONNREFUSED: // the last: an ICMP answer to what was sent
		return 0, nil
	}
	return 0, fmt.Errorf("recvmmsg: %w", errno)
}

// packet returns the i-th packet of the batch. It is valid until the next read.
func (b *batch) packet(i int) ([]byte, netip.AddrPort, time.Time) {
	h := &b.hdrs[i]
	if h.hdr.Flags&unix.MSG_TRUNC != 0 {
		return nil, netip.AddrPort{}, time.Time{}
	}
	return b.bufs[i][:h.len], b.from(i), b.arrival(i)
}

func (b *batch) from(i int) netip.AddrPort {
	name := &b.names[i]
	if name.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), networkOrder(&v4.Port))
	}
	addr := netip.AddrFrom16(name.Addr)
	if addr.IsLinkLocalUnicast() && name.Scope_id != 0 {
		if ifi, err := net.InterfaceByIndex(int(name.Scope_id)); err == nil {
			addr = addr.WithZone(ifi.Name)
		}
	}
	return netip.AddrPortFrom(addr.Unmap(), networkOrder(&name.Port))
}

func networkOrder(p *uint16) uint16 {
	return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(p))[:])
}

// arrival reads the kernel's timestamp; one that is far from the clock means
// that the clock was set, and then now is the better answer.
func (b *batch) arrival(i int) time.Time {
	ctrl := b.ctrls[i][:b.hdrs[i].hdr.Controllen]
	const need = unix.SizeofCmsghdr + int(unsafe.Sizeof(unix.Timespec{}))
	if len(ctrl) < need {
		return b.now
	}
	c := (*unix.Cmsghdr)(unsafe.Pointer(&ctrl[0]))
	if c.Level != unix.SOL_SOCKET || c.Type != unix.SCM_TIMESTAMPNS {
		return b.now
	}
	ts := (*unix.Timespec)(unsafe.Pointer(&ctrl[unix.CmsgLen(0)]))
	at := time.Unix(ts.Unix())
	if d := b.now.Sub(at); d < 0 || d > 2*time.Second {
		return b.now
	}
	return at
}
