package netguard

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// RefusedError says why an address may not be reached. It is the fault of
// whoever gave the address, and trying again does not help.
type RefusedError struct {
	// Target is the host or address, without what else the URL held.
	Target, Why string
}

// Error implements error.
func (e *RefusedError) Error() string { return fmt.Sprintf("refused to reach %q: %s", e.Target, e.Why) }

// target is where a URL leads: a literal address, or a name in lower case
// and ASCII.
type target struct {
	name string
	addr netip.Addr
	port string
}

// parse reads a URL the one way that cannot be misread: http or https, no
// user, and a host that is an address in its usual spelling or a DNS name.
func parse(u *url.URL) (target, error) {
	if u == nil {
		return target{}, &RefusedError{"", "no URL"}
	}
	no := func(why string) (target, error) { return target{}, &RefusedError{u.Hostname(), why} }
	var t target
	switch u.Scheme {
	case "http":
		t.port = "80"
	case "https":
		t.port = "443"
	default:
		return no("scheme is not http or https")
	}
	if u.User != nil {
		return no("user in the URL")
	}
	if u.Opaque != "" {
		return no("no //")
	}
	if strings.HasSuffix(u.Host, ":") {
		return no("empty port")
	}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 || p[0] == '0' {
			return no("port is not 1 to 65535")
		}
		t.port = p
	}
	return t.host(u)
}

// host fills in the name or the address.
func (t target) host(u *url.URL) (target, error) {
	no := func(why string) (target, error) { return target{}, &RefusedError{u.Hostname(), why} }
	host := u.Hostname()
	if strings.Contains(host, "%") {
		return no("address with a zone")
	}
	if strings.HasPrefix(u.Host, "[") {
		addr, err := netip.ParseAddr(host)
		if err != nil || !addr.Is6() {
			return no("no IPv6 address in the brackets")
		}
		t.addr = addr.Unmap()
		return t, nil
	}
	name, err := idna.Lookup.ToASCII(strings.TrimSuffix(host, "."))
	if err != nil || name == "" || len(name) > 253 || strings.Contains(name, "..") || strings.HasPrefix(name, ".") {
		return no("no DNS name")
	}
	name = strings.ToLower(name)
	if addr, err := netip.ParseAddr(name); err == nil {
		t.addr = addr.Unmap()
		return t, nil
	}
	if numeric(name[strings.LastIndexByte(name, '.')+1:]) {
		return no("number that some read as an address")
	}
	t.name = name
	return t, nil
}

// numeric tells whether a last label makes a host an IPv4 address in some
// spelling: digits (decimal, octal), or 0x and hex digits (the WHATWG URL
// standard, "ends in a number").
func numeric(label string) bool {
	if rest, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(rest, "0123456789abcdef") == ""
	}
	return label == "" || strings.Trim(label, "0123456789") == ""
}
