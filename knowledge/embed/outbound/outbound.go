// Package outbound says where a tenant's embedding server may be: a tenant writes an
// address, and the node, which stands beside things that nobody outside reaches,
// sends requests there. It decides at each connection, about the address that is
// connected to, so that no name can be given another meaning after it was looked at.
package outbound

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tars-project/tars/knowledge"
)

// ErrRefused is the error of a connection that the policy does not allow.
var ErrRefused = errors.New("address is not public, and not allowed by the operator")

// Policy allows public addresses, and what the operator names besides. The zero value
// allows public addresses alone. Immutable and safe for concurrent use.
type Policy struct {
	hosts    map[string]bool // "name" or "name:port"
	networks []network
	resolver *net.Resolver // nil: Go's own; tests set another
}

// network is a CIDR, or an address, with a port or all.
type network struct {
	prefix netip.Prefix
	port   string // empty: any
}

// Parse reads what an operator allows: names, addresses and networks with commas
// between, names and addresses with a port or without, such as
// "ollama.internal:11434,10.1.0.0/16,[fd00::1]:8000". An empty text allows nothing.
// What it names may be reached by http too.
func Parse(list string) (Policy, error) {
	p := Policy{hosts: map[string]bool{}}
	var problems []error
	for _, word := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		if err := p.add(word); err != nil {
			problems = append(problems, err)
		}
	}
	return p, errors.Join(problems...)
}

func (p *Policy) add(word string) error {
	if strings.Contains(word, "/") {
		prefix, err := netip.ParsePrefix(word)
		if err != nil {
			return fmt.Errorf("%q is not a network such as 10.1.0.0/16", word)
		}
		p.networks = append(p.networks, network{prefix.Masked(), ""})
		return nil
	}
	host, port := word, ""
	if h, n, err := net.SplitHostPort(word); err == nil {
		if number, err := strconv.ParseUint(n, 10, 16); err != nil || number == 0 {
			return fmt.Errorf("%q has a port that is none; need 1 to 65535", word)
		}
		host, port = h, n
	}
	host = strings.Trim(host, "[]")
	if address, err := netip.ParseAddr(host); err == nil {
		address = address.Unmap()
		p.networks = append(p.networks, network{netip.PrefixFrom(address, address.BitLen()), port})
		return nil
	}
	if host == "" || strings.ContainsAny(host, ":@[]*?#") {
		return fmt.Errorf("%q is not a host, an address or a network", word)
	}
	p.hosts[strings.ToLower(joined(host, port))] = true
	return nil
}

func joined(host, port string) string {
	if port == "" {
		return host
	}
	return host + ":" + port
}

// CheckURL checks the scheme of a server's address: https, or http too where the
// operator allows the host. It returns a [knowledge.InvalidError] about base_url. That
// a name leads to an allowed address shows only when it is connected to.
func (p Policy) CheckURL(base string) error {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return knowledge.Invalid("base_url", "is not an absolute https URL")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	address, err := netip.ParseAddr(u.Hostname())
	literal := err == nil
	switch {
	case p.names(u.Hostname(), port), literal && p.contains(address, port):
		return nil
	case u.Scheme != "https":
		return knowledge.Invalid("base_url", "is not https; need https, or a host that the operator allows")
	case literal && !public(address):
		return refused()
	}
	return nil
}

func refused() error {
	return knowledge.Invalid("base_url", "leads to an address that is not public; need a public one, or one that the operator allows")
}

// Explain returns the error for the client of a request that ended in err: that of a
// refused address names base_url; others are returned as they are.
func Explain(err error) error {
	if errors.Is(err, ErrRefused) {
		return refused()
	}
	return err
}

// names reports that the operator allows a host by its name.
func (p Policy) names(host, port string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return p.hosts[host] || p.hosts[joined(host, port)]
}

// contains reports that the operator allows an address.
func (p Policy) contains(address netip.Addr, port string) bool {
	address = address.Unmap().WithZone("")
	for _, n := range p.networks {
		if n.prefix.Contains(address) && (n.port == "" || n.port == port) {
			return true
		}
	}
	return false
}

// Transport returns a transport that connects to what the policy allows alone, also
// when a redirect leads elsewhere. It has no proxy, and keeps so many idle connections.
func (p Policy) Transport(idle int) *http.Transport {
	return &http.Transport{
		DialContext:            p.dial,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    idle,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

func (p Policy) dial(ctx context.Context, kind, address string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: 10 * time.Second, Resolver: p.resolver, Control: p.control}
	if host, port, err := net.SplitHostPort(address); err == nil && p.names(host, port) {
		dialer.Control = nil // wherever that name leads: it is the operator's word
	}
	return dialer.DialContext(ctx, kind, address)
}

// control looks at each address that is about to be connected to.
func (p Policy) control(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || !public(to.Addr()) && !p.contains(to.Addr(), strconv.Itoa(int(to.Port()))) {
		return ErrRefused
	}
	return nil
}
