// Package ingest turns what callers bring into records: it makes the vectors of
// records that come with text alone, and hands them to the store.
package ingest

import (
	"context"
	"errors"
	"fmt"

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
// another space. Errors are those of [knowledge.Records.PutRecords] and
// [knowledge.Embedder.Embed].
func (w *Writer) Put(ctx context.Context, tenant knowledge.TenantID, collection knowledge.CollectionName, records []knowledge.Record) ([]int64, error) {
	c, err := w.Store.Collection(ctx, tenant, collection)
	if err != nil {
		return nil, fmt.Errorf("put records: %w", err)
	}
	if len(records) < 1 || len(records) > knowledge.MaxBatch {
		return nil, knowledge.Invalid("records", "has %d entries; need 1 to %d", len(records), knowledge.MaxBatch)
	}
	if c.Embedder.ID != knowledge.NoEmbedder {
		if err := w.embed(ctx, c, records); err != nil {
			return nil, err
		}
	}
	for i, r := range records {
		if len(r.Vector) == 0 {
			return nil, knowledge.Invalid(fmt.Sprintf("records[%d].vector", i), "is missing; collection %q has no embedder", collection)
		}
		if err := r.Validate(c); err != nil {
			return nil, knowledge.At(fmt.Sprintf("records[%d]", i), err)
		}
	}
	return w.Store.PutRecords(ctx, tenant, collection, records)
}

// embed makes the vectors of all records in place.
func (w *Writer) embed(ctx context.Context, c knowledge.Collection, records []knowledge.Record) error {
	embedder, err := w.Embedders.For(c)
	if err != nil {
		return err
	}
	texts := make([]string, len(records))
	for i, r := range records {
		if len(r.Vector) > 0 {
			return knowledge.Invalid(fmt.Sprintf("records[%d].vector", i), "is given, but collection %q is embedded by %q; need text alone", c.Name, c.Embedder.ID)
		}
		if err := knowledge.CheckText(r.Text); err != nil {
			return knowledge.At(fmt.Sprintf("records[%d].text", i), err)
		}
		texts[i] = r.Text
	}
	vectors, err := embedder.Embed(ctx, knowledge.EmbedDocument, texts)
	if err != nil {
		var invalid *knowledge.InvalidError
		if errors.As(err, &invalid) {
			return textError(invalid)
		}
		return fmt.Errorf("embed records: %w", err)
	}
	for i := range records {
		records[i].Vector = vectors[i]
	}
	return nil
}

// textError turns an embedder's "texts[i]" into the caller's "records[i].text".
func textError(e *knowledge.InvalidError) error {
	var i int
	if _, err := fmt.Sscanf(e.Field, "texts[%d]", &i); err != nil {
		return e
	}
	return knowledge.Invalid(fmt.Sprintf("records[%d].text", i), "%s", e.Detail)
}
