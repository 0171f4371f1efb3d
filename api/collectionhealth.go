package api

import (
	"context"

	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge"
)

// healths tells how well searches are served. Both stores have it.
type healths interface {
	Health(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName) (knowledge.Health, error)
}

// GetCollectionHealth implements getCollectionHealth.
func (s *Server) GetCollectionHealth(ctx context.Context, r oapi.GetCollectionHealthRequestObject) (oapi.GetCollectionHealthResponseObject, error) {
	name, err := named("collection", r.Collection, knowledge.ParseCollectionName)
	if err != nil {
		return nil, err
	}
	h, err := s.services.Health.Health(ctx, tenantOf(ctx), name)
	if err != nil {
		return nil, err
	}
	tier := "shared"
	if h.Own {
		tier = "own"
	}
	return oapi.GetCollectionHealth200JSONResponse{
		Tier: tier, Records: h.Records, Waiting: h.Waiting, IndexBytes: h.IndexBytes, RecallTarget: h.Target,
		Recall: each(h.Recall, bucketRecallOut), Warnings: each(h.Warnings, func(w string) string { return w }),
	}, nil
}

func bucketRecallOut(b knowledge.BucketRecall) oapi.BucketRecall {
	out := oapi.BucketRecall{Bucket: string(b.Bucket), Samples: b.Samples, Ef: b.Ef, Exact: b.Exact}
	if b.Samples > 0 {
		out.Recall = &b.Recall
	}
	return out
}
