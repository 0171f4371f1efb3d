// Package openai is the embedder for any server that answers POST
// {base}/embeddings as OpenAI does: OpenAI itself, vLLM, Ollama, llama.cpp, TEI,
// LiteLLM and others.
//
// It sends texts in batches, some at once, tries again what may succeed later,
// and believes no answer: each vector is placed by its index, and its length
// and every number are checked. What it was asked for and what it was told by
// the server are kept out of the errors that clients see; the API key is kept
// out of all.
package openai

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/embed"
)

// Client is an embedder. Make one with [New]; it is safe for concurrent use.
type Client struct {
	config Config
	info   knowledge.EmbedderInfo
	http   *http.Client
	slots  chan struct{} // one for each request that may run, waits before retries included
	clock  clock
	fuse   *fuse
}

var _ embed.Measured = (*Client)(nil)

// New returns a client for the model that c names. Unless c knows the dimension, it
// asks for the vector of one short text to learn it, so a server that cannot be
// reached or refuses shows at once. ctx bounds that request only.
func New(ctx context.Context, c Config) (*Client, error) { return newClient(ctx, c, systemClock()) }

func newClient(ctx context.Context, c Config, clock clock) (*Client, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("openai embedder: %w", err)
	}
	if c.Transport == nil {
		c.Transport = newTransport(c.Parallel)
	}
	client := &Client{
		config: c,
		info:   knowledge.EmbedderInfo{ID: c.ID, Version: c.version(), Dimension: cmp.Or(c.Known, c.Dimensions)},
		http:   &http.Client{Transport: c.Transport, CheckRedirect: sameHost},
		slots:  make(chan struct{}, c.Parallel),
		clock:  clock,
		fuse:   newFuse(),
	}
	if c.Known > 0 {
		return client, nil
	}
	if err := client.probe(ctx); err != nil {
		client.Close()
		return nil, fmt.Errorf("openai embedder: asking %q for its dimension: %w", c.Model, err)
	}
	return client, nil
}

func newTransport(parallel int) *http.Transport {
	return &http.Transport{
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    parallel,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

var errRedirect = errors.New("redirect that is not followed")

// sameHost follows a redirect only to where the key and the texts were meant
// to go anyway, and only if it repeats the request as it is.
func sameHost(next *http.Request, past []*http.Request) error {
	first := past[0]
	switch {
	case next.URL.Scheme != first.URL.Scheme || next.URL.Host != first.URL.Host:
		return fmt.Errorf("%w: to another host", errRedirect)
	case next.Method != first.Method:
		return fmt.Errorf("%w: with another method", errRedirect)
	case len(past) > 3:
		return fmt.Errorf("%w: more than 3 times", errRedirect)
	}
	return nil
}

func (c *Client) probe(ctx context.Context) error {
	vectors, err := c.Embed(ctx, knowledge.EmbedDocument, []string{"dimension"})
	if err != nil {
		return err
	}
	c.info.Dimension = len(vectors[0])
	return nil
}

// Close lets go of idle connections. Calls that run are not disturbed.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Info implements [knowledge.Embedder]. The version is the model's name, with a
// sign of the prefixes if there are any.
func (c *Client) Info() knowledge.EmbedderInfo { return c.info }

// Embed implements [knowledge.Embedder]. Vectors have the length that the model
// gives them. A text that the server refuses while it is alone in a request,
// mostly for its length, gives an InvalidError; what else goes wrong at the
// server wraps [knowledge.ErrUnavailable], with a [StatusError] if it answered.
func (c *Client) Embed(ctx context.Context, kind knowledge.EmbedKind, texts []string) ([][]float32, error) {
	vectors, _, err := c.EmbedMeasured(ctx, kind, texts)
	return vectors, err
}

// EmbedMeasured implements [embed.Measured]. Tokens are the sum of what the answers
// told, also when a later one failed.
func (c *Client) EmbedMeasured(ctx context.Context, kind knowledge.EmbedKind, texts []string) ([][]float32, embed.Usage, error) {
	if err := embed.CheckTexts(texts); err != nil {
		return nil, embed.Usage{}, err
	}
	prefix := c.config.DocumentPrefix
	if kind == knowledge.EmbedQuery {
		prefix = c.config.QueryPrefix
	}
	w := work{inputs: make([]string, len(texts)), vectors: make([][]float32, len(texts))}
	for i, text := range texts {
		w.inputs[i] = prefix + text
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(c.config.Parallel)
	size := c.batchSize()
	for first := 0; first < len(texts); first += size {
		last := min(first+size, len(texts))
		group.Go(func() error { return c.embedRange(groupCtx, &w, first, last) })
	}
	err := group.Wait()
	usage := embed.UsageOf(texts)
	usage.Tokens = w.tokens.Load()
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, usage, fmt.Errorf("embedding %d texts: %w", len(texts), ctx.Err())
	case err != nil:
		return nil, usage, err
	}
	return w.vectors, usage, nil
}

// maxAnswer is how long an answer with vectors may come to be, in bytes.
const maxAnswer = 16 << 20

// batchSize is the most texts in a request.
func (c *Client) batchSize() int {
	return max(1, min(c.config.BatchSize, maxAnswer/(max(1, c.info.Dimension)*maxNumberSize)))
}

// work is what one call has to do: ranges of it are filled at once.
type work struct {
	inputs  []string
	vectors [][]float32
	tokens  atomic.Int64
}

// embedRange fills w.vectors[first:last]. A batch that the server refuses is
// halved: a smaller one may fit its limits, and if it is one text that is bad,
// it is found and named.
func (c *Client) embedRange(ctx context.Context, w *work, first, last int) error {
	got, err := c.fuse.do(func() (reply, error) { return c.askPatiently(ctx, w.inputs[first:last]) })
	if err == nil {
		copy(w.vectors[first:last], got.vectors)
		w.tokens.Add(got.tokens)
		return nil
	}
	var status *StatusError
	if !errors.As(err, &status) || !status.blamesInput() {
		return err
	}
	if last-first == 1 {
		return refusal(first, status)
	}
	middle := (first + last) / 2
	if err := c.embedRange(ctx, w, first, middle); err != nil {
		return err
	}
	return c.embedRange(ctx, w, middle, last)
}

// refusal names the text but not the reason in the server's words: they may
// quote the text or the account.
func refusal(text int, status *StatusError) error {
	return fmt.Errorf("%w (%w)",
		knowledge.Invalid(embed.TextField(text), "was refused by the embedding model, with status %d; it may be too long", status.Status), status)
}
