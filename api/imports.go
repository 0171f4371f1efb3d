package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ingest"
)

// maxImports is how many imports this server takes at once; each may hold some
// 30 MiB.
const maxImports = 8

// importer writes a body piece by piece.
type importer interface {
	Import(ctx context.Context, tenant knowledge.TenantID, x knowledge.Import, lines ingest.Lines) (knowledge.Import, error)
}

// ImportRecords implements importRecords.
func (s *Server) ImportRecords(ctx context.Context, r oapi.ImportRecordsRequestObject) (oapi.ImportRecordsResponseObject, error) {
	collection, err := named("collection", r.Collection, knowledge.ParseCollectionName)
	if err != nil {
		return nil, err
	}
	asked := knowledge.Import{Collection: collection, Mode: knowledge.Upsert, OnError: knowledge.Fail}
	if r.Params.Mode != nil {
		asked.Mode = knowledge.WriteMode(*r.Params.Mode)
	}
	if r.Params.OnError != nil {
		asked.OnError = knowledge.OnError(*r.Params.OnError)
	}
	return s.importBody(ctx, asked, r.Params.IdempotencyKey, r.Params.Resume, r.Body)
}

// ImportTenant implements importTenant.
func (s *Server) ImportTenant(ctx context.Context, r oapi.ImportTenantRequestObject) (oapi.ImportTenantResponseObject, error) {
	asked := knowledge.Import{Mode: knowledge.Restore, OnError: knowledge.Fail}
	return s.importBody(ctx, asked, r.Params.IdempotencyKey, r.Params.Resume, r.Body)
}

// importBody begins or resumes an import, and carries it out.
func (s *Server) importBody(ctx context.Context, asked knowledge.Import, key, resume *string, body io.Reader) (imported, error) {
	select {
	case s.imports <- struct{}{}:
		defer func() { <-s.imports }()
	default:
		return imported{}, knowledge.Limit("this server has as many imports under way as it may")
	}
	plain, err := unpacked(body, strings.ToLower(sentBy(ctx).header.Get("Content-Encoding")))
	if err != nil {
		return imported{}, err
	}
	defer plain.Close()
	lines := newLineReader(plain, asked.Collection == "")
	x, err := s.beginImport(ctx, asked, key, resume)
	switch {
	case err != nil:
		return imported{}, err
	case x.State == knowledge.ImportFinished:
		same, err := lines.same(x)
		if err == nil && !same {
			err = knowledge.ErrReused
		}
		return imported{x, true}, err
	}
	if err := lines.skip(x); err != nil {
		return imported{}, s.interrupt(ctx, x, err)
	}
	if x, err = s.services.Importer.Import(ctx, tenantOf(ctx), x, lines); err != nil {
		return imported{}, err
	}
	x, err = s.services.Records.Import(ctx, tenantOf(ctx), x.ID) // as a repetition would see it
	return imported{x, false}, err
}

// beginImport returns the import to carry out, or one that has finished already.
func (s *Server) beginImport(ctx context.Context, asked knowledge.Import, key, resume *string) (knowledge.Import, error) {
	tenant := tenantOf(ctx)
	asked.Principal = principalOf(ctx).KeyID
	if key != nil {
		if _, err := attemptOf(ctx, *key); err != nil {
			return asked, err
		}
		asked.Key = *key
	}
	if resume == nil {
		return s.services.Records.StartImport(ctx, tenant, asked)
	}
	if key != nil {
		return asked, knowledge.Invalid("resume", "is given beside an Idempotency-Key, which resumes by itself; need one of them")
	}
	x, err := s.services.Records.Import(ctx, tenant, knowledge.ImportID(*resume))
	if err != nil {
		return x, err
	}
	if x.Collection != asked.Collection {
		return x, knowledge.NotFound("import", x.ID)
	}
	return s.services.Records.ResumeImport(ctx, tenant, x.ID)
}

// interrupt notes that an import stopped before its first line.
func (s *Server) interrupt(ctx context.Context, x knowledge.Import, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	x.State = knowledge.ImportInterrupted
	if err := s.services.Records.PutImport(ctx, tenantOf(ctx), x); err != nil {
		return fmt.Errorf("%w; and %w", cause, err)
	}
	return cause
}

// GetImport implements getImport.
func (s *Server) GetImport(ctx context.Context, r oapi.GetImportRequestObject) (oapi.GetImportResponseObject, error) {
	x, err := s.services.Records.Import(ctx, tenantOf(ctx), knowledge.ImportID(r.Import))
	if err != nil {
		return nil, err
	}
	return oapi.GetImport200JSONResponse(importOut(x)), nil
}

// imported is the answer to an import.
type imported struct {
	knowledge.Import
	replayed bool
}

// VisitImportRecordsResponse implements [oapi.ImportRecordsResponseObject].
func (x imported) VisitImportRecordsResponse(w http.ResponseWriter) error {
	x.before(w)
	return oapi.ImportRecords200JSONResponse(importOut(x.Import)).VisitImportRecordsResponse(w)
}

// VisitImportTenantResponse implements [oapi.ImportTenantResponseObject].
func (x imported) VisitImportTenantResponse(w http.ResponseWriter) error {
	x.before(w)
	return oapi.ImportTenant200JSONResponse(importOut(x.Import)).VisitImportTenantResponse(w)
}

func (x imported) before(w http.ResponseWriter) {
	if x.replayed {
		w.Header().Set("Idempotency-Replayed", "true")
	}
}

func importOut(x knowledge.Import) oapi.Import {
	return oapi.Import{
		Id: string(x.ID), Collection: given(string(x.Collection)), Mode: oapi.ImportMode(x.Mode), OnError: oapi.ImportOnError(x.OnError),
		State: oapi.ImportState(x.State), Lines: x.Lines, Bytes: x.Bytes, Written: x.Written, Failed: x.Failed,
		Faults: each(x.Faults, func(f knowledge.LineFault) oapi.LineFault {
			return oapi.LineFault{Line: f.Line, Code: oapi.LineFaultCode(f.Code), Field: f.Field, Detail: f.Detail}
		}),
		CreatedAt: x.Created, UpdatedAt: x.Updated,
	}
}
