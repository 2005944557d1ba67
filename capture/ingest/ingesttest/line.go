package ingesttest

import (
	"net"
	"sync/atomic"
	"testing"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"
)

// Line is a client's socket that can be cut off, as when its cable is pulled.
type Line struct {
	net.PacketConn
	mux ice.UDPMux
	off atomic.Bool
}

// NewLine opens a line. It is closed with the test.
func NewLine(t testing.TB) *Line {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &Line{PacketConn: c}
	l.mux = webrtc.NewICEUDPMux(nil, l)
	t.Cleanup(func() { _ = l.mux.Close() })
	return l
}

// Use makes a connection use the line.
func (l *Line) Use(s *webrtc.SettingEngine) { s.SetICEUDPMux(l.mux) }

// CutOff drops everything from now on.
func (l *Line) CutOff() { l.off.Store(true) }

// WriteTo sends a packet.
func (l *Line) WriteTo(p []byte, to net.Addr) (int, error) {
	if l.off.Load() {
		return len(p), nil
	}
	return l.PacketConn.WriteTo(p, to)
}

// ReadFrom receives a packet.
func (l *Line) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, from, err := l.PacketConn.ReadFrom(p)
		if err != nil || !l.off.Load() {
			return n, from, err
		}
	}
}
