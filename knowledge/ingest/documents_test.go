package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/document"
	"github.com/tars-project/tars/knowledge/ingest"
	"github.com/tars-project/tars/knowledge/memstore"
)

// reading reads documents here, and counts them.
type reading struct{ read int }

func (r *reading) Extract(ctx context.Context, _ knowledge.TenantID, mediaType string, source []byte) (document.Text, error) {
	r.read++
	return document.Parse(ctx, mediaType, source, document.Limits{})
}

// desk is a store with a service of documents.
type desk struct {
	t        *testing.T
	store    *memstore.Store
	embedder *embedder
	reading  *reading
	service  *ingest.Documents
}

func openDesk(t *testing.T) *desk {
	t.Helper()
	w, store, e := open(t)
	d := &desk{t: t, store: store, embedder: e, reading: &reading{}}
	d.service = &ingest.Documents{Store: store, Writer: w, Extractor: d.reading}
	return d
}

// put prepares and writes a document.
func (d *desk) put(collection knowledge.CollectionName, n ingest.NewDocument) (ingest.PutResult, error) {
	d.t.Helper()
	ctx := d.t.Context()
	prepared, err := d.service.Prepare(ctx, tenant, collection, n)
	if err != nil {
		return ingest.PutResult{}, err
	}
	var done ingest.PutResult
	err = d.store.Atomically(ctx, tenant, func(session knowledge.Session) (err error) {
		done, err = prepared.Put(ctx, session, tenant, collection)
		return err
	})
	return done, err
}

func (d *desk) mustPut(n ingest.NewDocument) ingest.PutResult {
	d.t.Helper()
	done, err := d.put("texts", n)
	if err != nil {
		d.t.Fatalf("Put(%s) = %v, want nil", n.ID, err)
	}
	return done
}

// records are all records of the collection of texts, by id.
func (d *desk) records() map[knowledge.RecordID]knowledge.Record {
	d.t.Helper()
	page, err := d.store.ScrollRecords(d.t.Context(), tenant, "texts", knowledge.Scroll{Limit: 1000, Text: true, Vector: true, Metadata: true})
	if err != nil {
		d.t.Fatal(err)
	}
	all := map[knowledge.RecordID]knowledge.Record{}
	for _, r := range page.Records {
		all[r.ID] = r
	}
	return all
}

// sections is a document in Markdown with a section for each text, which is a passage.
func sections(id knowledge.DocumentID, texts ...string) ingest.NewDocument {
	var b strings.Builder
	b.WriteString("---\ntitle: Pumps\n---\n# All pumps\n")
	for i, text := range texts {
		fmt.Fprintf(&b, "\n## Part %d\n\n%s\n", i, text)
	}
	return ingest.NewDocument{ID: id, MediaType: "text/markdown", Source: []byte(b.String())}
}

func TestPutDocument(t *testing.T) {
	d := openDesk(t)
	n := sections("guide/a.md", "The first pump is serviced in spring.", "The second pump was replaced — by a larger one.")
	n.Metadata = map[string]any{"year": 2026.0}
	done := d.mustPut(n)
	if done.Version != 1 || done.Unchanged || done.Title != "Pumps" || done.Embedded != done.Passages || done.Passages < 2 {
		t.Fatalf("Put = %+v, want version 1 with the title Pumps and two passages or more, all embedded", done)
	}
	_, content, err := d.store.DocumentContent(t.Context(), tenant, "texts", n.ID)
	if err != nil || string(content.Source) != string(n.Source) {
		t.Fatalf("DocumentContent = %q, %v, want the source as it was", content.Source, err)
	}
	text, err := ingest.TextOf(content)
	if err != nil {
		t.Fatal(err)
	}
	records := d.records()
	if len(records) != done.Passages {
		t.Errorf("there are %d records, want one for each of %d passages", len(records), done.Passages)
	}
	seen := ""
	for i := range done.Passages {
		r, ok := records[n.ID.Passage(i)]
		m := r.Metadata
		if !ok || m["document"] != "guide/a.md" || m["passage"] != float64(i) || m["title"] != "Pumps" || m["year"] != 2026.0 || m["page"] != nil {
			t.Fatalf("record %s = %+v, want the metadata of the document and the place of the passage", n.ID.Passage(i), r)
		}
		piece := text.Text[int(m["start"].(float64)):int(m["end"].(float64))]
		if r.Text[int(m["offset"].(float64)):] != piece {
			t.Errorf("record %d has the text %q, want it to end with %q", i, r.Text, piece)
		}
		seen += fmt.Sprint(r.Text, m["headings"], "\n")
	}
	for _, want := range []string{"spring", "larger one", "Part 1", "Pumps", "All pumps"} {
		if !strings.Contains(seen, want) {
			t.Errorf("the passages are %q, want %q in them", seen, want)
		}
	}
}

// What is the same is not written, and what is little changed is little embedded.
func TestPutDocumentAgain(t *testing.T) {
	d := openDesk(t)
	n := sections("d", "one", "two", "three")
	first := d.mustPut(n)
	d.embedder.calls = 0
	if again := d.mustPut(n); !again.Unchanged || again.Version != 1 || d.embedder.calls != 0 {
		t.Errorf("Put of the same = %+v after %d calls of the embedder, want it unchanged without one", again, d.embedder.calls)
	}
	n.Metadata = map[string]any{"k": "v"}
	if again := d.mustPut(n); again.Unchanged || again.Version != 2 || again.Embedded != 0 || d.embedder.calls != 0 {
		t.Errorf("Put with other metadata = %+v after %d calls of the embedder, want version 2 without one", again, d.embedder.calls)
	}
	if r := d.records()[n.ID.Passage(0)]; r.Metadata["k"] != "v" || len(r.Vector) == 0 {
		t.Errorf("record 0 = %+v, want the new metadata and a vector", r)
	}
	before := d.records()
	edited := sections("d", "one", "two changed", "three")
	edited.Metadata = n.Metadata
	done := d.mustPut(edited)
	if done.Version != 3 || done.Embedded < 1 || done.Embedded >= first.Passages {
		t.Errorf("Put of an edit = %+v, want a part of %d passages embedded", done, first.Passages)
	}
	after := d.records()
	for id, r := range after {
		if want := []float32{float32(len(r.Text)), 1}; !reflect.DeepEqual(r.Vector, want) {
			t.Errorf("record %s has the vector %v, want that of its text: %v", id, r.Vector, want)
		}
	}
	if len(after) != len(before) {
		t.Errorf("there are %d records, want %d", len(after), len(before))
	}
	// Fewer passages, then more.
	shorter := d.mustPut(sections("d", "one"))
	if got := len(d.records()); got != shorter.Passages || shorter.Passages >= done.Passages {
		t.Errorf("after a shorter one there are %d records, want %d", got, shorter.Passages)
	}
	longer := d.mustPut(sections("d", "one", "two", "three", "four"))
	if got := len(d.records()); got != longer.Passages || longer.Passages <= done.Passages {
		t.Errorf("after a longer one there are %d records, want %d", got, longer.Passages)
	}
}

// What somebody wrote under the id of a passage is not overwritten, and its document
// not written.
func TestPutDocumentOverARecord(t *testing.T) {
	d := openDesk(t)
	first := d.mustPut(sections("d", "one"))
	own := knowledge.RecordID(fmt.Sprintf("d#%d", first.Passages))
	mine := knowledge.Write{Records: []knowledge.Record{{ID: own, Text: "my own", Vector: []float32{1, 1}}}}
	if _, err := d.store.PutRecords(t.Context(), tenant, "texts", mine); err != nil {
		t.Fatal(err)
	}
	before := d.records()
	_, err := d.put("texts", sections("d", "one", "two", "three"))
	var conflict *knowledge.ConflictError
	if !errors.As(err, &conflict) || conflict.Field != "document" || !strings.Contains(conflict.Detail, string(own)) {
		t.Errorf("Put = %v, want a conflict that names %s", err, own)
	}
	if after := d.records(); !reflect.DeepEqual(after, before) {
		t.Errorf("after the refusal the records are %v, want %v", after, before)
	}
	if got, err := d.store.Document(t.Context(), tenant, "texts", "d"); err != nil || got.Version != 1 {
		t.Errorf("Document = %+v, %v, want version 1", got, err)
	}
}

func TestPutDocumentRefuses(t *testing.T) {
	text := func(source string) ingest.NewDocument {
		return ingest.NewDocument{ID: "d", MediaType: "text/plain", Source: []byte(source)}
	}
	long := text(strings.Repeat("x", knowledge.MaxSource) + "x")
	reserved, odd := text("x"), text("x")
	reserved.Metadata, odd.Metadata = map[string]any{"offset": 1.0}, map[string]any{"k": "\x00"}
	for _, c := range []struct {
		what       string
		collection knowledge.CollectionName
		n          ingest.NewDocument
		field      string // of an InvalidError; or else
		kind       error
		read       int // documents that are read for it
	}{
		{"no collection", "none", text("x"), "", knowledge.ErrNotFound, 0},
		{"a view", "seen", text("x"), "", knowledge.ErrForbidden, 0},
		{"no embedder", "vectors", text("x"), "collection", nil, 0},
		{"empty", "texts", text(""), "source", nil, 0},
		{"too long", "texts", long, "source", nil, 0},
		{"a reserved key", "texts", reserved, "metadata.offset", nil, 0},
		{"bad metadata", "texts", odd, "metadata.k", nil, 0},
		{"white space", "texts", text(" \n\t \n"), "*", nil, 1},
		{"bytes that are no text", "texts", text("\x00\x01\x02\x03\xff\xfe"), "*", nil, 1},
	} {
		d := openDesk(t)
		view := knowledge.View{Name: "seen", Collection: "texts", Filter: knowledge.Filter{Op: knowledge.OpAnd}}
		if _, _, err := d.store.PutView(t.Context(), tenant, view); err != nil {
			t.Fatal(err)
		}
		_, err := d.put(c.collection, c.n)
		var invalid *knowledge.InvalidError
		switch {
		case c.kind != nil && !errors.Is(err, c.kind):
			t.Errorf("%s: Put = %v, want an error that is %v", c.what, err, c.kind)
		case c.kind == nil && (!errors.As(err, &invalid) || c.field != "*" && invalid.Field != c.field):
			t.Errorf("%s: Put = %v, want an InvalidError at %q", c.what, err, c.field)
		}
		if d.embedder.calls != 0 || d.reading.read != c.read {
			t.Errorf("%s: %d calls of the embedder and %d documents read, want 0 and %d", c.what, d.embedder.calls, d.reading.read, c.read)
		}
		if list, err := d.store.ListDocuments(t.Context(), tenant, "texts", knowledge.DocumentList{Limit: 10}); err != nil || len(list) != 0 || len(d.records()) != 0 {
			t.Errorf("%s: there are %v and %d records, want nothing", c.what, list, len(d.records()))
		}
	}
}

// A document that makes more passages than one write may have records is refused
// before any is embedded.
func TestPutDocumentWithTooManyPassages(t *testing.T) {
	d := openDesk(t)
	var b strings.Builder
	for i := range knowledge.MaxPassages + 1 {
		fmt.Fprintf(&b, "# Heading %d\n\nText.\n\n", i)
	}
	_, err := d.put("texts", ingest.NewDocument{ID: "d", MediaType: "text/markdown", Source: []byte(b.String())})
	var invalid *knowledge.InvalidError
	if !errors.As(err, &invalid) || invalid.Field != "source" || !strings.Contains(invalid.Detail, "10000") || d.embedder.calls != 0 {
		t.Errorf("Put = %v after %d calls of the embedder, want an InvalidError at source that names the limit, without one", err, d.embedder.calls)
	}
}

// A document and its passages are gone at the same moment, and a new sending of it
// begins its time anew.
func TestDocumentsWithALifetime(t *testing.T) {
	d := openDesk(t)
	_, err := d.store.ChangeCollection(t.Context(), tenant, "texts", 0, func(c knowledge.Collection) (knowledge.Collection, error) {
		c.TTL = time.Hour
		return c, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	first := d.mustPut(sections("d", "one"))
	for id, r := range d.records() {
		if !r.Expires.Equal(first.Expires) || first.Expires.IsZero() {
			t.Errorf("record %s expires at %v, want the time of its document: %v", id, r.Expires, first.Expires)
		}
	}
	d.embedder.calls = 0
	if again := d.mustPut(sections("d", "one")); again.Unchanged || again.Version != 2 || again.Expires.Before(first.Expires) || d.embedder.calls != 0 {
		t.Errorf("Put again = %+v after %d calls of the embedder, want a new time without one", again, d.embedder.calls)
	}
}

func TestDeleteDocument(t *testing.T) {
	d := openDesk(t)
	d.mustPut(sections("d", "one", "two"))
	kept := d.mustPut(sections("d#1", "one"))
	remove := func(ifVersion int64) error {
		return d.store.Atomically(t.Context(), tenant, func(session knowledge.Session) error {
			return ingest.DeleteDocument(t.Context(), session, tenant, "texts", "d", ifVersion)
		})
	}
	if err := remove(2); !errors.Is(err, knowledge.ErrPrecondition) {
		t.Errorf("DeleteDocument of another version = %v, want ErrPrecondition", err)
	}
	if err := remove(1); err != nil {
		t.Errorf("DeleteDocument = %v, want nil", err)
	}
	if got := len(d.records()); got != kept.Passages {
		t.Errorf("there are %d records, want the %d of the other document", got, kept.Passages)
	}
	if err := remove(0); !errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("DeleteDocument again = %v, want ErrNotFound", err)
	}
}

// Every range of every passage leads to bytes of the document that say the same.
func TestLocate(t *testing.T) {
	d := openDesk(t)
	n := sections("d", "Ätna — the volcano.", "Naïve text: 田中さん.", "plain")
	done := d.mustPut(n)
	records := d.records()
	tried := 0
	for i := range done.Passages {
		text := records[n.ID.Passage(i)].Text
		offset := int(records[n.ID.Passage(i)].Metadata["offset"].(float64))
		for start := range len(text) {
			for _, end := range []int{start + 1, start + 4, len(text)} {
				at, err := ingest.Locate(t.Context(), d.store, tenant, "texts", ingest.Quotation{Document: n.ID, Passage: i, Start: start, End: end, Version: 1})
				whole := strings.ToValidUTF8(text[start:min(end, len(text))], "") == text[start:min(end, len(text))]
				if end > len(text) || end <= offset || !whole {
					if !errors.Is(err, knowledge.ErrInvalid) {
						t.Fatalf("Locate(%d, %d, %d) = %+v, %v, want an InvalidError", i, start, end, at, err)
					}
					continue
				}
				tried++
				want := text[max(start, offset):end]
				if err != nil || at.Text.Quote != want || at.Source == nil || at.Source.Quote != want || string(n.Source[at.Source.Start:at.Source.End]) != want {
					t.Fatalf("Locate(%d, %d, %d) = %+v, %v, want %q", i, start, end, at, err, want)
				}
			}
		}
	}
	if tried < 50 {
		t.Errorf("%d ranges were tried, want enough to mean something", tried)
	}
	for what, c := range map[string]struct {
		q    ingest.Quotation
		kind error
	}{
		"no document":        {ingest.Quotation{Document: "none"}, knowledge.ErrNotFound},
		"no passage":         {ingest.Quotation{Document: "d", Passage: done.Passages}, knowledge.ErrNotFound},
		"another version":    {ingest.Quotation{Document: "d", Version: 2}, knowledge.ErrConflict},
		"start after end":    {ingest.Quotation{Document: "d", Start: 9, End: 8}, knowledge.ErrInvalid},
		"end beyond the end": {ingest.Quotation{Document: "d", End: 1 << 20}, knowledge.ErrInvalid},
	} {
		if at, err := ingest.Locate(t.Context(), d.store, tenant, "texts", c.q); !errors.Is(err, c.kind) {
			t.Errorf("%s: Locate = %+v, %v, want an error that is %v", what, at, err, c.kind)
		}
	}
	// A record that was changed by hand tells nothing any more.
	patch := knowledge.Patch{ID: n.ID.Passage(0), Metadata: map[string]any{"start": 1.0}}
	if _, err := d.store.PatchRecord(t.Context(), tenant, "texts", patch); err != nil {
		t.Fatal(err)
	}
	if at, err := ingest.Locate(t.Context(), d.store, tenant, "texts", ingest.Quotation{Document: "d"}); !errors.Is(err, knowledge.ErrConflict) {
		t.Errorf("Locate in a record that was changed = %+v, %v, want ErrConflict", at, err)
	}
}
