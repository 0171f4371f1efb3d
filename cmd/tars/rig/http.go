package rig

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

// Request is a POST over HTTP, ready to be written.
type Request struct {
	bytes []byte
	wants int // matches that a right answer has; at least
}

func NewRequest(addr, path, token string, body []byte, wants int) Request {
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", path, addr, token, len(body))
	b.Write(body)
	return Request{b.Bytes(), wants}
}

// HTTPClient is one connection that sends prepared requests: one write and as few
// reads as the answer needs, because it shares the machine with what it measures.
// It implements load.Client.
type HTTPClient struct {
	addr     string
	requests []Request // the n-th search is the n-th of these, from the start again after the last
	conn     net.Conn  // nil after a broken answer, until the next search
	r        *bufio.Reader
	Body     []byte // of the last answer
}

// patience is the longest wait for one answer.
const patience = 60 * time.Second

// ErrAnswer is an answer that is whole but not a right one: the connection can go
// on.
var ErrAnswer = errors.New("wrong answer")

func DialHTTP(ctx context.Context, addr string, requests []Request) (*HTTPClient, error) {
	c := &HTTPClient{addr: addr, requests: requests}
	return c, c.dial(ctx)
}

func (c *HTTPClient) dial(ctx context.Context) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", c.addr)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	c.conn, c.r = conn, bufio.NewReaderSize(conn, 16<<10)
	return nil
}

// Close implements load.Client.
func (c *HTTPClient) Close() error {
	if c.conn == nil {
		return nil
	}
	return c.conn.Close()
}

var matchStart = []byte(`"score":`)

// Ask implements load.Client. A right answer has status 200 and as many matches as
// there are to find; which ones they are is looked at by Rows, not under load.
func (c *HTTPClient) Ask(n int) error { return c.Send(c.requests[n%len(c.requests)]) }

// Send makes one request, connecting again after a broken one.
func (c *HTTPClient) Send(r Request) error {
	if c.conn == nil {
		if err := c.dial(context.Background()); err != nil {
			return err
		}
	}
	status, err := c.roundTrip(r.bytes)
	if err != nil {
		err = errors.Join(err, c.conn.Close())
		c.conn = nil
		return err
	}
	if status != 200 || bytes.Count(c.Body, matchStart) < r.wants {
		return fmt.Errorf("%w: status %d, want %d matches: %.300s", ErrAnswer, status, r.wants, c.Body)
	}
	return nil
}

// roundTrip sends one request and reads the answer into c.Body.
func (c *HTTPClient) roundTrip(request []byte) (status int, err error) {
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	if _, err := c.conn.Write(request); err != nil {
		return 0, err
	}
	status, length, err := readHead(c.r)
	if err != nil {
		return 0, err
	}
	if length >= 0 {
		if cap(c.Body) < length {
			c.Body = make([]byte, length)
		}
		c.Body = c.Body[:length]
		_, err = io.ReadFull(c.r, c.Body)
		return status, err
	}
	c.Body = c.Body[:0]
	return status, c.readChunks()
}

// readHead reads the status line and the header. length is -1 for a body in chunks.
func readHead(r *bufio.Reader) (status, length int, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, 0, err
	}
	if len(line) < len("HTTP/1.1 200") {
		return 0, 0, fmt.Errorf("status line %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, 0, fmt.Errorf("status line %q", line)
	}
	length = -2
	for {
		if line, err = r.ReadSlice('\n'); err != nil {
			return 0, 0, err
		}
		if len(line) <= 2 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, 0, fmt.Errorf("header line %q", line)
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")) && bytes.EqualFold(value, []byte("chunked")):
			length = -1
		}
	}
	if length == -2 {
		return 0, 0, errors.New("an answer without a length")
	}
	return status, length, nil
}

// readChunks appends the chunks of an answer to c.Body.
func (c *HTTPClient) readChunks() error {
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 32)
		if err != nil {
			return fmt.Errorf("chunk %q", line)
		}
		start := len(c.Body)
		c.Body = append(c.Body, make([]byte, n+2)...)
		if _, err := io.ReadFull(c.r, c.Body[start:]); err != nil {
			return err
		}
		c.Body = c.Body[:start+int(n)]
		if n == 0 {
			return nil
		}
	}
}
