// Package netguard is the one client for addresses that others choose:
// it reaches public addresses, those that are allowed by name of range, and
// nothing else.
package netguard

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"syscall"
	"time"
)

// Timeouts of the parts of a request; the whole is bounded by its context.
const (
	DefaultDNSTimeout     = 5 * time.Second
	DefaultConnectTimeout = 10 * time.Second
	maxHeaderBytes        = 64 << 10
)

// Resolver turns a name into its addresses. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Config sets a Client.
type Config struct {
	// Allow lists ranges that may be reached although they are not public.
	Allow []netip.Prefix
	// AllowOnly refuses public addresses outside of Allow as well, for what
	// goes out unencrypted.
	AllowOnly bool
	// Own lists the program's own listeners, which are refused even inside
	// Allow. An unspecified address stands for every address of the machine.
	Own []netip.AddrPort
	// Resolver is the system's when nil.
	Resolver Resolver
	// TLS is cloned for https; nil means the system's roots.
	TLS *tls.Config
	// DNSTimeout and ConnectTimeout default to the constants.
	DNSTimeout, ConnectTimeout time.Duration
}

// Client does HTTP requests to checked addresses. Every address of a name is
// checked, and the connection goes to an address that was checked, not to
// the name: a second DNS answer cannot lead elsewhere. It follows no redirect
// and reads no proxy from the environment.
type Client struct {
	cfg     Config
	http    *http.Client
	refused counter
}

// New makes a client. It starts nothing until the first request.
func New(cfg Config) *Client {
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	if cfg.DNSTimeout <= 0 {
		cfg.DNSTimeout = DefaultDNSTimeout
	}
	if cfg.ConnectTimeout <= 0 {
		cfg.ConnectTimeout = DefaultConnectTimeout
	}
	cfg.Allow, cfg.Own = slices.Clone(cfg.Allow), slices.Clone(cfg.Own)
	c := &Client{cfg: cfg}
	c.http = &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  nil,
			DialContext:            c.dial,
			TLSClientConfig:        cfg.TLS.Clone(),
			TLSHandshakeTimeout:    cfg.ConnectTimeout,
			MaxResponseHeaderBytes: maxHeaderBytes,
			MaxIdleConnsPerHost:    32, // of deliveries and frames that go to one receiver at once
			IdleConnTimeout:        30 * time.Second,
			DisableCompression:     true, // a small answer must not grow when read
			ForceAttemptHTTP2:      true,
		},
	}
	return c
}

// Check tells whether the URL may be reached as far as can be told without
// asking DNS, for the moment when somebody enters it.
func (c *Client) Check(rawURL string) error {
	u, err := url.Parse(rawURL)
	if err != nil {
		return &RefusedError{"", "cannot be read as a URL"} // err would quote the URL, secrets and all
	}
	t, err := parse(u)
	if err != nil || !t.addr.IsValid() {
		return err
	}
	port, _ := net.LookupPort("tcp", t.port)
	return c.check(netip.AddrPortFrom(t.addr, uint16(port)))
}

// Close closes idle connections.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// check tells whether an address may be reached.
func (c *Client) check(ap netip.AddrPort) error {
	ap = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	if c.own(ap) {
		return &RefusedError{ap.String(), "this program's own listener"}
	}
	class := Classify(ap.Addr())
	if class == Public && !c.cfg.AllowOnly || slices.ContainsFunc(c.cfg.Allow, func(p netip.Prefix) bool { return p.Contains(ap.Addr()) }) {
		return nil
	}
	if class == Public {
		return &RefusedError{ap.String(), "plain http goes to the ranges of netguard.allow alone"}
	}
	return &RefusedError{ap.String(), "address is " + string(class) + ", and no range of netguard.allow"}
}

// own tells whether ap is one of the program's listeners.
func (c *Client) own(ap netip.AddrPort) bool {
	return slices.ContainsFunc(c.cfg.Own, func(o netip.AddrPort) bool {
		if o.Port() != ap.Port() {
			return false
		}
		if !o.Addr().IsUnspecified() {
			return o.Addr().Unmap() == ap.Addr()
		}
		return ap.Addr().IsLoopback() || ap.Addr().IsUnspecified() || local(ap.Addr())
	})
}

// local tells whether addr belongs to an interface of this machine; when
// that cannot be told, it does.
func local(addr netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	return err != nil || slices.ContainsFunc(addrs, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr().Unmap() == addr
	})
}

// dial resolves, checks every address, and connects to the first that
// answers.
func (c *Client) dial(ctx context.Context, network, hostport string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	// The transport has the name from the URL; read it as Do did.
	t, err := parse(&url.URL{Scheme: "http", Host: net.JoinHostPort(host, port)})
	if err != nil {
		return nil, err
	}
	checked, err := c.resolve(ctx, t)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: c.cfg.ConnectTimeout, ControlContext: c.control}
	var errs []error
	for _, ap := range checked {
		conn, err := dialer.DialContext(ctx, network, ap.String())
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// resolve returns the target's addresses, of which none may be refused: a
// name that has a public and a private address is up to something.
func (c *Client) resolve(ctx context.Context, t target) ([]netip.AddrPort, error) {
	addrs := []netip.Addr{t.addr}
	if !t.addr.IsValid() {
		ctx, cancel := context.WithTimeout(ctx, c.cfg.DNSTimeout)
		defer cancel()
		var err error
		if addrs, err = c.cfg.Resolver.LookupNetIP(ctx, "ip", t.name); err != nil {
			return nil, fmt.Errorf("resolve %s: %w", t.name, err)
		}
		if len(addrs) == 0 {
			return nil, fmt.Errorf("resolve %s: no address", t.name)
		}
	}
	port, err := net.LookupPort("tcp", t.port)
	if err != nil {
		return nil, err
	}
	var out []netip.AddrPort
	for _, addr := range addrs {
		ap := netip.AddrPortFrom(addr.Unmap(), uint16(port))
		if err := c.check(ap); err != nil {
			return nil, err
		}
		out = append(out, ap)
	}
	return out, nil
}

// control checks once more the address that the socket is about to reach.
func (c *Client) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return &RefusedError{address, "not an address"}
	}
	return c.check(ap)
}
