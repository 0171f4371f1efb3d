// Package load puts HTTP/1.1 load on a server: closed loop (each connection
// sends the next request when it has the answer) and open loop (requests are
// due at a constant rate, whatever the server does). It is made to cost little
// itself, because it shares the machine with what it measures: one prepared
// request, one write and as few reads as the answer needs, nothing allocated.
package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// Request is what is sent, again and again.
type Request struct {
	Addr   string // host:port
	Method string
	Path   string
	Token  string // bearer token; empty sends none
	Body   []byte // JSON; nil sends none
	Status int    // that the answer must have; another counts as an error
	// Want must be in the body of each answer, which else counts as an error.
	Want []byte
}

// encode returns the request as it goes over the wire.
func (r Request) encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.Method, r.Path, r.Addr)
	if r.Token != "" {
		fmt.Fprintf(&b, "Authorization: Bearer %s\r\n", r.Token)
	}
	if r.Body != nil {
		fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(r.Body))
	}
	b.WriteString("\r\n")
	b.Write(r.Body)
	return b.Bytes()
}

// conn is one connection. For one goroutine.
type conn struct {
	net.Conn
	r       *bufio.Reader
	request []byte
	status  int
	want    []byte
	body    []byte // reused
}

func dial(ctx context.Context, r Request) (*conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", r.Addr)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return &conn{Conn: c, r: bufio.NewReaderSize(c, 16<<10), request: r.encode(), status: r.Status, want: r.Want}, nil
}

// patience is the longest wait for one answer.
const patience = 30 * time.Second

// errAnswer is an answer that is whole but not the right one: the connection
// can go on.
var errAnswer = errors.New("wrong answer")

// do sends the request and reads the answer.
func (c *conn) do() error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.Write(c.request); err != nil {
		return err
	}
	status, length, err := c.head()
	if err != nil {
		return err
	}
	if cap(c.body) < length {
		c.body = make([]byte, length)
	}
	body := c.body[:length]
	if _, err := io.ReadFull(c.r, body); err != nil {
		return err
	}
	if status != c.status || !bytes.Contains(body, c.want) {
		return fmt.Errorf("%w: status %d: %.300s", errAnswer, status, body)
	}
	return nil
}

// head reads the status line and the header. Answers in chunks are not read:
// what is measured sends its length.
func (c *conn) head() (status, length int, err error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return 0, 0, err
	}
	if len(line) < len("HTTP/1.1 200") {
		return 0, 0, fmt.Errorf("status line %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, 0, fmt.Errorf("status line %q", line)
	}
	length = -1
	for {
		if line, err = c.r.ReadSlice('\n'); err != nil {
			return 0, 0, err
		}
		if len(line) <= 2 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, 0, fmt.Errorf("header line %q", line)
			}
		}
	}
	if length < 0 {
		return 0, 0, errors.New("an answer without a length")
	}
	return status, length, nil
}
