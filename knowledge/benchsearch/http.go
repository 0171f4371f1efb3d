package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// request is a search over HTTP, ready to be written.
type request struct {
	bytes []byte
	wants int // matches that a right answer has; at least
}

func newRequest(addr, path, token string, body []byte, wants int) request {
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", path, addr, token, len(body))
	b.Write(body)
	return request{b.Bytes(), wants}
}

// httpClient is one connection that sends prepared requests: one write and as few
// reads as the answer needs, because it shares the machine with what it measures.
// It implements searcher.
type httpClient struct {
	addr     string
	requests []request // the n-th search is the n-th of these, from the start again after the last
	conn     net.Conn  // nil after a broken answer, until the next search
	r        *bufio.Reader
	body     []byte // of the last answer
}

// patience is the longest wait for one answer.
const patience = 60 * time.Second

// errAnswer is an answer that is whole but not a right one: the connection can go
// on.
var errAnswer = errors.New("wrong answer")

func dialHTTP(ctx context.Context, addr string, requests []request) (*httpClient, error) {
	c := &httpClient{addr: addr, requests: requests}
	return c, c.dial(ctx)
}

func (c *httpClient) dial(ctx context.Context) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", c.addr)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	c.conn, c.r = conn, bufio.NewReaderSize(conn, 16<<10)
	return nil
}

// Close implements load.Client.
func (c *httpClient) Close() error {
	if c.conn == nil {
		return nil
	}
	return c.conn.Close()
}

var matchStart = []byte(`"score":`)

// Ask implements load.Client. A right answer has status 200 and as many matches as
// there are to find; which ones they are is looked at by Rows, not under load.
func (c *httpClient) Ask(n int) error { return c.send(c.requests[n%len(c.requests)]) }

// send makes one request, connecting again after a broken one.
func (c *httpClient) send(r request) error {
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
	if status != 200 || bytes.Count(c.body, matchStart) < r.wants {
		return fmt.Errorf("%w: status %d, want %d matches: %.300s", errAnswer, status, r.wants, c.body)
	}
	return nil
}

// Rows implements searcher.
func (c *httpClient) Rows(n int) ([]int32, error) {
	if err := c.Ask(n); err != nil && !errors.Is(err, errAnswer) {
		return nil, err
	}
	return rowsOf(c.body)
}

// rowsOf are the rows that the answer to a search names.
func rowsOf(body []byte) ([]int32, error) {
	var answer struct {
		Matches []struct {
			ID string `json:"id"`
		} `json:"matches"`
		Title string `json:"title"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("answer: %w: %.300s", err, body)
	}
	if answer.Title != "" {
		return nil, fmt.Errorf("%w: %.300s", errAnswer, body)
	}
	rows := make([]int32, len(answer.Matches))
	for i, m := range answer.Matches {
		row, err := strconv.ParseInt(m.ID, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("id %q: %w", m.ID, err)
		}
		rows[i] = int32(row)
	}
	return rows, nil
}

// roundTrip sends one request and reads the answer into c.body.
func (c *httpClient) roundTrip(request []byte) (status int, err error) {
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
		if cap(c.body) < length {
			c.body = make([]byte, length)
		}
		c.body = c.body[:length]
		_, err = io.ReadFull(c.r, c.body)
		return status, err
	}
	c.body = c.body[:0]
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

// readChunks appends the chunks of an answer to c.body.
func (c *httpClient) readChunks() error {
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 32)
		if err != nil {
			return fmt.Errorf("chunk %q", line)
		}
		start := len(c.body)
		c.body = append(c.body, make([]byte, n+2)...)
		if _, err := io.ReadFull(c.r, c.body[start:]); err != nil {
			return err
		}
		c.body = c.body[:start+int(n)]
		if n == 0 {
			return nil
		}
	}
}
