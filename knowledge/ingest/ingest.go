// Package ingest turns what callers bring into records: it makes the vectors of
// records that come with text alone, and hands them to the store.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tars-project/tars/knowledge"
)

// embedders finds the embedder that a collection is pinned to; knowledge/embed
// has it.
type embedders interface {
	For(c knowledge.Collection) (knowledge.Embedder, error)
}

// store is what a Writer needs of a [knowledge.Store].
type store interface {
	Collection(context.Context, knowledge.TenantID, knowledge.CollectionName) (knowledge.Collection, error)
	PutRecords(context.Context, knowledge.TenantID, knowledge.CollectionName, []knowledge.Record) ([]int64, error)
}

// Writer writes records. Set every field before the first use; safe for
// concurrent use.
type Writer struct {
	Store     store
	Embedders embedders
}

// Put writes all records or none and returns their versions, in order. A record
// without a vector is embedded by the collection's embedder; in a collection with
// an embedder a vector of the caller's own is refused, for it would come from
// another space. All that can be checked without a vector is checked before any
// is made. records is not changed. Errors are those of
// [knowledge.Records.PutRecords] and [knowledge.Embedder.Embed].
func (w *Writer) Put(ctx context.Context, tenant knowledge.TenantID, collection knowledge.CollectionName, records []knowledge.Record) ([]int64, error) {
	c, err := w.Store.Collection(ctx, tenant, collection)
	if err != nil {
		return nil, fmt.Errorf("put records: %w", err)
	}
	if _, err := knowledge.CheckBatch(records); err != nil {
		return nil, err
	}
	for i, r := range records {
		if err := checkRecord(r, c); err != nil {
			return nil, knowledge.At(fmt.Sprintf("records[%d]", i), err)
		}
	}
	if c.Embedder.ID != knowledge.NoEmbedder {
		if records, err = w.embed(ctx, c, records); err != nil {
			return nil, err
		}
	}
	return w.Store.PutRecords(ctx, tenant, collection, records)
}

// checkRecord checks what a caller brought for collection c.
func checkRecord(r knowledge.Record, c knowledge.Collection) error {
	switch given := len(r.Vector) > 0; {
	case c.Embedder.ID == knowledge.NoEmbedder && !given:
		return knowledge.Invalid("vector", "is missing; collection %q has no embedder", c.Name)
	case c.Embedder.ID == knowledge.NoEmbedder:
		return r.Validate(c)
	case given:
		return knowledge.Invalid("vector", "is given, but collection %q is embedded by %q; need text alone", c.Name, c.Embedder.ID)
	default:
		return r.CheckContent()
	}
}

// embed returns the records with the vectors of their texts.
func (w *Writer) embed(ctx context.Context, c knowledge.Collection, records []knowledge.Record) ([]knowledge.Record, error) {
	embedder, err := w.Embedders.For(c)
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(records))
	for i, r := range records {
		texts[i] = r.Text
	}
	vectors, err := embedder.Embed(ctx, knowledge.EmbedDocument, texts)
	if err != nil {
		var invalid *knowledge.InvalidError
		if errors.As(err, &invalid) {
			return nil, textError(invalid)
		}
		return nil, fmt.Errorf("embed records: %w", err)
	}
	if len(vectors) != len(records) {
		return nil, fmt.Errorf("embed records: embedder %q gave %d vectors for %d texts", c.Embedder.ID, len(vectors), len(records))
	}
	records = slices.Clone(records)
	for i := range records {
		records[i].Vector = vectors[i]
	}
	return records, nil
}

// textError turns an embedder's "texts[i]" into the caller's "records[i].text".
func textError(e *knowledge.InvalidError) error {
	var i int
	if _, err := fmt.Sscanf(e.Field, "texts[%d]", &i); err != nil {
		return e
	}
	return knowledge.Invalid(fmt.Sprintf("records[%d].text", i), "%s", e.Detail)
}
