package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/embed/outbound"
)

const (
	maxErrorBody = 64 << 10
	// maxNumberSize is the most bytes a component takes in an answer: 17
	// digits, sign, exponent, and the indentation of servers that print
	// prettily.
	maxNumberSize = 64
)

type request struct {
	Model      string   `json:"model"`
	Input      []string `json:"input"`
	Format     string   `json:"encoding_format"`
	Dimensions int      `json:"dimensions,omitempty"` // many servers refuse the field, so only when set
}

// reply is what a server answered to one request.
type reply struct {
	vectors [][]float32
	tokens  int64 // that the server counted; 0 if it told none
}

// ask makes one attempt at one batch. What may pass is a *passingError. No
// error of it holds the key.
func (c *Client) ask(ctx context.Context, inputs []string) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	body, err := json.Marshal(request{Model: c.config.Model, Input: inputs, Format: "float", Dimensions: c.config.Dimensions})
	if err != nil {
		return reply{}, err
	}
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, c.config.BaseURL+"/embeddings", bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	post.Header.Set("Content-Type", "application/json")
	post.Header.Set("Accept", "application/json")
	post.Header.Set("User-Agent", "tars")
	if c.config.APIKey != "" {
		post.Header.Set("Authorization", "Bearer "+c.config.APIKey)
	}
	answer, err := c.http.Do(post)
	if errors.Is(err, errRedirect) || errors.Is(err, outbound.ErrRefused) {
		return reply{}, c.withoutKey(err)
	}
	if err != nil {
		return reply{}, &passingError{err: c.withoutKey(err)}
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return reply{}, c.statusError(answer)
	}
	return c.readVectors(answer.Body, len(inputs))
}

func (c *Client) statusError(answer *http.Response) error {
	// What could be read is shown; that the rest could not matters less than
	// the status.
	body, _ := io.ReadAll(io.LimitReader(answer.Body, maxErrorBody))
	status := parseStatusError(answer.StatusCode, body, c.config.APIKey)
	if status.passes() {
		return &passingError{err: status, retryAfter: answer.Header.Get("Retry-After")}
	}
	return status
}

// readVectors reads an answer of at most the size that count vectors can have.
func (c *Client) readVectors(body io.Reader, count int) (reply, error) {
	dimension := c.info.Dimension
	if dimension == 0 {
		dimension = knowledge.MaxDimension // the probe's answer
	}
	limit := int64(maxErrorBody + count*dimension*maxNumberSize)
	data, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err != nil {
		return reply{}, &passingError{err: fmt.Errorf("reading the answer: %w", c.withoutKey(err))}
	}
	if int64(len(data)) > limit {
		return reply{}, fmt.Errorf("answer is longer than the %d bytes that %d vectors can take", limit, count)
	}
	vectors, tokens, err := decode(data, count)
	if err != nil {
		return reply{}, err
	}
	for i, vector := range vectors {
		if err := checkLength(len(vector), c.info.Dimension); err != nil {
			return reply{}, fmt.Errorf("vector %d: %w", i, err)
		}
	}
	return reply{vectors, tokens}, nil
}

// checkLength checks a vector's length; want is 0 as long as it is not known.
func checkLength(got, want int) error {
	switch {
	case want > 0 && got != want:
		return fmt.Errorf("has %d dimensions, want %d", got, want)
	case got > knowledge.MaxDimension:
		return fmt.Errorf("has %d dimensions, want at most %d", got, knowledge.MaxDimension)
	default:
		return nil
	}
}

// withoutKey returns err, or, should the transport or a server have put the key
// into its text, that text without it.
func (c *Client) withoutKey(err error) error {
	if key := c.config.APIKey; key != "" && strings.Contains(err.Error(), key) {
		return errors.New(strings.ReplaceAll(err.Error(), key, "[API key]"))
	}
	return err
}
