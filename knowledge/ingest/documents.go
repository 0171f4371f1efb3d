package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/document"
	"github.com/tars-project/tars/knowledge/query"
)

// extractor reads the text of a document. Formats whose parsers are not to be trusted
// with hostile bytes it reads in a process of their own; the tenant is who that
// process works for. It returns an [knowledge.InvalidError] for what it cannot read.
type extractor interface {
	Extract(ctx context.Context, tenant knowledge.TenantID, mediaType string, source []byte) (document.Text, error)
}

// chunker has documents cut by plugins of tenants; plugins.Runner has it.
type chunker interface {
	Pin(ctx context.Context, tenant knowledge.TenantID, call query.PluginCall) (digest string, err error)
	Chunk(ctx context.Context, tenant knowledge.TenantID, call query.PluginCall, about document.About, t document.Text) ([]document.Passage, query.Receipt, error)
}

// documentStore is what Documents needs of a [knowledge.Store] before anything is
// written.
type documentStore interface {
	Document(context.Context, knowledge.TenantID, knowledge.CollectionName, knowledge.DocumentID) (knowledge.Document, error)
	ScrollRecords(context.Context, knowledge.TenantID, knowledge.CollectionName, knowledge.Scroll) (knowledge.Page, error)
}

// Documents turns documents into passages that can be found. Set every field before
// the first use; safe for concurrent use.
type Documents struct {
	Store     documentStore
	Writer    *Writer
	Extractor extractor
	Chunker   chunker
}

// NewDocument is a document as a caller brings it.
type NewDocument struct {
	ID        knowledge.DocumentID
	MediaType string
	Source    []byte
	Title     string // empty: the one that the document itself gives
	Metadata  map[string]any
	Expires   time.Time         // zero: as the collection says
	IfVersion int64             // that the document must have now; 0: any, also none
	Chunker   *query.PluginCall // cuts it; nil: [document.Chunk]
}

// PreparedDocument is a document that has been read, cut and embedded.
type PreparedDocument struct {
	write     knowledge.DocumentWrite
	passages  Prepared
	embedded  int
	unchanged knowledge.Document // the document that is there, where there is nothing to be done
}

// PutResult is what became of a document.
type PutResult struct {
	knowledge.Document
	Unchanged bool // it was there already, the same
	Embedded  int  // of its passages; the others have the vectors of passages with the same text
}

// Prepare does all that can be done before anything is written: it reads the text of
// the document, cuts it into passages and embeds those whose texts the document did
// not have before. It looks up the collection first, so that nothing is done for one
// that is not there. It returns an [knowledge.InvalidError] for a document that has
// no text, too much of it, or that cannot be read, and for a collection without an
// embedder; else the errors of [Writer.Prepare].
func (d *Documents) Prepare(ctx context.Context, tenant knowledge.TenantID, collection knowledge.CollectionName, n NewDocument) (PreparedDocument, error) {
	c, err := d.Writer.target(ctx, tenant, collection)
	if err != nil {
		return PreparedDocument{}, fmt.Errorf("put document: %w", err)
	}
	if c.Embedder.ID == knowledge.NoEmbedder {
		return PreparedDocument{}, knowledge.Invalid("collection", "%q has no embedder; documents need one", c.Name)
	}
	w := knowledge.DocumentWrite{
		Document: knowledge.Document{
			ID: n.ID, Title: n.Title, MediaType: n.MediaType, Chunker: document.Chunker, Metadata: n.Metadata, Expires: n.Expires, Passages: 1,
		},
		DocumentContent: knowledge.DocumentContent{Source: n.Source},
		IfVersion:       n.IfVersion,
	}
	if w, err = w.Check(); err != nil {
		return PreparedDocument{}, err
	}
	if w.Size == 0 {
		return PreparedDocument{}, knowledge.Invalid("source", "is empty; need a document with text")
	}
	if n.Chunker != nil { // before the document is read for nothing
		digest, err := d.Chunker.Pin(ctx, tenant, *n.Chunker)
		if err != nil {
			return PreparedDocument{}, knowledge.At("chunker", err)
		}
		w.Chunker = n.Chunker.Name + "@" + digest
	}
	text, err := d.Extractor.Extract(ctx, tenant, n.MediaType, n.Source)
	if err != nil {
		return PreparedDocument{}, knowledge.At("source", err)
	}
	if w.Title == "" {
		w.Title = clip(text.Title, knowledge.MaxTitle)
	}
	return d.cut(ctx, tenant, c, w, text, n.Chunker)
}

// cut makes passages of a text, and embeds them unless they are there. It asks for the
// collection by its own name, for an alias may move meanwhile.
func (d *Documents) cut(ctx context.Context, tenant knowledge.TenantID, c knowledge.Collection, w knowledge.DocumentWrite, text document.Text, call *query.PluginCall) (PreparedDocument, error) {
	before, err := d.Store.Document(ctx, tenant, c.Name, w.ID)
	switch {
	case errors.Is(err, knowledge.ErrNotFound):
	case err != nil:
		return PreparedDocument{}, err
	case c.TTL == 0 && w.Unchanged(before): // else its time is to begin anew
		return PreparedDocument{unchanged: before}, w.Admit(before.Version)
	}
	passages, err := d.chunk(ctx, tenant, c, w.Document, text, call)
	if err != nil {
		return PreparedDocument{}, err
	}
	switch n := len(passages); {
	case n == 0:
		return PreparedDocument{}, knowledge.Invalid("source", "has no text that could be found; need at least a word")
	case n > knowledge.MaxPassages:
		return PreparedDocument{}, knowledge.Invalid("source", "makes %d passages; at most %d are allowed: divide the document", n, knowledge.MaxPassages)
	}
	w.Passages, w.Text = len(passages), text.Append(nil)
	if w, err = w.Check(); err != nil {
		return PreparedDocument{}, err
	}
	known, err := d.vectors(ctx, tenant, c.Name, before)
	if err != nil {
		return PreparedDocument{}, err
	}
	p := PreparedDocument{write: w}
	p.passages, err = d.Writer.prepare(ctx, tenant, c, knowledge.Write{Records: recordsOf(w.Document, text, passages)}, known)
	if err != nil {
		return PreparedDocument{}, ofPassages(err)
	}
	p.embedded = p.passages.embedded
	return p, nil
}

// chunk cuts a text by the plugin of the call, if there is one.
func (d *Documents) chunk(ctx context.Context, tenant knowledge.TenantID, c knowledge.Collection, of knowledge.Document, text document.Text, call *query.PluginCall) ([]document.Passage, error) {
	if call == nil {
		return document.Chunk(text, document.Options{}), nil
	}
	about := document.About{ID: string(of.ID), Collection: string(c.Name), MediaType: of.MediaType, Metadata: of.Metadata}
	text.Title = of.Title
	passages, _, err := d.Chunker.Chunk(ctx, tenant, *call, about, text)
	return passages, err
}

// recordsOf are the records that the passages of a document are.
func recordsOf(d knowledge.Document, text document.Text, passages []document.Passage) []knowledge.Record {
	records := make([]knowledge.Record, len(passages))
	for i, p := range passages {
		embedded, prefix := p.Embedded(text, d.Title)
		headings := make([]any, len(p.Headings))
		for j, h := range p.Headings {
			headings[j] = h
		}
		m := map[string]any{
			"document": string(d.ID), "passage": float64(i), "headings": headings,
			"start": float64(p.Start), "end": float64(p.End), "offset": float64(prefix),
		}
		if d.Title != "" {
			m["title"] = d.Title
		}
		if p.Page > 0 {
			m["page"] = float64(p.Page)
		}
		for key, value := range d.Metadata {
			m[key] = value
		}
		records[i] = knowledge.Record{ID: d.ID.Passage(i), Text: embedded, Metadata: m}
	}
	return records
}

// vectors are those of the texts of the passages that a document has.
func (d *Documents) vectors(ctx context.Context, tenant knowledge.TenantID, collection knowledge.CollectionName, before knowledge.Document) (map[string][]float32, error) {
	known := make(map[string][]float32, before.Passages)
	prefix := string(before.ID) + "#"
	scroll := knowledge.Scroll{After: knowledge.RecordID(prefix), Limit: knowledge.MaxScroll, Text: true, Vector: true}
	// Others may have records with ids that begin alike: they are not sought without end.
	for left := before.Passages; left > 0; {
		page, err := d.Store.ScrollRecords(ctx, tenant, collection, scroll)
		if err != nil {
			return nil, err
		}
		for _, r := range page.Records {
			if !strings.HasPrefix(string(r.ID), prefix) {
				return known, nil
			}
			known[r.Text] = r.Vector
			left--
		}
		if !page.More {
			return known, nil
		}
		scroll.After = page.Records[len(page.Records)-1].ID
	}
	return known, nil
}

// Put writes the document with its passages to a session that is one transaction, and
// removes the passages that it has no more. A record that stands where the document
// gets a passage for the first time is somebody's own: the error is then a
// [knowledge.ConflictError] that names it. Other errors are those of
// [knowledge.Documents.PutDocument] and [knowledge.Records.PutRecords].
func (p PreparedDocument) Put(ctx context.Context, to knowledge.Session, tenant knowledge.TenantID, collection knowledge.CollectionName) (PutResult, error) {
	if p.unchanged.Version > 0 {
		return PutResult{Document: p.unchanged, Unchanged: true}, nil
	}
	stored, before, err := to.PutDocument(ctx, tenant, collection, p.write)
	if err != nil {
		return PutResult{}, err
	}
	write := p.passages
	write.write.Records = slices.Clone(write.write.Records)
	write.write.IfVersion = map[int]int64{}
	for i := range write.write.Records {
		write.write.Records[i].Expires = stored.Expires
		if i >= before.Passages {
			write.write.IfVersion[i] = 0
		}
	}
	if _, err := write.Put(ctx, to, tenant, collection); err != nil {
		return PutResult{}, taken(stored.ID, err)
	}
	if err := deletePassages(ctx, to, tenant, collection, before, stored.Passages); err != nil {
		return PutResult{}, err
	}
	return PutResult{Document: stored, Embedded: p.embedded}, nil
}

// deletePassages deletes the passages of a document from the given one on.
func deletePassages(ctx context.Context, to knowledge.Session, tenant knowledge.TenantID, collection knowledge.CollectionName, d knowledge.Document, from int) error {
	var stale knowledge.Selection
	for i := from; i < d.Passages; i++ {
		stale.IDs = append(stale.IDs, d.ID.Passage(i))
	}
	if len(stale.IDs) == 0 {
		return nil
	}
	deleted, err := to.DeleteRecords(ctx, tenant, collection, stale, knowledge.MaxPassages+1)
	if err == nil && deleted.More {
		err = context.DeadlineExceeded // it stops early for that alone
	}
	return err
}

// DeleteDocument deletes a document with its passages, in a session that is one
// transaction. Errors are those of [knowledge.Documents.DeleteDocument].
func DeleteDocument(ctx context.Context, from knowledge.Session, tenant knowledge.TenantID, collection knowledge.CollectionName, id knowledge.DocumentID, ifVersion int64) error {
	gone, err := from.DeleteDocument(ctx, tenant, collection, id, ifVersion)
	if err != nil {
		return err
	}
	return deletePassages(ctx, from, tenant, collection, gone, 0)
}

// taken turns the conflict about records[i] into one that names the record in the way.
func taken(id knowledge.DocumentID, err error) error {
	var conflict *knowledge.ConflictError
	var i int
	if !errors.As(err, &conflict) {
		return ofPassages(err)
	}
	if _, scanned := fmt.Sscanf(conflict.Field, "records[%d]", &i); scanned != nil {
		return err
	}
	return knowledge.Conflict("document", "needs the id of the record %q, which is not one of its passages: delete that or rename it", id.Passage(i))
}

// ofPassages turns an error about records[i] into one about passages[i].
func ofPassages(err error) error {
	var invalid *knowledge.InvalidError
	if !errors.As(err, &invalid) {
		return err
	}
	after, ok := strings.CutPrefix(invalid.Field, "records")
	if !ok {
		return err
	}
	return knowledge.Invalid("passages"+after, "%s", invalid.Detail)
}

// clip cuts s to most bytes, between characters.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
