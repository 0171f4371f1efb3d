package outbound

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/tars-project/tars/knowledge"
)

func TestPublic(t *testing.T) {
	for address, want := range map[string]bool{
		"1.1.1.1": true, "93.184.215.14": true, "2606:4700::1111": true, "::ffff:1.1.1.1": true,
		"127.0.0.1": false, "127.255.1.1": false, "0.0.0.0": false, "0.1.2.3": false, "10.0.0.1": false, "172.16.0.1": false,
		"192.168.1.1": false, "169.254.169.254": false, "100.64.0.1": false, "100.100.100.200": false, "192.0.0.192": false,
		"198.18.0.1": false, "224.0.0.1": false, "239.255.255.250": false, "240.0.0.1": false, "255.255.255.255": false,
		"168.63.129.16": false, "::": false, "::1": false, "fe80::1": false, "fe80::1%lo": false, "fc00::1": false, "fd00:ec2::254": false,
		"fec0::1": false, "ff02::1": false, "::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false, "::ffff:10.0.0.1": false,
		"::127.0.0.1": false, "64:ff9b::7f00:1": false, "64:ff9b:1::1": false, "2002:7f00:1::": false, "2001:0:1::1": false,
		"2001:db8::1": false, "100::1": false, "2606:4700::1111%eth0": false,
	} {
		if got := public(netip.MustParseAddr(address)); got != want {
			t.Errorf("public(%s) = %t, want %t", address, got, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, list := range []string{"10.0.0.0/33", "a/b", "host:0", "host:99999", "host:x", "a@b", "*", "http://a", "ok,::1:x]"} {
		if p, err := Parse(list); err == nil {
			t.Errorf("Parse(%q) = %v, want an error", list, p)
		}
	}
}

func TestCheckURL(t *testing.T) {
	p, err := Parse("ollama.internal:11434, 10.1.0.0/16,[fd00::1]:8000,gpu")
	if err != nil {
		t.Fatalf("Parse = %v, want no error", err)
	}
	for base, good := range map[string]bool{
		"https://api.example.com/v1": true, "https://8.8.8.8": true, "http://ollama.internal:11434/v1": true, "http://OLLAMA.internal.:11434": true,
		"http://10.1.2.3:5": true, "http://[fd00::1]:8000": true, "http://gpu/v1": true, "http://gpu:1": true,
		"http://api.example.com/v1": false, "http://8.8.8.8": false, "http://ollama.internal": false, "https://127.0.0.1": false,
		"https://10.2.0.1": false, "https://[fd00::1]": false, "https://[::ffff:127.0.0.1]": false, "https://169.254.169.254/latest": false,
		"ftp://gpu": false, "gpu": false, "": false, "https://": false,
	} {
		err := p.CheckURL(base)
		if (err == nil) != good || err != nil && !errors.Is(err, knowledge.ErrInvalid) {
			t.Errorf("CheckURL(%q) = %v, want good = %t", base, err, good)
		}
	}
}

func get(t *testing.T, p Policy, url string) (string, error) {
	t.Helper()
	transport := p.Transport(1)
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return string(text), err
}

// A server of this machine is reached when the operator allows it, in each way of
// allowing it, and by no spelling of its address otherwise.
func TestTransport(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = io.WriteString(w, "inside")
	}))
	defer server.Close()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range []string{"127.0.0.1", "127.0.0.1:" + port, "127.0.0.0/8", "::1,127.0.0.1"} {
		p, err := Parse(list)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := get(t, p, server.URL); err != nil || text != "inside" {
			t.Errorf("with %q allowed: GET = %q, %v, want inside", list, text, err)
		}
	}
	asked.Store(0)
	for _, list := range []string{"", "10.0.0.0/8", "127.0.0.1:1", "127.0.0.2", "other.example"} {
		p, err := Parse(list)
		if err != nil {
			t.Fatal(err)
		}
		for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]"} {
			if text, err := get(t, p, "http://"+host+":"+port); !errors.Is(err, ErrRefused) {
				t.Errorf("with %q allowed: GET %s = %q, %v, want ErrRefused", list, host, text, err)
			}
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the server was asked %d times by who may not, want never", n)
	}
}

// A name that leads to an allowed address when it is first looked at, and to another
// one afterwards, is refused then.
func TestNameThatChanges(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "inside") }))
	defer server.Close()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Parse("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	answer := &atomic.Value{}
	p.resolver = resolver(t, answer)
	answer.Store([4]byte{127, 0, 0, 1})
	if text, err := get(t, p, "http://changing.example:"+port); err != nil || text != "inside" {
		t.Fatalf("GET while the name is allowed = %q, %v, want inside", text, err)
	}
	answer.Store([4]byte{127, 0, 0, 2})
	if text, err := get(t, p, "http://changing.example:"+port); !errors.Is(err, ErrRefused) {
		t.Errorf("GET after the name has changed = %q, %v, want ErrRefused", text, err)
	}
}

// A redirect to an address that is not allowed is not followed by the transport,
// whatever its client thinks of redirects.
func TestRedirectInside(t *testing.T) {
	var asked atomic.Int64
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer inside.Close()
	outside := httptest.NewServer(http.RedirectHandler(inside.URL, http.StatusTemporaryRedirect))
	defer outside.Close()
	p, err := Parse(strings.TrimPrefix(outside.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := get(t, p, outside.URL); !errors.Is(err, ErrRefused) || asked.Load() != 0 {
		t.Errorf("GET of a redirect = %q, %v, %d requests inside; want ErrRefused and none", text, err, asked.Load())
	}
}

// resolver asks a name server of this test, which gives every name one address.
func resolver(t *testing.T, address *atomic.Value) *net.Resolver {
	t.Helper()
	conn, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = conn.Close(); <-done })
	go func() {
		defer close(done)
		buffer := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			if reply := answered(buffer[:n], address.Load().([4]byte)); reply != nil {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// answered is the answer to a question about a name: the address, and none of IPv6.
func answered(question []byte, address [4]byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(question) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	m.Header = dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true}
	m.Additionals = nil
	if q.Type == dnsmessage.TypeA {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET},
			Body:   &dnsmessage.AResource{A: address},
		}}
	}
	text, err := m.Pack()
	if err != nil {
		return nil
	}
	return text
}
