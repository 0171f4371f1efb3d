package api

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"
)

// MaxHeader is the most bytes of a request's line and header.
const MaxHeader = 64 << 10

// HTTPServer returns a server for h with bounds on what a connection may cost
// before an operation is known. The operation's own come on top. Let it serve a
// listener that went through [Listener].
func HTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	server := &http.Server{
		Handler:                      h,
		ReadHeaderTimeout:            5 * time.Second,
		ReadTimeout:                  2 * time.Minute,
		WriteTimeout:                 5 * time.Minute,
		IdleTimeout:                  time.Minute,
		MaxHeaderBytes:               MaxHeader,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	if s, ok := h.(*Server); ok {
		server.RegisterOnShutdown(s.streams.end) // which would otherwise go on for as long as their jobs
	}
	return server
}

// Listener returns a listener whose connections turn the few errors that net/http
// writes itself, before any handler, from plain text into problems.
func Listener(l net.Listener) net.Listener { return listener{l} }

type listener struct{ net.Listener }

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return conn{c}, nil
}

type conn struct{ net.Conn }

// CloseWrite lets net/http end its side first, so that the client can read the
// answer to a request that was not read to its end.
func (c conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Write implements net.Conn.
func (c conn) Write(p []byte) (int, error) {
	if text, ok := rewritten(p); ok {
		if _, err := c.Conn.Write(text); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// The form of the errors that net/http writes itself. The answers of handlers
// have a Date and other headers, so none looks like this.
var (
	ownErrorStart  = []byte("HTTP/1.1 ")
	ownErrorHeader = []byte("\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n")
)

// rewritten returns the problem for an error of net/http's own.
func rewritten(p []byte) ([]byte, bool) {
	if !bytes.HasPrefix(p, ownErrorStart) {
		return nil, false
	}
	line, _, ok := bytes.Cut(p, []byte("\r\n"))
	if !ok || !bytes.HasPrefix(p[len(line):], ownErrorHeader) || len(line) < len("HTTP/1.1 400") {
		return nil, false
	}
	code, err := strconv.Atoi(string(line[len("HTTP/1.1 "):len("HTTP/1.1 400")]))
	if err != nil {
		return nil, false
	}
	st := status{code: code, name: "bad-http", title: "Not an HTTP request that this server takes"}
	if code == http.StatusRequestHeaderFieldsTooLarge {
		st = statusOf(errHeaderSize)
	}
	id := rand.Text()
	text, err := json.Marshal(st.problem(id))
	if err != nil {
		return nil, false
	}
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nX-Request-ID: %s\r\nConnection: close\r\n\r\n%s",
		code, http.StatusText(code), problemType, len(text), id, text), true
}
