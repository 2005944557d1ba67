package netguard

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

func TestRoundTripperAndHTTPClientCheckAsDoDoes(t *testing.T) {
	t.Parallel()
	addr, hits := counted(t)
	for _, raw := range []string{"http://" + addr, "http://0x7f000001:1", "http://user@example.com", "ftp://example.com"} {
		c := New(Config{})
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, raw, strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.RoundTripper().RoundTrip(req) //nolint:bodyclose // refused
		wantRefused(t, "transport "+raw, err)
		_, err = c.HTTPClient().Do(req.Clone(t.Context())) //nolint:bodyclose // refused
		wantRefused(t, "client "+raw, err)
		if got := c.Stats().Refused; got < 2 {
			t.Errorf("%s: %d refusals counted, want 2 or more", raw, got)
		}
	}
	if hits.Load() != 0 {
		t.Error("the server was reached")
	}
	c := New(Config{Allow: loopback})
	t.Cleanup(func() { _ = c.Close() })
	res, err := c.HTTPClient().Get("http://" + addr + "/away")
	if err != nil || res.StatusCode != http.StatusPermanentRedirect || hits.Load() != 1 || c.Stats().Refused != 0 {
		t.Fatalf("%v, %v, %d hits, %+v", res, err, hits.Load(), c.Stats())
	}
	_ = res.Body.Close()
}

func TestRedirectsToPrivateAddressesLeadNowhere(t *testing.T) {
	t.Parallel()
	inner, hits := counted(t)
	outer := httptest.NewServer(http.RedirectHandler("http://"+inner+"/", http.StatusFound))
	t.Cleanup(outer.Close)
	out := netip.MustParseAddrPort(outer.Listener.Addr().String())
	// The inner one is refused as one of ours; the outer one may be reached.
	c := New(Config{Allow: loopback, Own: []netip.AddrPort{netip.MustParseAddrPort(inner)}})
	t.Cleanup(func() { _ = c.Close() })
	res, err := get(t, c, "http://"+out.String())
	if err != nil || res.StatusCode != http.StatusFound {
		t.Fatalf("%v, %v", res, err)
	}
	// A library with a client of its own that does follow redirects.
	follows := &http.Client{Transport: c.RoundTripper()}
	_, err = follows.Get("http://" + out.String()) //nolint:bodyclose // refused
	wantRefused(t, "second step", err)
	if hits.Load() != 0 {
		t.Error("the inner server was reached")
	}
}

func TestCheckingIsNotCountedAsReaching(t *testing.T) {
	t.Parallel()
	c := New(Config{})
	wantRefused(t, "check", c.Check("http://127.0.0.1"))
	if got := c.Stats().Refused; got != 0 {
		t.Errorf("%d refusals counted", got)
	}
	_, err := c.DialContext(t.Context(), "tcp", "10.0.0.1:5672")
	wantRefused(t, "dial", err)
	if got := c.Stats().Refused; got != 1 {
		t.Errorf("%d refusals counted, want 1", got)
	}
}

func TestOwnListenersOfSettings(t *testing.T) {
	t.Parallel()
	for listen, refused := range map[string]string{
		"127.0.0.1:8080": "127.0.0.1:8080", ":8080": "127.0.0.1:8080", "0.0.0.0:8080": "127.0.0.1:8080",
		"[::]:8080": "[::1]:8080", "localhost:8080": "127.0.0.1:8080",
	} {
		c := New(Config{Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}, Own: OwnListeners(t.Context(), listen)})
		wantRefused(t, listen, c.check(netip.MustParseAddrPort(refused)))
	}
	for _, listen := range []string{"", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:x"} {
		if own := OwnListeners(t.Context(), listen); len(own) != 0 {
			t.Errorf("%q: %v", listen, own)
		}
	}
}

// public is a second opinion on what may be reached, by other means than the
// table: it is right about every address that it calls public.
func public(addr netip.Addr) bool {
	ip := net.IP(addr.AsSlice())
	if addr.Is4() {
		a, b, c := ip[0], ip[1], ip[2]
		switch {
		case a == 0, a == 10, a == 127, a >= 224,
			a == 100 && b >= 64 && b < 128, a == 169 && b == 254, a == 172 && b >= 16 && b < 32,
			a == 192 && b == 168, a == 192 && b == 0 && (c == 0 || c == 2), a == 192 && b == 88 && c == 99,
			a == 198 && (b == 18 || b == 19), a == 198 && b == 51 && c == 100, a == 203 && b == 0 && c == 113:
			return false
		}
		return true
	}
	word := func(i int) uint16 { return uint16(ip[2*i])<<8 | uint16(ip[2*i+1]) }
	switch {
	case word(0) < 0x2000 || word(0) > 0x3fff,
		word(0) == 0x2001 && word(1) < 0x0200, word(0) == 0x2001 && word(1) == 0x0db8,
		word(0) == 0x2002, word(0) == 0x3fff && word(1) < 0x1000:
		return false
	}
	return true
}

func FuzzClassify(f *testing.F) {
	for _, e := range edges {
		for _, s := range []string{e.before, e.first, e.last, e.after} {
			if s != "" {
				f.Add(netip.MustParseAddr(s).AsSlice())
			}
		}
	}
	f.Add(netip.MustParseAddr("::ffff:127.0.0.1").AsSlice())
	c := New(Config{})
	f.Fuzz(func(t *testing.T, b []byte) {
		addr, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		want := public(addr.Unmap())
		if got := Classify(addr) == Public; got != want {
			t.Fatalf("%s is %s", addr, Classify(addr))
		}
		if err := c.check(netip.AddrPortFrom(addr, 443)); (err == nil) != want {
			t.Fatalf("%s: %v", addr, err)
		}
	})
}

// answer is a resolver with one answer.
type answer []netip.Addr

func (a answer) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) { return a, nil }

// FuzzResolve has the whole way from a URL and a DNS answer to the addresses
// that would be connected to: each must be in the public table.
func FuzzResolve(f *testing.F) {
	f.Add("http://example.com", []byte{8, 8, 8, 8}, []byte{127, 0, 0, 1})
	f.Add("https://a.b:81/x", []byte{10, 0, 0, 1}, netip.MustParseAddr("::ffff:10.0.0.1").AsSlice())
	f.Add("http://[2606:4700::1]", netip.MustParseAddr("64:ff9b::a00:1").AsSlice(), []byte{})
	f.Fuzz(func(t *testing.T, raw string, one, two []byte) {
		u, err := url.Parse(raw)
		if err != nil {
			return
		}
		to, err := parse(u)
		if err != nil {
			return
		}
		var answers answer
		for _, b := range [][]byte{one, two} {
			if addr, ok := netip.AddrFromSlice(b); ok {
				answers = append(answers, addr)
			}
		}
		got, err := New(Config{Resolver: answers}).resolve(t.Context(), to)
		if err != nil {
			return
		}
		if len(got) == 0 {
			t.Fatal("allowed, and nowhere to go")
		}
		for _, ap := range got {
			if !public(ap.Addr()) {
				t.Fatalf("%q may reach %s", raw, ap)
			}
		}
	})
}
