package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// Get returns the body of an answer of any size, which the caller closes. ctx bounds
// the whole of it; there is no other time-out.
func (c *Client) Get(ctx context.Context, path string) (io.ReadCloser, error) {
	return c.GetAs(ctx, path, nil)
}

// GetAs is Get with a header, such as one with Accept.
func (c *Client) GetAs(ctx context.Context, path string, header http.Header) (io.ReadCloser, error) {
	response, err := c.stream(ctx, http.MethodGet, path, header, nil)
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}

// Put is Stream by PUT.
func (c *Client) Put(ctx context.Context, path string, header http.Header, body []byte, out any) error {
	return c.Stream(ctx, http.MethodPut, path, header, bytes.NewReader(body), out)
}

// Send is Stream by POST.
func (c *Client) Send(ctx context.Context, path string, header http.Header, body io.Reader, out any) error {
	return c.Stream(ctx, http.MethodPost, path, header, body, out)
}

// Stream sends a body of any size, with the header, and decodes the answer into out.
// ctx bounds the whole of it; there is no other time-out.
func (c *Client) Stream(ctx context.Context, method, path string, header http.Header, body io.Reader, out any) error {
	response, err := c.stream(ctx, method, path, header, body)
	if err != nil {
		return err
	}
	return answer(response, out)
}

// answer decodes an answer into out, and reads it to its end, so that the connection
// can be used again.
func answer(response *http.Response, out any) error {
	defer response.Body.Close()
	body := io.LimitReader(response.Body, maxAnswer)
	err := json.NewDecoder(body).Decode(out)
	if err == nil {
		_, err = io.Copy(io.Discard, body)
	}
	if err != nil {
		return fmt.Errorf("%s %s: decode answer: %w", response.Request.Method, response.Request.URL.Path, err)
	}
	return nil
}

func (c *Client) stream(ctx context.Context, method, path string, header http.Header, body io.Reader) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.BaseURL+path, body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if header != nil {
		request.Header = header.Clone()
	}
	if c.Token != "" {
		request.Header.Set("Authorization", "Bearer "+c.Token)
	}
	patient := *c.HTTP
	patient.Timeout = 0
	response, err := patient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if response.StatusCode < 400 {
		return response, nil
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%s %s: read answer: %w", method, path, err)
	}
	return nil, problem(response, data)
}
