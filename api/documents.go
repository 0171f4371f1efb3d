package api

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/tars-project/tars/api/body"
	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ingest"
	"github.com/tars-project/tars/knowledge/query"
)

// How many documents this server takes at once, of all tenants and of each; each may
// be held in memory several times over.
const (
	maxDocuments     = 16
	maxDocumentsEach = 8
)

// documents makes documents ready to be written.
type documents interface {
	Prepare(ctx context.Context, tenant knowledge.TenantID, collection knowledge.CollectionName, n ingest.NewDocument) (ingest.PreparedDocument, error)
}

// PutDocument implements putDocument.
func (s *Server) PutDocument(ctx context.Context, r oapi.PutDocumentRequestObject) (oapi.PutDocumentResponseObject, error) {
	collection, id, err := documentPath(r.Collection, r.Id)
	if err != nil {
		return nil, err
	}
	release, err := s.documents.take(tenantOf(ctx))
	if err != nil {
		return nil, err
	}
	defer release()
	n, err := newDocument(ctx, id, r)
	if err != nil {
		return nil, err
	}
	if kept, ok, err := replayed[oapi.PutDocumentResponseObject](ctx, s, r.Params.IdempotencyKey); ok || err != nil {
		return kept, err
	}
	prepared, err := s.services.Documents.Prepare(ctx, tenantOf(ctx), collection, n)
	if err != nil {
		return nil, err
	}
	return onceAtomically(ctx, s, r.Params.IdempotencyKey, oapi.PutDocumentResponseObject.VisitPutDocumentResponse,
		func(session knowledge.Session) (oapi.PutDocumentResponseObject, error) {
			done, err := prepared.Put(ctx, session, tenantOf(ctx), collection)
			if err != nil {
				return nil, err
			}
			return putDocument{done}, nil
		})
}

// newDocument reads a document with all of its body.
func newDocument(ctx context.Context, id knowledge.DocumentID, r oapi.PutDocumentRequestObject) (n ingest.NewDocument, err error) {
	n.ID = id
	if n.IfVersion, err = matching(r.Params.IfMatch, 0); err != nil {
		return n, err
	}
	if r.Params.Title != nil {
		n.Title = *r.Params.Title
	}
	if r.Params.Metadata != nil {
		if err := body.Decode(strings.NewReader(*r.Params.Metadata), (*body.Metadata)(&n.Metadata)); err != nil {
			return n, knowledge.At("metadata", err)
		}
	}
	if r.Params.ExpiresAt != nil {
		if n.Expires, err = body.Moment(*r.Params.ExpiresAt); err != nil {
			return n, knowledge.At("expires_at", err)
		}
	}
	if r.Params.Chunker != nil {
		n.Chunker = &query.PluginCall{Name: *r.Params.Chunker}
		if r.Params.ChunkerVersion != nil {
			n.Chunker.Version = *r.Params.ChunkerVersion
		}
	} else if r.Params.ChunkerVersion != nil {
		return n, knowledge.Invalid("chunker_version", "is given without chunker; need both")
	}
	n.MediaType = mediaTypeOf(sentBy(ctx).header)
	n.Source, err = io.ReadAll(r.Body)
	return n, err
}

// mediaTypeOf is the type of a body, which the guard has checked, without parameters
// but for a charset that is not UTF-8.
func mediaTypeOf(h http.Header) string {
	mediaType, parameters, _ := mime.ParseMediaType(h.Get("Content-Type"))
	if charset, ok := parameters["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return mime.FormatMediaType(mediaType, map[string]string{"charset": strings.ToLower(charset)})
	}
	return mediaType
}

// putDocument is the answer to the writing of a document.
type putDocument struct{ ingest.PutResult }

// VisitPutDocumentResponse implements [oapi.PutDocumentResponseObject].
func (r putDocument) VisitPutDocumentResponse(w http.ResponseWriter) error {
	w.Header().Set("ETag", etag(r.Version))
	out := oapi.PutDocument{DocumentInfo: documentOut(r.Document), Unchanged: r.Unchanged, Embedded: r.Embedded}
	if r.Version == 1 && !r.Unchanged {
		return oapi.PutDocument201JSONResponse(out).VisitPutDocumentResponse(w)
	}
	return oapi.PutDocument200JSONResponse(out).VisitPutDocumentResponse(w)
}

// GetDocument implements getDocument.
func (s *Server) GetDocument(ctx context.Context, r oapi.GetDocumentRequestObject) (oapi.GetDocumentResponseObject, error) {
	collection, id, err := documentPath(r.Collection, r.Id)
	if err != nil {
		return nil, err
	}
	found, err := s.services.Records.Document(ctx, tenantOf(ctx), collection, id)
	if err != nil {
		return nil, err
	}
	return gotDocument{oapi.GetDocument200JSONResponse(documentOut(found))}, nil
}

// gotDocument is what is known of a document, with its ETag.
type gotDocument struct {
	oapi.GetDocument200JSONResponse
}

// VisitGetDocumentResponse implements [oapi.GetDocumentResponseObject].
func (r gotDocument) VisitGetDocumentResponse(w http.ResponseWriter) error {
	w.Header().Set("ETag", etag(r.Version))
	return r.GetDocument200JSONResponse.VisitGetDocumentResponse(w)
}

// DeleteDocument implements deleteDocument.
func (s *Server) DeleteDocument(ctx context.Context, r oapi.DeleteDocumentRequestObject) (oapi.DeleteDocumentResponseObject, error) {
	collection, id, err := documentPath(r.Collection, r.Id)
	if err != nil {
		return nil, err
	}
	version, err := matching(r.Params.IfMatch, 0)
	if err != nil {
		return nil, err
	}
	return onceAtomically(ctx, s, r.Params.IdempotencyKey, oapi.DeleteDocumentResponseObject.VisitDeleteDocumentResponse,
		func(session knowledge.Session) (oapi.DeleteDocumentResponseObject, error) {
			return oapi.DeleteDocument204Response{}, ingest.DeleteDocument(ctx, session, tenantOf(ctx), collection, id, version)
		})
}

// ListDocuments implements listDocuments.
func (s *Server) ListDocuments(ctx context.Context, r oapi.ListDocumentsRequestObject) (oapi.ListDocumentsResponseObject, error) {
	collection, err := named("collection", r.Collection, knowledge.ParseCollectionName)
	if err != nil {
		return nil, err
	}
	list := knowledge.DocumentList{}
	if r.Params.Prefix != nil {
		list.Prefix = *r.Params.Prefix
	}
	found, next, err := page("documents", r.Params.Cursor, r.Params.Limit, knowledge.ParseDocumentID,
		func(after knowledge.DocumentID, limit int) ([]knowledge.Document, error) {
			list.After, list.Limit = after, limit
			return s.services.Records.ListDocuments(ctx, tenantOf(ctx), collection, list)
		},
		func(d knowledge.Document) string { return string(d.ID) })
	if err != nil {
		return nil, err
	}
	return oapi.ListDocuments200JSONResponse{Documents: each(found, documentOut), NextCursor: next}, nil
}

// GetDocumentSource implements getDocumentSource.
func (s *Server) GetDocumentSource(ctx context.Context, r oapi.GetDocumentSourceRequestObject) (oapi.GetDocumentSourceResponseObject, error) {
	found, content, err := s.content(ctx, r.Collection, r.Id)
	if err != nil {
		return nil, err
	}
	disposition := mime.FormatMediaType("attachment", map[string]string{"filename": path.Base(string(found.ID))})
	if disposition == "" { // no such name can be written
		disposition = "attachment"
	}
	return file{found.MediaType, disposition, found.Version, content.Source}, nil
}

// GetDocumentText implements getDocumentText.
func (s *Server) GetDocumentText(ctx context.Context, r oapi.GetDocumentTextRequestObject) (oapi.GetDocumentTextResponseObject, error) {
	found, content, err := s.content(ctx, r.Collection, r.Id)
	if err != nil {
		return nil, err
	}
	text, err := ingest.TextOf(content)
	if err != nil {
		return nil, err
	}
	return file{"text/plain; charset=utf-8", "inline", found.Version, []byte(text.Text)}, nil
}

// content reads a document with its content.
func (s *Server) content(ctx context.Context, collection, document string) (knowledge.Document, knowledge.DocumentContent, error) {
	name, id, err := documentPath(collection, document)
	if err != nil {
		return knowledge.Document{}, knowledge.DocumentContent{}, err
	}
	return s.services.Records.DocumentContent(ctx, tenantOf(ctx), name, id)
}

// file is an answer of bytes that somebody brought, which no browser may take for a
// page of this server.
type file struct {
	mediaType, disposition string
	version                int64
	data                   []byte
}

// VisitGetDocumentSourceResponse implements [oapi.GetDocumentSourceResponseObject].
func (f file) VisitGetDocumentSourceResponse(w http.ResponseWriter) error { return f.write(w) }

// VisitGetDocumentTextResponse implements [oapi.GetDocumentTextResponseObject].
func (f file) VisitGetDocumentTextResponse(w http.ResponseWriter) error { return f.write(w) }

func (f file) write(w http.ResponseWriter) error {
	header := w.Header()
	header.Set("Content-Type", f.mediaType)
	header.Set("Content-Disposition", f.disposition)
	header.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	header.Set("Content-Length", strconv.Itoa(len(f.data)))
	header.Set("ETag", etag(f.version))
	w.WriteHeader(http.StatusOK)
	if _, err := w.Write(f.data); err != nil {
		return fmt.Errorf("%w: %w", context.Canceled, err) // the client has gone, or does not read
	}
	return nil
}

// LocateInDocument implements locateInDocument.
func (s *Server) LocateInDocument(ctx context.Context, r oapi.LocateInDocumentRequestObject) (oapi.LocateInDocumentResponseObject, error) {
	collection, id, err := documentPath(r.Collection, r.Id)
	if err != nil {
		return nil, err
	}
	q := ingest.Quotation{Document: id}
	for _, p := range []struct {
		from *int
		into *int
	}{{r.Params.Passage, &q.Passage}, {r.Params.Start, &q.Start}, {r.Params.End, &q.End}} {
		if p.from != nil {
			*p.into = *p.from
		}
	}
	if r.Params.Version != nil {
		q.Version = *r.Params.Version
	}
	found, err := ingest.Locate(ctx, s.services.Records, tenantOf(ctx), collection, q)
	if err != nil {
		return nil, err
	}
	out := oapi.LocateInDocument200JSONResponse{
		Document: string(id), Version: found.Document.Version, Passage: q.Passage, RecordVersion: found.RecordVersion,
		Headings: each(found.Headings, func(h string) string { return h }), Page: given(found.Page), Text: rangeOut(found.Text),
	}
	if found.Source != nil {
		source := rangeOut(*found.Source)
		out.Source = &source
	}
	return out, nil
}

func rangeOut(r ingest.Range) oapi.DocumentRange {
	return oapi.DocumentRange{Start: r.Start, End: r.End, Quote: given(r.Quote)}
}

func documentPath(collection, document string) (knowledge.CollectionName, knowledge.DocumentID, error) {
	c, err := named("collection", collection, knowledge.ParseCollectionName)
	if err != nil {
		return "", "", err
	}
	id, err := named("id", document, knowledge.ParseDocumentID)
	return c, id, err
}

func documentOut(d knowledge.Document) oapi.DocumentInfo {
	return oapi.DocumentInfo{
		Id: string(d.ID), Title: d.Title, MediaType: d.MediaType, SizeBytes: d.Size, Sha256: d.Hash.String(), Chunker: d.Chunker,
		Metadata: metadataOut(d.Metadata), Passages: d.Passages, ExpiresAt: timeOut(d.Expires),
		Version: d.Version, CreatedAt: d.Created, UpdatedAt: d.Updated,
	}
}
