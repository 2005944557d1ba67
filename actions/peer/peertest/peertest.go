// Package peertest holds every transport to queues to the same demands, with
// the real server behind each. Only tests import it.
package peertest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"stillwatch/actions/delivery"
	"stillwatch/actions/peer"
	"stillwatch/internal/netguard"
	"stillwatch/internal/testkit"
)

// Secret is the wrong password that hooks are given; no error may hold it.
const Secret = "s3cret/never+to be=told"

// Got is a message as it lies in the queue; the body is decompressed.
type Got struct {
	ID, Type string
	Body     []byte
	// Packed means that the body was compressed.
	Packed bool
}

// Subject is a transport and the server behind it.
type Subject struct {
	// New makes a transport that connects by out.
	New func(out peer.Out) delivery.Transport
	// Hook is a hook of the server's.
	Hook delivery.Hook
	// Received returns what arrived, oldest first, and leaves it there.
	Received func(t *testing.T) []Got
	// Stop and Start end the server and start it again at the same address.
	Stop, Start func()
	// At is the hook with its server at another address, host:port.
	At func(h delivery.Hook, addr string) delivery.Hook
	// Wrong is the hook with Secret for its password; nil where the server
	// takes any.
	Wrong func(h delivery.Hook) delivery.Hook
	// NeverPacks means that the transport does not compress.
	NeverPacks bool
}

// Guard lets connections to this machine through.
func Guard(t *testing.T) peer.Out {
	g := netguard.New(netguard.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(func() { _ = g.Close() })
	return peer.Out{TLS: g, Plain: g}
}

// Body is the JSON of the n-th test event, with what is awkward in it.
func Body(n int) []byte {
	return fmt.Appendf(nil, `{"type":"user.banned","n":%d,"text":"\u0000 <&> ü 漢 %s"}`, n, strings.Repeat("x", 2000))
}

// Message is the n-th test event.
func Message(n int) delivery.Message {
	return delivery.Message{EventID: fmt.Sprintf("event-%d", n), Type: "user.banned", Key: "default:abc/bob", Attempt: 1, Body: Body(n)}
}

// Run runs the demands, one after the other: the last of them ends the server
// for a while.
func Run(t *testing.T, s Subject) {
	tr := s.New(Guard(t))
	s.Hook.ID, s.Hook.Timeout = "hook", 5*time.Second
	t.Run("a body arrives byte for byte", func(t *testing.T) { s.arrives(t, tr) })
	t.Run("many at once", func(t *testing.T) { s.many(t, tr) })
	t.Run("an address that is not allowed is held", s.held)
	t.Run("a server that hangs", s.hangs)
	if s.Wrong != nil {
		t.Run("a wrong password", s.wrong)
	}
	t.Run("a server that is down for a while", func(t *testing.T) { s.down(t, tr) })
	for range 2 {
		if err := tr.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
}

// Send makes an attempt as a delivery would, with the hook's timeout.
func Send(t *testing.T, tr delivery.Transport, h delivery.Hook, m delivery.Message) delivery.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), h.Timeout)
	defer cancel()
	return tr.Send(ctx, h, m)
}

// MustSend makes an attempt that has to succeed.
func MustSend(t *testing.T, tr delivery.Transport, h delivery.Hook, m delivery.Message) {
	t.Helper()
	if res := Send(t, tr, h, m); !res.OK() {
		t.Fatalf("%s: %+v", m.EventID, res)
	}
}

func (s Subject) arrives(t *testing.T, tr delivery.Transport) {
	for n, packed := range []bool{false, true} {
		h := s.Hook
		h.Compress = packed
		MustSend(t, tr, h, Message(n))
		got := s.Received(t)
		if len(got) != n+1 {
			t.Fatalf("%d messages arrived, want %d", len(got), n+1)
		}
		last := got[n]
		if !bytes.Equal(last.Body, Body(n)) {
			t.Errorf("compression %v: body is\n%s\nwant\n%s", packed, last.Body, Body(n))
		}
		if last.ID != fmt.Sprintf("event-%d", n) || last.Type != "user.banned" || last.Packed != (packed && !s.NeverPacks) {
			t.Errorf("compression %v: id %q, type %q, packed %v", packed, last.ID, last.Type, last.Packed)
		}
	}
}

func (s Subject) many(t *testing.T, tr delivery.Transport) {
	before := len(s.Received(t))
	var wg sync.WaitGroup
	for n := range 40 {
		wg.Go(func() {
			if res := Send(t, tr, s.Hook, Message(100+n)); !res.OK() {
				t.Errorf("%d: %+v", n, res)
			}
		})
	}
	wg.Wait()
	ids := map[string]bool{}
	for _, got := range s.Received(t)[before:] {
		ids[got.ID] = true
	}
	if len(ids) != 40 {
		t.Errorf("%d of 40 arrived", len(ids))
	}
}

func (s Subject) held(t *testing.T) {
	g := netguard.New(netguard.Config{})
	defer g.Close()
	tr := s.New(peer.Out{TLS: g, Plain: g})
	defer tr.Close()
	if res := Send(t, tr, s.Hook, Message(1)); !res.Held || res.Err == nil {
		t.Errorf("%+v, want it held", res)
	}
}

// hangs sends to a listener that takes connections and never says a word.
func (s Subject) hangs(t *testing.T) {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tr := s.New(Guard(t))
	h := s.At(s.Hook, l.Addr().String())
	h.Timeout = 300 * time.Millisecond
	done := make(chan delivery.Result, 1)
	go func() { done <- Send(t, tr, h, Message(1)) }()
	select {
	case res := <-done:
		if res.OK() || res.Held || res.Gone || res.Err == nil || res.Err.Error() != "timed out" {
			t.Errorf("%+v, want a time-out", res)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the attempt does not end with its time")
	}
	if err := tr.Close(); err != nil {
		t.Logf("close: %v", err) // there is nobody to say good-bye to
	}
}

func (s Subject) wrong(t *testing.T) {
	tr := s.New(Guard(t))
	defer tr.Close()
	res := Send(t, tr, s.Wrong(s.Hook), Message(1))
	if res.OK() || res.Gone || res.Held || res.Err == nil {
		t.Errorf("%+v, want a failure that is tried again", res)
	}
	if text := fmt.Sprintf("%v %s", res.Err, res.Response); strings.Contains(text, Secret) {
		t.Errorf("the password stands in %q", text)
	}
	t.Logf("it says: %v", res.Err)
}

func (s Subject) down(t *testing.T, tr delivery.Transport) {
	s.Stop()
	m := Message(500)
	res := Send(t, tr, s.Hook, m)
	if res.OK() || res.Gone || res.Held || res.Err == nil {
		t.Fatalf("while down: %+v, want a failure that is tried again", res)
	}
	t.Logf("it says: %v", res.Err)
	s.Start()
	m.Attempt = 2
	testkit.Eventually(t, 30*time.Second, func() bool { return Send(t, tr, s.Hook, m).OK() }, "it is sent after the server came back")
	for _, got := range s.Received(t) {
		if got.ID == m.EventID && bytes.Equal(got.Body, m.Body) {
			return
		}
	}
	t.Error("it did not arrive")
}
