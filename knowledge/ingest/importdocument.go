package ingest

import (
	"context"
	"errors"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/document"
)

// DocumentLine is a line that begins a document. Lines with parts of its source and
// of its text follow, until they have these many bytes.
type DocumentLine struct {
	knowledge.Document
	SourceBytes, TextBytes int64
}

// importedDocument is a document of an import whose parts are being read.
type importedDocument struct {
	line    Line // that began it; without a Document there is none
	refused bool // its parts are passed over
	content knowledge.DocumentContent
}

// takeDocument takes a line that is of a document, and reports whether it is.
func (r *importRun) takeDocument(ctx context.Context, line Line) (taken bool, err error) {
	part := line.Err == nil && (line.Source != nil || line.Text != nil)
	if !part {
		if err := r.endDocument(ctx); err != nil {
			return true, err
		}
	}
	switch {
	case r.ended || line.Document == nil && !part:
		return false, nil
	case line.Document != nil && r.target() == "":
		return true, r.refuse(ctx, line, knowledge.Invalid("", "is a document before any collection"))
	case line.Document != nil:
		r.document = importedDocument{line: line}
		return true, r.wholeDocument(ctx, line)
	case part && r.document.refused:
		return true, nil
	case part && r.document.line.Document == nil:
		return true, r.refuse(ctx, line, knowledge.Invalid("", "is a part of no document"))
	default:
		x, c := r.document.line.Document, &r.document.content
		if int64(len(c.Source)+len(line.Source)) > x.SourceBytes || int64(len(c.Text)+len(line.Text)) > x.TextBytes {
			return true, r.refuseDocument(ctx, line, knowledge.Invalid("document", "has more bytes than it says"))
		}
		c.Source, c.Text = append(c.Source, line.Source...), append(c.Text, line.Text...)
		return true, r.wholeDocument(ctx, line)
	}
}

// endDocument refuses a document whose parts end before it is whole.
func (r *importRun) endDocument(ctx context.Context) error {
	d := r.document
	r.document = importedDocument{}
	if d.line.Document == nil || d.refused {
		return nil
	}
	return r.refuse(ctx, d.line, knowledge.Invalid("document", "is not whole: %d of %d bytes of its source, %d of %d of its text",
		len(d.content.Source), d.line.Document.SourceBytes, len(d.content.Text), d.line.Document.TextBytes))
}

// refuseDocument counts a bad document, or ends the import with it; last is the line
// that was read last.
func (r *importRun) refuseDocument(ctx context.Context, last Line, err error) error {
	last.Number, r.document.refused = r.document.line.Number, true
	return r.refuse(ctx, last, err)
}

// wholeDocument writes the document once all of it is there. last is the line that
// was read last.
func (r *importRun) wholeDocument(ctx context.Context, last Line) error {
	x, content := r.document.line.Document, r.document.content
	if int64(len(content.Source)) < x.SourceBytes || int64(len(content.Text)) < x.TextBytes {
		return nil
	}
	if _, err := document.Decode(content.Text, document.Limits{}); err != nil {
		return r.refuseDocument(ctx, last, knowledge.Invalid("document_text", "is not what an export gives"))
	}
	if err := r.flush(ctx); err != nil {
		return err
	}
	number := r.document.line.Number
	write := knowledge.DocumentWrite{Document: x.Document, DocumentContent: content, Mode: r.x.Mode}
	r.last = &last
	var checkpoint knowledge.Import
	err := r.Store.Atomically(ctx, r.tenant, func(session knowledge.Session) error {
		r.faults, r.bad = nil, 0
		written := int64(1)
		_, _, err := session.PutDocument(ctx, r.tenant, r.target(), write)
		switch bad := errors.Is(err, knowledge.ErrInvalid) || errors.Is(err, knowledge.ErrConflict); {
		case bad && r.x.OnError == knowledge.Skip:
			r.note(number, err)
			written = 0
		case bad:
			return atLine(number, err)
		case err != nil:
			return err
		}
		checkpoint = r.checkpoint(written)
		return session.PutImport(ctx, r.tenant, checkpoint)
	})
	if err != nil {
		return err
	}
	r.document = importedDocument{}
	r.settle(checkpoint)
	return nil
}
