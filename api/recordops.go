package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge"
)

// mostDeleted is how many records one request deletes.
const mostDeleted = 100_000

// DeleteRecords implements deleteRecords.
func (s *Server) DeleteRecords(ctx context.Context, r oapi.DeleteRecordsRequestObject) (oapi.DeleteRecordsResponseObject, error) {
	collection, err := named("collection", r.Collection, knowledge.ParseCollectionName)
	if err != nil {
		return nil, err
	}
	return once(ctx, s, r.Params.IdempotencyKey, oapi.DeleteRecordsResponseObject.VisitDeleteRecordsResponse,
		func(session knowledge.Session) (oapi.DeleteRecordsResponseObject, error) {
			deleted, err := session.DeleteRecords(ctx, tenantOf(ctx), collection, r.Body.Selection, mostDeleted)
			if err != nil {
				return nil, err
			}
			return oapi.DeleteRecords200JSONResponse{Deleted: deleted.Count, More: deleted.More}, nil
		})
}

// CountRecords implements countRecords.
func (s *Server) CountRecords(ctx context.Context, r oapi.CountRecordsRequestObject) (oapi.CountRecordsResponseObject, error) {
	collection, err := named("collection", r.Collection, knowledge.ParseCollectionName)
	if err != nil {
		return nil, err
	}
	count, err := s.services.Records.CountRecords(ctx, tenantOf(ctx), collection, r.Body.Filter, r.Body.Exact)
	if err != nil {
		return nil, err
	}
	return oapi.CountRecords200JSONResponse{Count: count.Records, Estimate: count.Estimate}, nil
}

// ScrollRecords implements scrollRecords.
func (s *Server) ScrollRecords(ctx context.Context, r oapi.ScrollRecordsRequestObject) (oapi.ScrollRecordsResponseObject, error) {
	collection, err := named("collection", r.Collection, knowledge.ParseCollectionName)
	if err != nil {
		return nil, err
	}
	scroll := r.Body.Scroll
	list, err := scrollList(collection, scroll.Filter)
	if err != nil {
		return nil, err
	}
	if r.Body.Cursor != "" {
		key, ok := parseCursor(list, r.Body.Cursor)
		if scroll.After, err = knowledge.ParseRecordID(key); err != nil || !ok {
			return nil, knowledge.Invalid("cursor", "is not one that this collection gave for this filter")
		}
	}
	page, err := s.services.Records.ScrollRecords(ctx, tenantOf(ctx), collection, scroll)
	if err != nil {
		return nil, err
	}
	out := oapi.ScrollRecords200JSONResponse{Records: each(page.Records, func(r knowledge.Record) oapi.ScrolledRecord {
		return scrolledOut(r, scroll)
	})}
	if page.More {
		next := newCursor(list, string(page.Records[len(page.Records)-1].ID))
		out.NextCursor = &next
	}
	return out, nil
}

// scrollList names what a cursor of a scroll belongs to. Filters that differ give
// names that differ, but for a chance of one in 2^64.
func scrollList(collection knowledge.CollectionName, filter knowledge.Filter) (string, error) {
	text, err := json.Marshal(filter)
	if err != nil {
		return "", fmt.Errorf("encode filter: %w", err)
	}
	sum := sha256.Sum256(text)
	return strings.Join([]string{"records", string(collection), hex.EncodeToString(sum[:8])}, "/"), nil
}

func scrolledOut(r knowledge.Record, scroll knowledge.Scroll) oapi.ScrolledRecord {
	out := oapi.ScrolledRecord{
		Id: string(r.ID), ExpiresAt: timeOut(r.Expires), Version: r.Version, CreatedAt: r.Created, UpdatedAt: r.Updated,
	}
	if scroll.Text {
		out.Text = &r.Text
	}
	if scroll.Vector {
		out.Vector = &r.Vector
	}
	if scroll.Metadata {
		metadata := metadataOut(r.Metadata)
		out.Metadata = &metadata
	}
	return out
}
