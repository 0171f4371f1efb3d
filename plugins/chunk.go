package plugins

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/document"
	"github.com/tars-project/tars/knowledge/query"
)

// Bounds of what a chunk plugin may give back, beside the output cap.
const (
	maxPassages    = knowledge.MaxBatch
	maxHeadings    = 16
	maxHeadingText = 500 // characters
)

// The documents of abi 1, as plugins/wit/schema defines them.
type (
	chunkInput struct {
		ABI      int            `json:"abi"`
		Document cutDocument    `json:"document"`
		Config   jsontext.Value `json:"config,omitempty"`
	}
	cutDocument struct {
		ID         string          `json:"id"`
		Collection string          `json:"collection"`
		Title      string          `json:"title,omitempty"`
		MediaType  string          `json:"media_type"`
		Text       string          `json:"text"`
		Blocks     []blockDocument `json:"blocks"`
		Metadata   map[string]any  `json:"metadata,omitempty"`
	}
	blockDocument struct {
		Kind  string `json:"kind"`
		Level int    `json:"level,omitzero"`
		Start int    `json:"start"`
		End   int    `json:"end"`
		Page  int    `json:"page,omitzero"`
	}
	chunkOutput struct {
		Passages []chunkedDocument `json:"passages"`
	}
	chunkedDocument struct {
		Start    *int     `json:"start"`
		End      *int     `json:"end"`
		Headings []string `json:"headings"`
	}
)

// Pin returns the digest of the version that a call would run, so that what was cut
// by another one can be told. It returns an error wrapping [knowledge.ErrNotFound]
// for an unknown plugin or version, and an [knowledge.InvalidError] for a bad name.
func (r *Runner) Pin(ctx context.Context, tenant knowledge.TenantID, call query.PluginCall) (string, error) {
	name, ref, err := parseCall(call)
	if err != nil {
		return "", err
	}
	version, err := r.Catalog.Version(ctx, tenant, name, ref)
	if err != nil {
		return "", fmt.Errorf("plugin %q: %w", name, err)
	}
	return version.Digest.String(), nil
}

// Chunk has a plugin cut a document's text into passages. Errors are those of
// [query.Plugins].
func (r *Runner) Chunk(ctx context.Context, tenant knowledge.TenantID, call query.PluginCall, d document.About, t document.Text) ([]document.Passage, query.Receipt, error) {
	input := chunkInput{ABI: ABI, Config: configOf(call), Document: cutDocument{
		ID: d.ID, Collection: d.Collection, Title: t.Title, MediaType: d.MediaType, Text: t.Text, Metadata: d.Metadata,
		Blocks: make([]blockDocument, len(t.Blocks)),
	}}
	for i, b := range t.Blocks {
		input.Document.Blocks[i] = blockDocument{Kind: b.Kind.String(), Level: b.Level, Start: b.Start, End: b.End, Page: b.Page}
	}
	call.Capability = query.Capability(Chunk)
	var passages []document.Passage
	receipt, err := r.call(ctx, tenant, call, errand{
		input: func(most int64) ([]byte, error) { return encode(input, most) },
		decode: func(output []byte) (err error) {
			passages, err = decodeChunk(output, t)
			return err
		},
		host: hostCalls{rest: r.REST, tenant: tenant}.answer,
	})
	return passages, receipt, err
}

// decodeChunk reads what a chunk plugin gave for a text. It returns an error made
// for the plugin's owner.
func decodeChunk(data []byte, t document.Text) ([]document.Passage, error) {
	var out chunkOutput
	if err := strict(data, &out); err != nil {
		return nil, err
	}
	if n := len(out.Passages); n < 1 || n > maxPassages {
		return nil, fmt.Errorf("passages: has %d entries; need 1 to %d", n, maxPassages)
	}
	passages := make([]document.Passage, len(out.Passages))
	last := 0
	for i, p := range out.Passages {
		if err := p.check(t.Text, last); err != nil {
			return nil, fmt.Errorf("passages[%d]%w", i, err)
		}
		last = *p.Start
		passages[i] = document.Passage{Start: *p.Start, End: *p.End, Headings: p.Headings, Page: t.PageAt(*p.Start)}
	}
	return passages, nil
}

func (p chunkedDocument) check(text string, last int) error {
	if p.Start == nil || p.End == nil {
		return errors.New(": lacks start or end")
	}
	start, end := *p.Start, *p.End
	if err := checkRange(text, start, end); err != nil {
		return err
	}
	switch {
	case start < last:
		return fmt.Errorf(".start: is %d, before that of the passage before, %d", start, last)
	case strings.TrimSpace(text[start:end]) == "":
		return errors.New(": is white space alone")
	case len(p.Headings) > maxHeadings:
		return fmt.Errorf(".headings: has %d entries; at most %d are allowed", len(p.Headings), maxHeadings)
	}
	for j, h := range p.Headings {
		if n := utf8.RuneCountInString(h); strings.TrimSpace(h) == "" || n > maxHeadingText || strings.IndexByte(h, 0) >= 0 {
			return fmt.Errorf(".headings[%d]: has %d characters; need 1 to %d, not white space alone, no NUL", j, n, maxHeadingText)
		}
	}
	return nil
}
