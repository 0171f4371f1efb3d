package main

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/document"
	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell"
)

// tasks has work done in sealed processes; a [cell.Driver] does.
type tasks interface {
	Do(ctx context.Context, req cell.TaskRequest) ([]byte, error)
}

// reading reads the text of documents. Plain text and Markdown are read here, by
// parsers that take bytes as they come. Those of the other formats are large, and not
// to be trusted with a tenant's bytes in the process that serves all tenants: they run
// in a cell of their own, one for each document.
type reading struct{ tasks tasks }

// taskRead is the name of the work that a cell does.
const taskRead = "document"

// readLimits bound the reading of one document. A PDF of 32 MiB takes a few seconds
// and some 200 MiB.
func readLimits() cell.TaskLimits {
	return cell.TaskLimits{Memory: 512 << 20, CPU: time.Minute, Wall: 3 * time.Minute, Output: knowledge.MaxDocumentText}
}

// Extract implements the seam of [ingest.Documents].
func (r reading) Extract(ctx context.Context, tenant knowledge.TenantID, mediaType string, source []byte) (document.Text, error) {
	kind, _, err := document.MediaType(mediaType)
	switch {
	case err != nil:
		return document.Text{}, err
	case kind == document.Plain || kind == document.Markdown:
		return document.Parse(ctx, mediaType, source, document.Limits{})
	}
	output, err := r.tasks.Do(ctx, cell.TaskRequest{
		Account: vmhost.Account(tenant), Name: taskRead, Input: taskInput(mediaType, source), Limits: readLimits(),
	})
	var refused *vmhost.RefusedError
	switch {
	case errors.As(err, &refused):
		return document.Text{}, knowledge.Invalid("", "%s", refused)
	case err != nil:
		return document.Text{}, err
	}
	text, err := document.Decode(output, document.Limits{})
	if err != nil { // the cell's answer, not the document, but the document made it so
		return document.Text{}, knowledge.Invalid("", "cannot be read: what was read of it is no text")
	}
	return text, nil
}

// taskInput is a line with the media type, and the document.
func taskInput(mediaType string, source []byte) []byte {
	input := make([]byte, 0, len(mediaType)+1+len(source))
	return append(append(append(input, mediaType...), '\n'), source...)
}

// readDocument is the work: it runs in a cell.
func readDocument(ctx context.Context, input []byte) ([]byte, error) {
	mediaType, source, found := bytes.Cut(input, []byte("\n"))
	if !found {
		return nil, errors.New("the input has no media type")
	}
	text, err := document.Parse(ctx, string(mediaType), source, document.Limits{})
	var invalid *knowledge.InvalidError
	if errors.As(err, &invalid) {
		return nil, &vmhost.RefusedError{Offset: -1, Detail: invalid.Error()}
	}
	if err != nil {
		return nil, err
	}
	return text.Append(nil), nil
}
