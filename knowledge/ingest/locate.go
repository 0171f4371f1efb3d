package ingest

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/document"
)

// Quotation is a range of the text of a passage, as a citation has it.
type Quotation struct {
	Document   knowledge.DocumentID
	Passage    int
	Version    int64 // of the record that was quoted; 0: whatever there is
	Start, End int   // bytes of the record's text; End 0: to its end
}

// Range is a part of a text or of a document.
type Range struct {
	Start, End int    // bytes, half-open
	Quote      string // what stands there; empty where that is no UTF-8
}

// Location is where a quotation stands.
type Location struct {
	Document      knowledge.Document
	RecordVersion int64
	Headings      []string
	Page          int    // of a PDF; else 0
	Text          Range  // of the document's text
	Source        *Range // of the document's bytes; nil where the text is not in them as such
}

// quoted is what Locate needs of a [knowledge.Store].
type quoted interface {
	Record(context.Context, knowledge.TenantID, knowledge.CollectionName, knowledge.RecordID) (knowledge.Record, error)
	DocumentContent(context.Context, knowledge.TenantID, knowledge.CollectionName, knowledge.DocumentID) (knowledge.Document, knowledge.DocumentContent, error)
}

// Locate leads a quotation back to the document. What of it lies above the passage is
// left out. It returns an error wrapping [knowledge.ErrNotFound] when there is no such
// document or passage, an [knowledge.InvalidError] for a range that is not of the
// passage, and a [knowledge.ConflictError] when the record has another version or has
// been changed by hand.
func Locate(ctx context.Context, store quoted, tenant knowledge.TenantID, collection knowledge.CollectionName, q Quotation) (Location, error) {
	d, content, err := store.DocumentContent(ctx, tenant, collection, q.Document)
	if err != nil {
		return Location{}, err
	}
	if q.Passage < 0 || q.Passage >= d.Passages {
		return Location{}, knowledge.NotFound("passage", fmt.Sprint(q.Passage))
	}
	r, err := store.Record(ctx, tenant, collection, q.Document.Passage(q.Passage))
	if err != nil {
		return Location{}, err
	}
	if q.Version != 0 && q.Version != r.Version {
		return Location{}, knowledge.Conflict("version", "is %d, but the passage is at version %d: the document was replaced since", q.Version, r.Version)
	}
	text, err := TextOf(content)
	if err != nil {
		return Location{}, err
	}
	p, err := passageOf(r, text)
	if err != nil {
		return Location{}, err
	}
	at := Location{Document: d, RecordVersion: r.Version, Headings: p.Headings, Page: p.Page}
	if at.Text, err = p.narrow(q, r.Text, text.Text); err != nil {
		return Location{}, err
	}
	if from, to, ok := text.Source(at.Text.Start, at.Text.End); ok && from <= to && to <= len(content.Source) {
		at.Source = &Range{Start: from, End: to}
		if piece := content.Source[from:to]; utf8.Valid(piece) {
			at.Source.Quote = string(piece)
		}
	}
	return at, nil
}

// TextOf is the text that was read of a document.
func TextOf(content knowledge.DocumentContent) (document.Text, error) {
	text, err := document.Decode(content.Text, document.Limits{})
	if err != nil {
		return document.Text{}, errors.New("the stored text of a document: " + err.Error()) // not the caller's fault, whatever kind it is
	}
	return text, nil
}

// storedPassage is a passage as its record tells of it.
type storedPassage struct {
	document.Passage
	offset int // bytes of the record's text before the passage
}

// passageOf reads the metadata of a passage's record, and makes sure that it is what
// was written there.
func passageOf(r knowledge.Record, text document.Text) (storedPassage, error) {
	whole := func(key string) int {
		n, _ := r.Metadata[key].(float64)
		if n != float64(int(n)) {
			return -1
		}
		return int(n)
	}
	p := storedPassage{document.Passage{Start: whole("start"), End: whole("end"), Page: whole("page")}, whole("offset")}
	headings, _ := r.Metadata["headings"].([]any)
	for _, h := range headings {
		if s, ok := h.(string); ok {
			p.Headings = append(p.Headings, s)
		}
	}
	good := 0 <= p.Start && p.Start < p.End && p.End <= len(text.Text) && 0 <= p.offset && p.offset+p.End-p.Start == len(r.Text)
	if !good || r.Text[p.offset:] != text.Text[p.Start:p.End] {
		return p, knowledge.Conflict("passage", "is a record that was changed by hand, and does not tell any more where it stands")
	}
	return p, nil
}

// narrow turns a range of the record's text into one of the document's.
func (p storedPassage) narrow(q Quotation, record, text string) (Range, error) {
	if q.End == 0 {
		q.End = len(record)
	}
	switch {
	case q.End > len(record):
		return Range{}, knowledge.Invalid("end", "is %d, but the passage has %d bytes", q.End, len(record))
	case q.Start < 0 || q.Start >= q.End:
		return Range{}, knowledge.Invalid("start", "is %d; need less than the end, which is %d", q.Start, q.End)
	case q.End <= p.offset:
		return Range{}, knowledge.Invalid("end", "is %d, in the title and headings above the passage, which begins at %d", q.End, p.offset)
	case !boundary(record, q.Start):
		return Range{}, knowledge.Invalid("start", "is %d, inside a character", q.Start)
	case !boundary(record, q.End):
		return Range{}, knowledge.Invalid("end", "is %d, inside a character", q.End)
	}
	r := Range{Start: p.Start + max(0, q.Start-p.offset), End: p.Start + q.End - p.offset}
	r.Quote = text[r.Start:r.End]
	return r, nil
}

// boundary reports that no character of s lies over its byte i.
func boundary(s string, i int) bool { return i == len(s) || utf8.RuneStart(s[i]) }
