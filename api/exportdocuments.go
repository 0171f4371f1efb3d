package api

import (
	"context"
	"time"

	"github.com/tars-project/tars/api/body"
	"github.com/tars-project/tars/knowledge"
)

// exportedDocument is a document as a line; body.ImportLine reads it. Lines with its
// source and its text follow.
type exportedDocument struct {
	ID          string         `json:"id"`
	Title       string         `json:"title,omitempty"`
	MediaType   string         `json:"media_type"`
	Chunker     string         `json:"chunker"`
	Metadata    map[string]any `json:"metadata,omitempty"`
	Passages    int            `json:"passages"`
	ExpiresAt   *time.Time     `json:"expires_at,omitempty"`
	SourceBytes int            `json:"source_bytes"`
	TextBytes   int            `json:"text_bytes"`
	Version     int64          `json:"version"`
	CreatedAt   time.Time      `json:"created_at"`
	UpdatedAt   time.Time      `json:"updated_at"`
}

// exportDocuments writes the documents of a collection, one of them in memory.
func exportDocuments(ctx context.Context, reader knowledge.Reader, collection knowledge.CollectionName, to *exportWriter) error {
	list := knowledge.DocumentList{Limit: 200}
	for {
		found, err := reader.ListDocuments(ctx, tenantOf(ctx), collection, list)
		if err != nil {
			return err
		}
		for _, d := range found {
			list.After = d.ID
			d, content, err := reader.DocumentContent(ctx, tenantOf(ctx), collection, d.ID)
			if err != nil {
				return err
			}
			if err := to.document(d, content); err != nil {
				return err
			}
		}
		if len(found) < list.Limit {
			return nil
		}
	}
}

func (e *exportWriter) document(d knowledge.Document, content knowledge.DocumentContent) error {
	e.count++
	err := e.line(struct {
		Document exportedDocument `json:"document"`
	}{exportedDocument{
		ID: string(d.ID), Title: d.Title, MediaType: d.MediaType, Chunker: d.Chunker, Metadata: d.Metadata, Passages: d.Passages,
		ExpiresAt: timeOut(d.Expires), SourceBytes: len(content.Source), TextBytes: len(content.Text),
		Version: d.Version, CreatedAt: d.Created, UpdatedAt: d.Updated,
	}})
	for part := range parts(content.Source) {
		if err == nil {
			err = e.line(struct {
				Part []byte `json:"document_source"`
			}{part})
		}
	}
	for part := range parts(content.Text) {
		if err == nil {
			err = e.line(struct {
				Part []byte `json:"document_text"`
			}{part})
		}
	}
	return err
}

// parts are what each line has of a document's content.
func parts(data []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(data) > 0 {
			n := min(len(data), body.MaxDocumentPart)
			if !yield(data[:n]) {
				return
			}
			data = data[n:]
		}
	}
}
