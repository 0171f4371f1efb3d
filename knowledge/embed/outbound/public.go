package outbound

import "net/netip"

// public reports that an address is one of the Internet: of global unicast, and in no
// block that the registries of special addresses (RFC 6890) keep for something else,
// such as private networks, carriers, documentation, or IPv4 inside IPv6.
func public(address netip.Addr) bool {
	address = address.Unmap()
	if !address.IsGlobalUnicast() || address.IsPrivate() || address.Zone() != "" {
		return false
	}
	for _, block := range special() {
		if block.Contains(address) {
			return false
		}
	}
	return address.Is4() || global().Contains(address)
}

// global are the addresses of IPv6 that are given out at all.
func global() netip.Prefix { return netip.MustParsePrefix("2000::/3") }

func special() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"),        // this network
		netip.MustParsePrefix("100.64.0.0/10"),    // carriers; metadata of a cloud
		netip.MustParsePrefix("192.0.0.0/24"),     // protocols
		netip.MustParsePrefix("192.0.2.0/24"),     // documentation
		netip.MustParsePrefix("192.88.99.0/24"),   // 6to4 relays
		netip.MustParsePrefix("198.18.0.0/15"),    // benchmarks
		netip.MustParsePrefix("198.51.100.0/24"),  // documentation
		netip.MustParsePrefix("203.0.113.0/24"),   // documentation
		netip.MustParsePrefix("240.0.0.0/4"),      // reserved, broadcast
		netip.MustParsePrefix("168.63.129.16/32"), // services of a cloud's host, at an address that looks public
		netip.MustParsePrefix("2001::/23"),        // protocols, Teredo
		netip.MustParsePrefix("2001:db8::/32"),    // documentation
		netip.MustParsePrefix("2002::/16"),        // 6to4: holds an IPv4 address
		netip.MustParsePrefix("3fff::/20"),        // documentation
	}
}
