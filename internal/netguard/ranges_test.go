package netguard

import (
	"net/netip"
	"testing"
)

// edges are the last address before a range, its first, its last, and the
// first one after it; "" where there is none, or it is refused as well.
var edges = []struct{ before, first, last, after string }{
	{"", "0.0.0.0", "0.255.255.255", "1.0.0.0"},
	{"9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"},
	{"100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"},
	{"126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"},
	{"169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"},
	{"172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"},
	{"191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0"},
	{"192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"},
	{"192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0"},
	{"192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"},
	{"198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"},
	{"198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0"},
	{"203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"},
	{"223.255.255.255", "224.0.0.0", "239.255.255.255", ""},
	{"", "240.0.0.0", "255.255.255.255", ""},

	{"", "::", "::1", ""},
	{"", "64:ff9b::", "64:ff9b::ffff:ffff", ""},
	{"", "64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", ""},
	{"", "100::", "100::ffff:ffff:ffff:ffff", ""},
	{"", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2000::"},
	{"2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", ""},
	{"2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::"},
	{"2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::"},
	{"2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::"},
	{"3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::"},
	{"3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "4000::", "4000::", ""},
	{"", "5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ""},
	{"", "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ""},
	{"", "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ""},
	{"", "fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ""},
	{"", "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ""},
}

func TestBothEdgesOfEveryRange(t *testing.T) {
	t.Parallel()
	want := func(s string, public bool) {
		if s == "" {
			return
		}
		addr := netip.MustParseAddr(s)
		if got := Classify(addr); (got == Public) != public {
			t.Errorf("%s is %s", s, got)
		}
		if addr.Is4() {
			mapped := netip.AddrFrom16(addr.As16())
			if got := Classify(mapped); (got == Public) != public {
				t.Errorf("%s is %s", mapped, got)
			}
		}
	}
	for _, e := range edges {
		want(e.before, true)
		want(e.first, false)
		want(e.last, false)
		want(e.after, true)
	}
}

func TestEveryDeniedRangeHasItsEdgesInTheTable(t *testing.T) {
	t.Parallel()
	tabled := map[netip.Addr]bool{}
	for _, e := range edges {
		tabled[netip.MustParseAddr(e.first)] = true
		tabled[netip.MustParseAddr(e.last)] = true
	}
	for _, s := range denied {
		if !tabled[s.prefix.Addr()] {
			t.Errorf("%s (%s) is not in the table", s.prefix, s.class)
		}
	}
}

func TestClassifyKnownTraps(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]Class{
		"169.254.169.254":        "link-local",
		"::ffff:169.254.169.254": "link-local",
		"::ffff:127.0.0.1":       "loopback",
		"::127.0.0.1":            "not global unicast",
		"64:ff9b::7f00:1":        "NAT64",
		"2002:7f00:1::":          "6to4",
		"fd00:ec2::254":          "unique local",
		"fe80::1%eth0":           "zoned",
		"2606:4700::1111%x":      "zoned",
		"8.8.8.8":                Public,
		"2606:4700::1111":        Public,
	} {
		if got := Classify(netip.MustParseAddr(s)); got != want {
			t.Errorf("%s is %s, want %s", s, got, want)
		}
	}
	if got := Classify(netip.Addr{}); got != "invalid" {
		t.Errorf("zero address is %s", got)
	}
}
