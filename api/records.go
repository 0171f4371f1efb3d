package api

import (
	"context"

	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge"
)

// records reads and deletes single records.
type records interface {
	Record(ctx context.Context, tenant knowledge.TenantID, collection knowledge.CollectionName, id knowledge.RecordID) (knowledge.Record, error)
	DeleteRecord(ctx context.Context, tenant knowledge.TenantID, collection knowledge.CollectionName, id knowledge.RecordID) error
}

// writer writes records, and makes the vectors of those that lack one.
type writer interface {
	Put(ctx context.Context, tenant knowledge.TenantID, collection knowledge.CollectionName, records []knowledge.Record) ([]int64, error)
}

// PutRecords implements putRecords.
func (s *Server) PutRecords(ctx context.Context, r oapi.PutRecordsRequestObject) (oapi.PutRecordsResponseObject, error) {
	collection, err := named("collection", r.Collection, knowledge.ParseCollectionName)
	if err != nil {
		return nil, err
	}
	versions, err := s.services.Writer.Put(ctx, tenantOf(ctx), collection, r.Body.Records)
	if err != nil {
		return nil, err
	}
	results := make([]oapi.RecordResult, len(versions))
	for i, version := range versions {
		results[i] = oapi.RecordResult{Id: string(r.Body.Records[i].ID), Version: version}
	}
	return oapi.PutRecords200JSONResponse{Results: results, Count: len(results)}, nil
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
	return oapi.GetRecord200JSONResponse{
		Id: string(found.ID), Text: found.Text, Vector: found.Vector, Metadata: metadataOut(found.Metadata),
		ExpiresAt: timeOut(found.Expires), Version: found.Version, CreatedAt: found.Created, UpdatedAt: found.Updated,
	}, nil
}

// DeleteRecord implements deleteRecord.
func (s *Server) DeleteRecord(ctx context.Context, r oapi.DeleteRecordRequestObject) (oapi.DeleteRecordResponseObject, error) {
	collection, id, err := recordPath(r.Collection, r.Id)
	if err != nil {
		return nil, err
	}
	if err := s.services.Records.DeleteRecord(ctx, tenantOf(ctx), collection, id); err != nil {
		return nil, err
	}
	return oapi.DeleteRecord204Response{}, nil
}

func recordPath(collection, id string) (knowledge.CollectionName, knowledge.RecordID, error) {
	c, err := named("collection", collection, knowledge.ParseCollectionName)
	if err != nil {
		return "", "", err
	}
	r, err := named("id", id, knowledge.ParseRecordID)
	return c, r, err
}

func metadataOut(m map[string]any) oapi.Metadata {
	if m == nil {
		return oapi.Metadata{}
	}
	return m
}
