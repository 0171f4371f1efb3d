package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sync"

	"golang.org/x/term"

	"github.com/tars-project/tars/cmd/tars/files"
	"github.com/tars-project/tars/cmd/tars/rest"
)

// ingestCommand sends files to a collection as documents.
type ingestCommand struct {
	remote
	Collection    string            `required:"" placeholder:"NAME" help:"Where they go. It is made unless it is there."`
	Embedder      string            `default:"local" help:"Embedder of a collection that is made."`
	Prefix        string            `help:"Put before each id, which is the path below the folder, with slashes."`
	Metadata      map[string]string `placeholder:"KEY=VALUE" mapsep:"none" help:"Metadata of each document; a value is JSON, or else a text. Again for more."`
	Chunker       string            `placeholder:"NAME[@VERSION]" help:"Plugin that cuts the documents, instead of the service. With --resend where they are there already."`
	Type          string            `placeholder:"TYPE" help:"Media type of all files, instead of that which each file's name tells."`
	Include       []string          `sep:"none" placeholder:"PATTERN" help:"Only files whose path below the folder, or whose name, matches, such as *.md. Again for more."`
	Exclude       []string          `sep:"none" placeholder:"PATTERN" help:"Not these. Again for more."`
	Parallel      int               `default:"4" help:"Documents under way at once."`
	Resend        bool              `help:"Send also what is there with the same content; the server may cut and embed it anew."`
	DeleteMissing bool              `help:"Delete the documents whose ids begin with the prefix, and which are not among these files. Needs folders alone, all of which could be read."`
	DryRun        bool              `short:"n" help:"Change nothing, and say what would be done."`
	Paths         []string          `arg:"" name:"path" help:"Files and folders: text, Markdown, HTML, PDF, DOCX. Hidden files and links in folders are passed over."`
}

// Run carries out the command. Called again it goes on: what is there with the same
// content is not sent.
func (c *ingestCommand) Run(ctx context.Context, w *world) error {
	metadata, err := c.check()
	if err != nil {
		return err
	}
	selection := files.Selection{Paths: c.Paths, Include: c.Include, Exclude: c.Exclude, MediaType: c.Type, Prefix: c.Prefix}
	found, err := selection.Find()
	if err != nil {
		return fmt.Errorf("ingest: %w", err)
	}
	if c.DeleteMissing && len(found.Faults) > 0 {
		return fmt.Errorf("ingest: with --delete-missing all must be readable, but %s: %w", found.Faults[0].What, found.Faults[0].Err)
	}
	client := c.client()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = c.Parallel + 2 // else all but two connections are made anew for each file
	client.HTTP.Transport = transport
	defer transport.CloseIdleConnections()
	there, err := c.ensure(ctx, client)
	if err != nil {
		return fmt.Errorf("ingest: %w", err)
	}
	run := &files.Run{
		Client: client, Collection: c.Collection, Found: found, Prefix: c.Prefix, Metadata: metadata, Chunker: c.Chunker,
		Parallel: c.Parallel, Resend: c.Resend, DeleteMissing: c.DeleteMissing, DryRun: c.DryRun,
	}
	if c.DryRun {
		run.Say = saying(w.stdout)
		run.New = !there
	}
	run.Progress = files.NewProgress(found.Files, w.stderr, isTerminal(w.stderr) && !c.DryRun)
	failures, err := run.Do(ctx)
	if done := run.Progress.End(); !c.DryRun {
		fmt.Fprintln(w.stderr, done)
	}
	return c.report(w, found, failures, err)
}

// check checks the flags and reads the metadata.
func (c *ingestCommand) check() (map[string]any, error) {
	var p problems
	if c.Parallel < 1 || c.Parallel > 256 {
		p.add("parallel", "is %d; need 1 to 256", c.Parallel)
	}
	for _, path := range c.Paths {
		if info, err := os.Stat(path); c.DeleteMissing && err == nil && !info.IsDir() {
			p.add("delete-missing", "needs folders alone, but %s is a file", path)
		}
	}
	metadata := make(map[string]any, len(c.Metadata))
	for key, text := range c.Metadata {
		var value any
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			value = text
		}
		metadata[key] = value
	}
	return metadata, p.err()
}

// ensure makes the collection unless it is there, and reports whether it was.
func (c *ingestCommand) ensure(ctx context.Context, client *rest.Client) (bool, error) {
	path := "/v1/collections/" + url.PathEscape(c.Collection)
	_, err := client.Do(ctx, http.MethodGet, path, nil, nil)
	if !rest.IsStatus(err, http.StatusNotFound) || c.DryRun {
		if rest.IsStatus(err, http.StatusNotFound) {
			return false, nil
		}
		return true, err
	}
	_, err = client.Do(ctx, http.MethodPut, path, map[string]any{"embedder": c.Embedder}, nil)
	return true, err
}

// report tells what failed.
func (c *ingestCommand) report(w *world, found files.Found, failures []files.Failure, err error) error {
	if found.Others > 0 {
		fmt.Fprintf(w.stderr, "%d files are of no type that is known, and were passed over\n", found.Others)
	}
	for _, f := range failures {
		fmt.Fprintf(w.stderr, "failed: %s: %s\n", f.What, reason(f.Err))
	}
	switch {
	case errors.Is(err, context.Canceled):
		return errors.New("ingest: stopped; what was written is there, and the same command goes on")
	case err != nil:
		return fmt.Errorf("ingest: %w", err)
	case len(failures) > 0:
		return fmt.Errorf("ingest: %d files failed", len(failures))
	}
	return nil
}

// reason is an error in one line.
func reason(err error) string {
	var p *rest.Problem
	if !errors.As(err, &p) {
		return err.Error()
	}
	if p.Detail == "" {
		return fmt.Sprintf("%s (status %d)", p.Title, p.Status)
	}
	return p.Detail
}

// saying writes a line for each thing that would be done.
func saying(to io.Writer) func(verb, id string) {
	var mu sync.Mutex
	return func(verb, id string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(to, "would %s %s\n", verb, id)
	}
}

// isTerminal reports that a person may be looking.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
