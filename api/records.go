package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ingest"
	"github.com/tars-project/tars/knowledge/query"
)

// records keeps records.
type records interface{ knowledge.Store }

// writer makes writes ready, with the vectors of texts.
type writer interface {
	Prepare(ctx context.Context, tenant knowledge.TenantID, collection knowledge.CollectionName, w knowledge.Write) (ingest.Prepared, error)
}

// PutRecords implements putRecords.
func (s *Server) PutRecords(ctx context.Context, r oapi.PutRecordsRequestObject) (oapi.PutRecordsResponseObject, error) {
	collection, err := named("collection", r.Collection, knowledge.ParseCollectionName)
	if err != nil {
		return nil, err
	}
	if kept, ok, err := replayed[oapi.PutRecordsResponseObject](ctx, s, r.Params.IdempotencyKey); ok || err != nil {
		return kept, err
	}
	prepared, err := s.services.Writer.Prepare(ctx, tenantOf(ctx), collection, r.Body.Write)
	if err != nil {
		return nil, err
	}
	return once(ctx, s, r.Params.IdempotencyKey, oapi.PutRecordsResponseObject.VisitPutRecordsResponse,
		func(session knowledge.Session) (oapi.PutRecordsResponseObject, error) {
			results, err := prepared.Put(ctx, session, tenantOf(ctx), collection)
			if err != nil {
				return nil, err
			}
			return writtenOut(results), nil
		})
}

func writtenOut(results []knowledge.WriteResult) oapi.PutRecords200JSONResponse {
	out := oapi.PutRecords200JSONResponse{Results: make([]oapi.RecordResult, len(results))}
	for i, r := range results {
		out.Results[i].Id = string(r.ID)
		if r.Err == nil {
			out.Count++
			out.Results[i].Version = &results[i].Version
			continue
		}
		out.Failed++
		code, field, detail := faultOf(r.Err)
		out.Results[i].Error = &oapi.RecordError{Code: oapi.RecordErrorCode(code), Field: field, Detail: detail}
	}
	return out
}

// faultOf says what is wrong with one record of many.
func faultOf(err error) (code, field, detail string) {
	var conflict *knowledge.ConflictError
	if errors.As(err, &conflict) {
		return "conflict", conflict.Field, conflict.Detail
	}
	var invalid *knowledge.InvalidError
	if errors.As(err, &invalid) {
		return "invalid", invalid.Field, invalid.Detail
	}
	return "invalid", "", "cannot be written" // no store gives another kind
}

// GetRecord implements getRecord.
func (s *Server) GetRecord(ctx context.Context, r oapi.GetRecordRequestObject) (oapi.GetRecordResponseObject, error) {
	collection, id, err := recordPath(r.Collection, r.Id)
	if err != nil {
		return nil, err
	}
	found, err := s.services.Records.Record(ctx, tenantOf(ctx), collection, id)
	if err != nil {
		return nil, err
	}
	return gotRecord{oapi.GetRecord200JSONResponse{
		Id: string(found.ID), Text: found.Text, Vector: found.Vector, Metadata: metadataOut(found.Metadata),
		ExpiresAt: timeOut(found.Expires), Version: found.Version, CreatedAt: found.Created, UpdatedAt: found.Updated,
	}}, nil
}

// gotRecord is a record with its ETag.
type gotRecord struct{ oapi.GetRecord200JSONResponse }

// VisitGetRecordResponse implements [oapi.GetRecordResponseObject].
func (r gotRecord) VisitGetRecordResponse(w http.ResponseWriter) error {
	w.Header().Set("ETag", etag(r.Version))
	return r.GetRecord200JSONResponse.VisitGetRecordResponse(w)
}

func etag(version int64) string { return strconv.Quote(strconv.FormatInt(version, 10)) }

// PatchRecord implements patchRecord.
func (s *Server) PatchRecord(ctx context.Context, r oapi.PatchRecordRequestObject) (oapi.PatchRecordResponseObject, error) {
	collection, id, err := recordPath(r.Collection, r.Id)
	if err != nil {
		return nil, err
	}
	patch := r.Body.Patch
	patch.ID = id
	if patch.IfVersion, err = matching(r.Params.IfMatch, patch.IfVersion); err != nil {
		return nil, err
	}
	return once(ctx, s, r.Params.IdempotencyKey, oapi.PatchRecordResponseObject.VisitPatchRecordResponse,
		func(session knowledge.Session) (oapi.PatchRecordResponseObject, error) {
			version, err := session.PatchRecord(ctx, tenantOf(ctx), collection, patch)
			var conflict *knowledge.ConflictError
			if r.Params.IfMatch != nil && errors.As(err, &conflict) {
				err = fmt.Errorf("%w: %w", knowledge.ErrPrecondition, err)
			}
			if err != nil {
				return nil, err
			}
			return patchedRecord{oapi.PatchRecord200JSONResponse{Id: string(id), Version: version}}, nil
		})
}

// matching returns the version that a record must have, 0 for any.
func matching(ifMatch *string, ifVersion int64) (int64, error) {
	if ifMatch == nil {
		return ifVersion, nil
	}
	if ifVersion != 0 {
		return 0, knowledge.Invalid("if_version", "is given beside If-Match; need one of them")
	}
	version, err := strconv.ParseInt(strings.Trim(*ifMatch, `"`), 10, 64)
	if err != nil || version < 1 {
		return 0, knowledge.Invalid("If-Match", "is not an ETag that was given")
	}
	return version, nil
}

// patchedRecord is the answer to a patch, with the new ETag.
type patchedRecord struct {
	oapi.PatchRecord200JSONResponse
}

// VisitPatchRecordResponse implements [oapi.PatchRecordResponseObject].
func (r patchedRecord) VisitPatchRecordResponse(w http.ResponseWriter) error {
	w.Header().Set("ETag", etag(r.Version))
	return r.PatchRecord200JSONResponse.VisitPatchRecordResponse(w)
}

// DeleteRecord implements deleteRecord.
func (s *Server) DeleteRecord(ctx context.Context, r oapi.DeleteRecordRequestObject) (oapi.DeleteRecordResponseObject, error) {
	collection, id, err := recordPath(r.Collection, r.Id)
	if err != nil {
		return nil, err
	}
	return once(ctx, s, r.Params.IdempotencyKey, oapi.DeleteRecordResponseObject.VisitDeleteRecordResponse,
		func(session knowledge.Session) (oapi.DeleteRecordResponseObject, error) {
			return oapi.DeleteRecord204Response{}, session.DeleteRecord(ctx, tenantOf(ctx), collection, id)
		})
}

func recordPath(collection, id string) (knowledge.CollectionName, knowledge.RecordID, error) {
	c, err := named("collection", collection, knowledge.ParseCollectionName)
	if err != nil {
		return "", "", err
	}
	r, err := named("id", id, knowledge.ParseRecordID)
	return c, r, err
}

// SearchRecords implements searchRecords.
func (s *Server) SearchRecords(ctx context.Context, r oapi.SearchRecordsRequestObject) (oapi.SearchRecordsResponseObject, error) {
	collection, err := named("collection", r.Collection, knowledge.ParseCollectionName)
	if err != nil {
		return nil, err
	}
	search := query.SearchText(*r.Body)
	search.Collection = collection
	found, err := s.services.Engine.Search(ctx, tenantOf(ctx), search)
	if err != nil {
		return nil, err
	}
	return oapi.SearchRecords200JSONResponse{
		Matches: each(found.Matches, matchOut), Short: found.Short,
		Plan: planOut(found.Plan),
	}, nil
}

func matchOut(m knowledge.Match) oapi.Match {
	return oapi.Match{Id: string(m.ID), Score: m.Score, Text: m.Text, Metadata: metadataOut(m.Metadata), Version: m.Version}
}

func metadataOut(m map[string]any) oapi.Metadata {
	if m == nil {
		return oapi.Metadata{}
	}
	return m
}
