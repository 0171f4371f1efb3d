package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/tars-project/tars/api/body"
	"github.com/tars-project/tars/cmd/tars/rest"
	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/embed"
)

// embedCommand turns lines of text into vectors.
type embedCommand struct {
	Server    string   `env:"TARS_SERVER" placeholder:"URL" help:"The server. Without it and a key, this process embeds."`
	Key       string   `env:"TARS_KEY" placeholder:"KEY" help:"API key of the tenant."`
	Local     bool     `help:"Embed in this process, by what is built in; no server is asked."`
	Embedder  string   `default:"local" placeholder:"ID" help:"Which embedder: one of the node's, or of the tenant's own."`
	Kind      string   `enum:"query,document" default:"document" help:"What the texts are: query or document."`
	Output    string   `enum:"json,base64" default:"json" help:"A vector is a line of: json, an array; base64, its components, four bytes each, least significant first."`
	SkipEmpty bool     `help:"Pass over lines that are empty or white space; without it they end the command."`
	Progress  bool     `help:"Write each second to standard error how far it is."`
	File      string   `short:"f" placeholder:"FILE" help:"Read lines of this file instead of standard input."`
	Text      []string `arg:"" optional:"" help:"Texts, instead of lines of standard input."`
}

// embedder embeds one batch; its errors name texts[i].
type embedder func(ctx context.Context, kind knowledge.EmbedKind, texts []string) ([][]float32, error)

// Run carries out the command. What it wrote before an error is whole lines.
func (c *embedCommand) Run(ctx context.Context, w *world) error {
	with, err := c.embedder()
	if err != nil {
		return fmt.Errorf("embed: %w", err)
	}
	in, end, err := c.input(w)
	if err != nil {
		return fmt.Errorf("embed: %w", err)
	}
	defer end()
	done := newRate(w.stderr, c.Progress)
	defer done.end()
	out := bufio.NewWriterSize(w.stdout, 256<<10)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for batch := range batches(ctx, in, c.SkipEmpty) {
		if err := c.embed(ctx, out, with, batch); err != nil {
			return fmt.Errorf("embed: %w", err)
		}
		done.add(len(batch.texts))
	}
	return ctx.Err()
}

// embed writes the vectors of a batch, and then tells what is wrong with the line
// after it, if that is why the batch ends.
func (c *embedCommand) embed(ctx context.Context, out *bufio.Writer, with embedder, b lineBatch) error {
	kind := knowledge.EmbedDocument
	if c.Kind == "query" {
		kind = knowledge.EmbedQuery
	}
	if len(b.texts) > 0 {
		vectors, err := with(ctx, kind, b.texts)
		if err != nil {
			return b.located(err)
		}
		if len(vectors) != len(b.texts) {
			return fmt.Errorf("got %d vectors for %d texts", len(vectors), len(b.texts))
		}
		for _, v := range vectors {
			if err := c.write(out, v); err != nil {
				return err
			}
		}
		if err := out.Flush(); err != nil {
			return err
		}
	}
	return b.err
}

func (c *embedCommand) write(out *bufio.Writer, v []float32) error {
	line, err := json.Marshal(v)
	if c.Output == "base64" {
		line = base64.StdEncoding.AppendEncode(nil, body.PackF32(v))
	}
	if err == nil {
		_, err = out.Write(append(line, '\n'))
	}
	return err
}

// input is where the lines come from, and what ends it.
func (c *embedCommand) input(w *world) (io.Reader, func(), error) {
	switch {
	case len(c.Text) > 0 && c.File != "":
		return nil, nil, errors.New("texts are given, and so is --file; need one of them")
	case len(c.Text) > 0:
		for i, text := range c.Text {
			if strings.ContainsRune(text, '\n') {
				return nil, nil, fmt.Errorf("text %d has a line break; each text is one line", i+1)
			}
		}
		return strings.NewReader(strings.Join(c.Text, "\n") + "\n"), func() {}, nil
	case c.File != "":
		file, err := os.Open(c.File)
		if err != nil {
			return nil, nil, err
		}
		return file, func() { _ = file.Close() }, nil
	}
	return w.stdin, func() {}, nil
}

// embedder chooses who embeds.
func (c *embedCommand) embedder() (embedder, error) {
	if c.Local || c.Server == "" && c.Key == "" {
		set, err := builtInEmbedders()
		if err != nil {
			return nil, err
		}
		e, err := set.Get(context.Background(), "", c.Embedder)
		if err != nil {
			return nil, fmt.Errorf("--embedder: %q is not built in; need one of %s, or a server with --server and --key", c.Embedder, strings.Join(set.IDs(), ", "))
		}
		return e.Embed, nil
	}
	switch {
	case c.Key == "":
		return nil, errors.New("--key is missing; a server needs it")
	case c.Server == "":
		c.Server = "http://127.0.0.1:8080"
	}
	client := rest.New(c.Server, c.Key)
	return func(ctx context.Context, _ knowledge.EmbedKind, texts []string) ([][]float32, error) {
		return c.ask(ctx, client, texts)
	}, nil
}

// embedAttempts is how often a batch is sent to a server that says that it may pass
// later.
const embedAttempts = 5

// ask has a server embed a batch. Vectors travel packed, the same to the bit.
func (c *embedCommand) ask(ctx context.Context, client *rest.Client, texts []string) ([][]float32, error) {
	request := map[string]any{"embedder": c.Embedder, "kind": c.Kind, "encoding": "base64", "texts": texts}
	var answer struct{ Vectors [][]byte }
	for attempt := 1; ; attempt++ {
		_, err := client.Do(ctx, http.MethodPost, "/v1/embed", request, &answer)
		if err == nil {
			break
		}
		if !rest.IsStatus(err, http.StatusTooManyRequests) && !rest.IsStatus(err, http.StatusServiceUnavailable) || attempt == embedAttempts {
			return nil, err
		}
		select {
		case <-time.After(time.Duration(attempt) * time.Second):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	vectors := make([][]float32, len(answer.Vectors))
	for i, data := range answer.Vectors {
		for ; len(data) >= 4; data = data[4:] {
			bits := uint32(data[0]) | uint32(data[1])<<8 | uint32(data[2])<<16 | uint32(data[3])<<24
			vectors[i] = append(vectors[i], math.Float32frombits(bits))
		}
	}
	return vectors, nil
}

// located says which line an embedder's error is about, if it names a text.
func (b *lineBatch) located(err error) error {
	var problem *rest.Problem
	var invalid *knowledge.InvalidError
	field, detail := "", ""
	switch {
	case errors.As(err, &invalid):
		field, detail = invalid.Field, invalid.Detail
	case errors.As(err, &problem) && len(problem.Errors) == 1:
		field, detail = problem.Errors[0].Field, problem.Errors[0].Detail
	}
	for i, line := range b.lines {
		if field == embed.TextField(i) {
			return fmt.Errorf("line %d: %s", line, detail)
		}
	}
	return err
}
