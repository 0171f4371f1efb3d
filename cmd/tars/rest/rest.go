// Package rest is the small client of the REST API that the command line and the
// demo use. It sends JSON and turns problem+json answers into errors; what the
// documents mean it leaves to its callers.
package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"time"
)

// maxAnswer bounds an answer, in bytes.
const maxAnswer = 64 << 20

// Client asks one server. Safe for concurrent use.
type Client struct {
	BaseURL string // such as "http://127.0.0.1:8080"
	Token   string // bearer token; empty sends none
	HTTP    *http.Client
}

// New returns a client with a time-out of two minutes for a request.
func New(baseURL, token string) *Client {
	return &Client{strings.TrimRight(baseURL, "/"), token, &http.Client{Timeout: 2 * time.Minute}}
}

// Problem is an answer of the API that says what went wrong: RFC 9457.
type Problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	RequestID string `json:"request_id"`
	// RetryAfter is how long the server asks to wait before the same request is
	// sent again; 0 when it says nothing of it.
	RetryAfter time.Duration `json:"-"`
	Errors     []struct {
		Field  string `json:"field"`
		Detail string `json:"detail"`
	} `json:"errors"`
}

func (p *Problem) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (status %d)", p.Title, p.Status)
	if p.Detail != "" {
		fmt.Fprintf(&b, ": %s", p.Detail)
	}
	for _, e := range p.Errors {
		fmt.Fprintf(&b, "\n  %s: %s", e.Field, e.Detail)
	}
	if p.RequestID != "" {
		fmt.Fprintf(&b, "\n  request %s", p.RequestID)
	}
	return b.String()
}

// Do sends in, unless it is nil, as JSON and decodes the answer into out, unless
// that is nil. It returns the status, and a *[Problem] for one of 400 or more.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) (int, error) {
	var body io.Reader
	contentType := ""
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return 0, fmt.Errorf("%s %s: %w", method, path, err)
		}
		body, contentType = bytes.NewReader(data), "application/json"
	}
	return c.send(ctx, method, path, contentType, body, out)
}

// Upload sends a plugin: its manifest and its module as multipart/form-data.
func (c *Client) Upload(ctx context.Context, path string, manifest, module []byte, out any) (int, error) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for _, part := range []struct {
		name, file, kind string
		data             []byte
	}{{"manifest", "plugin.json", "application/json", manifest}, {"module", "plugin.wasm", "application/wasm", module}} {
		header := textproto.MIMEHeader{}
		header.Set("Content-Disposition", fmt.Sprintf(`form-data; name=%q; filename=%q`, part.name, part.file))
		header.Set("Content-Type", part.kind)
		w, err := form.CreatePart(header)
		if err == nil {
			_, err = w.Write(part.data)
		}
		if err != nil {
			return 0, fmt.Errorf("upload %s: %w", part.name, err)
		}
	}
	if err := form.Close(); err != nil {
		return 0, fmt.Errorf("upload: %w", err)
	}
	return c.send(ctx, http.MethodPost, path, form.FormDataContentType(), &body, out)
}

func (c *Client) send(ctx context.Context, method, path, contentType string, body io.Reader, out any) (int, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.BaseURL+path, body)
	if err != nil {
		return 0, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if c.Token != "" {
		request.Header.Set("Authorization", "Bearer "+c.Token)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := c.HTTP.Do(request)
	if err != nil {
		return 0, fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return response.StatusCode, fmt.Errorf("%s %s: read answer: %w", method, path, err)
	}
	if response.StatusCode >= 400 {
		return response.StatusCode, problem(response, data)
	}
	if out == nil || len(data) == 0 {
		return response.StatusCode, nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return response.StatusCode, fmt.Errorf("%s %s: decode answer: %w", method, path, err)
	}
	return response.StatusCode, nil
}

// problem reads a problem; what is none, such as a proxy's page, keeps its status.
func problem(response *http.Response, data []byte) *Problem {
	p := &Problem{}
	if err := json.Unmarshal(data, p); err != nil || p.Title == "" {
		p = &Problem{Title: http.StatusText(response.StatusCode)}
	}
	p.Status = response.StatusCode
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds > 0 {
		p.RetryAfter = time.Duration(seconds) * time.Second
	}
	return p
}

// IsStatus reports whether err is a problem with this status.
func IsStatus(err error, status int) bool {
	var p *Problem
	return errors.As(err, &p) && p.Status == status
}
