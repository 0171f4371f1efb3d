package main

import (
	"context"
	"mime"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/document"
)

// reading reads the text of documents. Plain text and Markdown are read here, by
// parsers that take bytes as they come. Those of the other formats are large, and not
// to be trusted with a tenant's bytes in the process that serves all tenants.
type reading struct{}

// Extract implements the seam of [ingest.Documents].
func (reading) Extract(ctx context.Context, _ knowledge.TenantID, mediaType string, source []byte) (document.Text, error) {
	kind, _, err := mime.ParseMediaType(mediaType)
	switch {
	case err == nil && (kind == "text/plain" || kind == "text/markdown"):
		return document.Parse(ctx, mediaType, source, document.Limits{})
	default:
		return document.Text{}, errNoSealedReader
	}
}

// errNoSealedReader refuses what this server may not read itself.
var errNoSealedReader = knowledge.Invalid("Content-Type", "is of a format that this server reads in a sealed process alone, and it has none; need text/plain or text/markdown")
