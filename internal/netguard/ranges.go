package netguard

import (
	"net/netip"
	"slices"
)

// Class says what an address is.
type Class string

// Public is the one class that may be reached without being allowed.
const Public Class = "public"

// span is a range that must not be reached.
type span struct {
	prefix netip.Prefix
	class  Class
}

// denied are the special ranges of the IANA registries (RFC 6890 and its
// updates), and those through which an IPv4 address can hide in an IPv6 one.
var denied = []span{
	{netip.MustParsePrefix("0.0.0.0/8"), "this network"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private"},
	{netip.MustParsePrefix("100.64.0.0/10"), "carrier-grade NAT"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
	{netip.MustParsePrefix("172.16.0.0/12"), "private"},
	{netip.MustParsePrefix("192.0.0.0/24"), "protocol assignments"},
	{netip.MustParsePrefix("192.0.2.0/24"), "documentation"},
	{netip.MustParsePrefix("192.88.99.0/24"), "6to4 relay"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private"},
	{netip.MustParsePrefix("198.18.0.0/15"), "benchmark"},
	{netip.MustParsePrefix("198.51.100.0/24"), "documentation"},
	{netip.MustParsePrefix("203.0.113.0/24"), "documentation"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"}, // and broadcast

	{netip.MustParsePrefix("::/128"), "unspecified"},
	{netip.MustParsePrefix("::1/128"), "loopback"},
	{netip.MustParsePrefix("64:ff9b::/96"), "NAT64"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "NAT64"},
	{netip.MustParsePrefix("100::/64"), "discard"},
	{netip.MustParsePrefix("2001::/32"), "Teredo"},
	{netip.MustParsePrefix("2001::/23"), "protocol assignments"},
	{netip.MustParsePrefix("2001:db8::/32"), "documentation"},
	{netip.MustParsePrefix("2002::/16"), "6to4"},
	{netip.MustParsePrefix("3fff::/20"), "documentation"},
	{netip.MustParsePrefix("5f00::/16"), "SRv6"},
	{netip.MustParsePrefix("fc00::/7"), "unique local"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("fec0::/10"), "site-local"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}

// global is all that is handed out of IPv6 (RFC 4291, section 2.4; IANA).
var global = netip.MustParsePrefix("2000::/3")

// Classify tells what an address is. An IPv4 address in IPv6's mapped form
// counts as the IPv4 address; one with a zone is never public.
func Classify(addr netip.Addr) Class {
	if addr.Zone() != "" {
		return "zoned"
	}
	addr = addr.Unmap()
	if !addr.IsValid() {
		return "invalid"
	}
	at := slices.IndexFunc(denied, func(s span) bool { return s.prefix.Contains(addr) })
	switch {
	case at >= 0:
		return denied[at].class
	case addr.Is6() && !global.Contains(addr), !addr.IsGlobalUnicast():
		return "not global unicast"
	default:
		return Public
	}
}
