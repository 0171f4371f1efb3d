package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strings"

	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge"
)

// sent is what a handler may need of a request beside parameters and body.
type sent struct {
	route  string // method, path, query and If-Match
	header http.Header
	body   hash.Hash // of what was read of the body; nil without an Idempotency-Key
	notes  notes     // for the audit log
}

type sentKey struct{}

// withSent notes what of the request goes to its handler, and has the body hashed
// if the handler will want that; imports have hashes of their own.
func withSent(r *http.Request, op *operation) *http.Request {
	s := &sent{
		route:  r.Method + " " + r.URL.RequestURI() + " " + strings.Join(r.Header.Values("If-Match"), ","),
		header: r.Header,
	}
	if r.Header.Get(headerKey) != "" && len(op.mediaTypes) > 0 && !op.stream {
		s.body = sha256.New()
		r.Body = hashed{r.Body, s.body}
	}
	return r.WithContext(context.WithValue(r.Context(), sentKey{}, s))
}

const headerKey = "Idempotency-Key"

// hashed is a body that is hashed while it is read.
type hashed struct {
	io.ReadCloser
	sum hash.Hash
}

func (h hashed) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	h.sum.Write(p[:n])
	return n, err
}

// sentBy returns what withSent noted.
func sentBy(ctx context.Context) *sent {
	s, ok := ctx.Value(sentKey{}).(*sent)
	if !ok {
		panic("api: a handler was reached without its request")
	}
	return s
}

// attemptOf describes a request with an Idempotency-Key whose body has been read.
func attemptOf(ctx context.Context, key string) (knowledge.Attempt, error) {
	s := sentBy(ctx)
	if n := len(s.header.Values(headerKey)); n != 1 {
		return knowledge.Attempt{}, knowledge.Invalid(headerKey, "is given %d times; need it once", n)
	}
	if err := knowledge.CheckIdempotencyKey(key); err != nil {
		return knowledge.Attempt{}, knowledge.At(headerKey, err)
	}
	a := knowledge.Attempt{Key: key, Route: s.route, Principal: principalOf(ctx).KeyID}
	if s.body != nil {
		s.body.Sum(a.Body[:0])
	}
	return a, nil
}

// once carries out a request that changes something: do, with a session of the
// store. With an Idempotency-Key that is done once, in the transaction that keeps
// the answer for repetitions. visit is the method by which the answer is written;
// [kept] must have it too.
func once[R any](ctx context.Context, s *Server, key *string, visit func(R, http.ResponseWriter) error, do func(knowledge.Session) (R, error)) (R, error) {
	var none R
	if key == nil {
		return do(s.services.Records)
	}
	attempt, err := attemptOf(ctx, *key)
	if err != nil {
		return none, err
	}
	reply, replayed, err := s.services.Records.Once(ctx, tenantOf(ctx), attempt, func(session knowledge.Session) (knowledge.Reply, error) {
		response, err := do(session)
		if err != nil {
			return knowledge.Reply{}, err
		}
		return recorded(func(w http.ResponseWriter) error { return visit(response, w) })
	})
	if err != nil {
		return none, err
	}
	return keptAs[R](reply, replayed)
}

// onceAtomically is once for what needs a transaction with an Idempotency-Key and
// without.
func onceAtomically[R any](ctx context.Context, s *Server, key *string, visit func(R, http.ResponseWriter) error, do func(knowledge.Session) (R, error)) (response R, err error) {
	if key != nil {
		return once(ctx, s, key, visit, do)
	}
	err = s.services.Records.Atomically(ctx, tenantOf(ctx), func(session knowledge.Session) (err error) {
		response, err = do(session)
		return err
	})
	return response, err
}

// replayed returns the answer that was kept for a request, if there is one, so that
// it need not be prepared again.
func replayed[R any](ctx context.Context, s *Server, key *string) (response R, ok bool, err error) {
	if key == nil {
		return response, false, nil
	}
	attempt, err := attemptOf(ctx, *key)
	if err != nil {
		return response, false, err
	}
	reply, ok, err := s.services.Records.Replay(ctx, tenantOf(ctx), attempt)
	if !ok || err != nil {
		return response, false, err
	}
	response, err = keptAs[R](reply, true)
	return response, true, err
}

func keptAs[R any](reply knowledge.Reply, replayed bool) (R, error) {
	response, ok := any(kept{reply, replayed}).(R)
	if !ok {
		return response, fmt.Errorf("a kept reply is no %T", &response)
	}
	return response, nil
}

// kept is an answer that was written before.
type kept struct {
	knowledge.Reply
	replayed bool
}

func (k kept) write(w http.ResponseWriter) error {
	for name, value := range k.Header {
		w.Header().Set(name, value)
	}
	if k.replayed {
		w.Header().Set("Idempotency-Replayed", "true")
	}
	w.WriteHeader(k.Status)
	_, err := w.Write(k.Body)
	return err
}

// The operations whose answers are kept.
var (
	_ oapi.PutCollectionResponseObject    = kept{}
	_ oapi.DeleteCollectionResponseObject = kept{}
	_ oapi.PutRecordsResponseObject       = kept{}
	_ oapi.PatchRecordResponseObject      = kept{}
	_ oapi.DeleteRecordResponseObject     = kept{}
	_ oapi.DeleteRecordsResponseObject    = kept{}
	_ oapi.PutDocumentResponseObject      = kept{}
	_ oapi.DeleteDocumentResponseObject   = kept{}
)

// VisitPutCollectionResponse implements [oapi.PutCollectionResponseObject].
func (k kept) VisitPutCollectionResponse(w http.ResponseWriter) error { return k.write(w) }

// VisitDeleteCollectionResponse implements [oapi.DeleteCollectionResponseObject].
func (k kept) VisitDeleteCollectionResponse(w http.ResponseWriter) error { return k.write(w) }

// VisitPutDocumentResponse implements [oapi.PutDocumentResponseObject].
func (k kept) VisitPutDocumentResponse(w http.ResponseWriter) error { return k.write(w) }

// VisitDeleteDocumentResponse implements [oapi.DeleteDocumentResponseObject].
func (k kept) VisitDeleteDocumentResponse(w http.ResponseWriter) error { return k.write(w) }

// VisitPutRecordsResponse implements [oapi.PutRecordsResponseObject].
func (k kept) VisitPutRecordsResponse(w http.ResponseWriter) error { return k.write(w) }

// VisitPatchRecordResponse implements [oapi.PatchRecordResponseObject].
func (k kept) VisitPatchRecordResponse(w http.ResponseWriter) error { return k.write(w) }

// VisitDeleteRecordResponse implements [oapi.DeleteRecordResponseObject].
func (k kept) VisitDeleteRecordResponse(w http.ResponseWriter) error { return k.write(w) }

// VisitDeleteRecordsResponse implements [oapi.DeleteRecordsResponseObject].
func (k kept) VisitDeleteRecordsResponse(w http.ResponseWriter) error { return k.write(w) }

// recorded returns what visit writes, as a reply.
func recorded(visit func(http.ResponseWriter) error) (knowledge.Reply, error) {
	r := &recording{header: http.Header{}, status: http.StatusOK}
	if err := visit(r); err != nil {
		return knowledge.Reply{}, err
	}
	reply := knowledge.Reply{Status: r.status, Header: map[string]string{}, Body: r.body.Bytes()}
	for name := range r.header {
		reply.Header[name] = r.header.Get(name)
	}
	return reply, nil
}

// recording keeps an answer.
type recording struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recording) Header() http.Header         { return r.header }
func (r *recording) WriteHeader(status int)      { r.status = status }
func (r *recording) Write(p []byte) (int, error) { return r.body.Write(p) }
