package netguard

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
)

// Stats counts what a client did since it was made.
type Stats struct {
	// Refused requests and connections went to an address that may not be
	// reached; nothing was sent.
	Refused uint64
}

// Stats returns the counts so far.
func (c *Client) Stats() Stats { return Stats{Refused: c.refused.Load()} }

// counter counts the refusals of a client.
type counter struct{ atomic.Uint64 }

// note counts err if it is a refusal, and returns it.
func (n *counter) note(err error) error {
	if refused := (*RefusedError)(nil); errors.As(err, &refused) {
		n.Add(1)
	}
	return err
}

// Do sends a request; its context bounds the whole. The error of a request
// that was not let out wraps a *RefusedError.
func (c *Client) Do(req *http.Request) (*http.Response, error) {
	if _, err := parse(req.URL); err != nil {
		return nil, c.refused.note(err)
	}
	res, err := c.http.Do(req)
	return res, c.refused.note(err)
}

// DialContext connects to host:port under the same checks, for protocols
// other than HTTP.
func (c *Client) DialContext(ctx context.Context, network, hostport string) (net.Conn, error) {
	conn, err := c.dial(ctx, network, hostport)
	return conn, c.refused.note(err)
}

// RoundTripper is the client for libraries that take a transport. Such a
// library may follow redirects; each step is checked like the first.
func (c *Client) RoundTripper() http.RoundTripper { return roundTripper{c} }

type roundTripper struct{ c *Client }

// RoundTrip implements http.RoundTripper.
func (r roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	if _, err := parse(req.URL); err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, r.c.refused.note(err)
	}
	res, err := r.c.http.Transport.RoundTrip(req)
	return res, r.c.refused.note(err)
}

// HTTPClient is the client for libraries that take an *http.Client. It follows
// no redirect. Its idle connections are closed by Close.
func (c *Client) HTTPClient() *http.Client {
	return &http.Client{Transport: c.RoundTripper(), CheckRedirect: c.http.CheckRedirect}
}

// OwnListeners returns the addresses that a listen setting such as
// "127.0.0.1:8080", ":8080" or "localhost:8080" stands for, for Config.Own.
// What cannot be resolved gives none.
func OwnListeners(ctx context.Context, listen string) (own []netip.AddrPort) {
	host, portText, err := net.SplitHostPort(listen)
	if err != nil {
		return nil
	}
	port, err := net.LookupPort("tcp", portText)
	if err != nil || port == 0 {
		return nil
	}
	if host == "" {
		return []netip.AddrPort{netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(port))}
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil
	}
	for _, addr := range addrs {
		own = append(own, netip.AddrPortFrom(addr.Unmap(), uint16(port)))
	}
	return own
}
