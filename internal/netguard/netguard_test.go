package netguard

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// book is a resolver that gives its answers in turn, the last one for ever.
type book struct {
	answers [][]string
	asked   atomic.Int32
}

func (b *book) LookupNetIP(context.Context, string, string) (out []netip.Addr, err error) {
	n := min(int(b.asked.Add(1))-1, len(b.answers)-1)
	for _, a := range b.answers[n] {
		out = append(out, netip.MustParseAddr(a))
	}
	return out, nil
}

func get(t *testing.T, c *Client, url string) (*http.Response, error) {
	t.Helper()
	t.Cleanup(func() { _ = c.Close() })
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(req)
	if err == nil {
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
	return res, err
}

// counted is a loopback server and how often it was asked.
func counted(t *testing.T) (addr string, hits *atomic.Int32) {
	t.Helper()
	hits = new(atomic.Int32)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "/home", http.StatusPermanentRedirect)
		}
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), hits
}

func wantRefused(t *testing.T, what string, err error) {
	t.Helper()
	var refused *RefusedError
	if !errors.As(err, &refused) {
		t.Errorf("%s: error = %v, want a refusal", what, err)
	}
}

func TestRefusesLoopbackUnlessAllowed(t *testing.T) {
	t.Parallel()
	addr, hits := counted(t)
	_, err := get(t, New(Config{}), "http://"+addr)
	wantRefused(t, addr, err)
	if hits.Load() != 0 {
		t.Fatal("the server was reached")
	}
	if _, err := get(t, New(Config{Allow: loopback}), "http://"+addr); err != nil || hits.Load() != 1 {
		t.Errorf("allowed: %v, %d hits", err, hits.Load())
	}
}

func TestDialContextChecksAsRequestsDo(t *testing.T) {
	t.Parallel()
	addr, _ := counted(t)
	_, err := New(Config{}).DialContext(t.Context(), "tcp", addr)
	wantRefused(t, addr, err)
	conn, err := New(Config{Allow: loopback}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if conn.RemoteAddr().String() != addr {
		t.Errorf("reached %s", conn.RemoteAddr())
	}
	_ = conn.Close()
}

func TestRefusesOwnListenersEvenWhenAllowed(t *testing.T) {
	t.Parallel()
	addr, hits := counted(t)
	own := netip.MustParseAddrPort(addr)
	for _, o := range []netip.AddrPort{own, netip.AddrPortFrom(netip.IPv4Unspecified(), own.Port())} {
		_, err := get(t, New(Config{Allow: loopback, Own: []netip.AddrPort{o}}), "http://"+addr)
		wantRefused(t, o.String(), err)
	}
	if hits.Load() != 0 {
		t.Error("the server was reached")
	}
}

func TestRebindingIsRefused(t *testing.T) {
	t.Parallel()
	addr, hits := counted(t)
	_, port, _ := net.SplitHostPort(addr)
	// First public, then loopback: only one answer is asked for and used.
	b := &book{answers: [][]string{{"192.0.1.1"}, {"127.0.0.1"}}}
	ctx, cancel := context.WithCancel(t.Context())
	c := New(Config{Resolver: b})
	got, err := c.resolve(ctx, target{name: "rebind.test", port: port})
	cancel()
	if err != nil || len(got) != 1 || got[0].Addr().String() != "192.0.1.1" {
		t.Fatalf("resolved %v, %v", got, err)
	}
	_, err = get(t, c, "http://rebind.test:"+port)
	wantRefused(t, "second answer", err)
	if hits.Load() != 0 {
		t.Error("the server was reached")
	}
}

func TestConnectsToTheCheckedAddressOnly(t *testing.T) {
	t.Parallel()
	addr, hits := counted(t)
	_, port, _ := net.SplitHostPort(addr)
	b := &book{answers: [][]string{{"127.0.0.1"}, {"169.254.169.254"}}}
	if _, err := get(t, New(Config{Allow: loopback, Resolver: b}), "http://hooks.test:"+port); err != nil {
		t.Fatal(err)
	}
	if b.asked.Load() != 1 || hits.Load() != 1 {
		t.Errorf("asked %d times, %d hits", b.asked.Load(), hits.Load())
	}
}

func TestOnePrivateAnswerAmongPublicOnesRefusesTheName(t *testing.T) {
	t.Parallel()
	for _, answer := range [][]string{{"8.8.8.8", "127.0.0.1"}, {"127.0.0.1", "8.8.8.8"}, {"2606:4700::1111", "::ffff:10.0.0.1"}} {
		_, err := get(t, New(Config{Resolver: &book{answers: [][]string{answer}}}), "http://mixed.test")
		wantRefused(t, strings.Join(answer, ","), err)
	}
}

func TestTheSocketsPeerIsCheckedAgain(t *testing.T) {
	t.Parallel()
	c := New(Config{})
	wantRefused(t, "control", c.control(t.Context(), "tcp4", "127.0.0.1:80", nil))
	wantRefused(t, "garbage", c.control(t.Context(), "tcp4", "nonsense", nil))
	if err := c.control(t.Context(), "tcp4", "8.8.8.8:443", nil); err != nil {
		t.Error(err)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	addr, hits := counted(t)
	res, err := get(t, New(Config{Allow: loopback}), "http://"+addr+"/away")
	if err != nil || res.StatusCode != http.StatusPermanentRedirect || hits.Load() != 1 {
		t.Errorf("%v, %v, %d hits", res, err, hits.Load())
	}
}

func TestEnvironmentsProxyIsIgnored(t *testing.T) {
	addr, hits := counted(t)
	proxy, proxied := counted(t)
	t.Setenv("HTTP_PROXY", "http://"+proxy)
	t.Setenv("NO_PROXY", "")
	_, port, _ := net.SplitHostPort(addr)
	c := New(Config{Allow: loopback, Resolver: &book{answers: [][]string{{"127.0.0.1"}}}})
	if _, err := get(t, c, "http://hooks.test:"+port); err != nil {
		t.Fatal(err)
	}
	if hits.Load() != 1 || proxied.Load() != 0 || c.http.Transport.(*http.Transport).Proxy != nil {
		t.Errorf("%d hits, %d by proxy", hits.Load(), proxied.Load())
	}
}

func TestCheckRefusesOddURLs(t *testing.T) {
	t.Parallel()
	c := New(Config{})
	for _, u := range []string{
		"", "http://", "//example.com", "example.com", "ftp://example.com", "file:///etc/passwd", "gopher://example.com",
		"http:example.com", "http://user@example.com", "http://user:pass@example.com", "http://@example.com",
		"http://127.0.0.1", "http://127.0.0.1.", "http://localhost.:0", "http://127.1", "http://127.0.1",
		"http://2130706433", "http://0x7f000001", "http://0x7f.0.0.1", "http://0177.0.0.1", "http://017700000001",
		"http://127.0.0.0x1", "http://1.2.3.4.5", "http://999.1.1.1", "http://8.8.8.08", "http://0x",
		"http://[::1]", "http://[::ffff:127.0.0.1]", "http://[::ffff:7f00:1]", "http://[fe80::1%25eth0]", "http://[2606:4700::1%25x]",
		"http://[127.0.0.1]", "http://[::127.0.0.1]", "http://[64:ff9b::7f00:1]", "http://[2002:7f00:1::]",
		"http://１２７.0.0.1", "http://127。0。0。1", "http://①②⑦.0.0.1", "http://%31%32%37.0.0.1",
		"http://a..example.com", "http://.example.com", "http://exa mple.com", "http://-a.example.com", "http://a_b.example.com",
		"http://example.com:", "http://example.com:0", "http://example.com:65536", "http://example.com:080", "http://example.com:http",
		"http://" + strings.Repeat("a.", 130) + "com",
	} {
		wantRefused(t, u, c.Check(u))
	}
}

func TestCheckTakesUsualURLs(t *testing.T) {
	t.Parallel()
	c := New(Config{})
	for _, u := range []string{
		"http://example.com", "https://Example.COM./path?q=1", "https://bücher.example:8443/x", "http://8.8.8.8:81", "http://[2606:4700::1111]/",
		"http://1.2.3.4.example", "http://0x7f.example", "http://a1.b2.c3",
	} {
		if err := c.Check(u); err != nil {
			t.Errorf("%s: %v", u, err)
		}
	}
}

func TestErrorsKeepSecretsOfTheURL(t *testing.T) {
	t.Parallel()
	c := New(Config{})
	for _, u := range []string{"http://user:hunter2@example.com", "http://exa mple.com/hunter2", "http://127.0.0.1/hunter2?k=hunter2"} {
		if err := c.Check(u); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", u, err)
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, u := range []string{"http://example.com", "http://127.0.0.1", "http://[::1]:80", "http://0x7f.1", "http://１２７.0.0.1", "https://a@b", "http://8.8.8.8."} {
		f.Add(u)
	}
	c := New(Config{})
	f.Fuzz(func(t *testing.T, raw string) {
		if c.Check(raw) != nil {
			return
		}
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal("took what cannot be parsed")
		}
		got, err := parse(u)
		if err != nil {
			t.Fatal(err)
		}
		if got.addr.IsValid() {
			if Classify(got.addr) != Public {
				t.Fatalf("took %s", got.addr)
			}
			return
		}
		// A name that a lenient reader would take for an address must not pass.
		if ips, err := net.DefaultResolver.LookupNetIP(canceled(), "ip", got.name); err == nil {
			t.Fatalf("%q is the address %v", got.name, ips)
		}
	})
}

// canceled is a context with which a resolver answers for literal addresses
// only.
func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
