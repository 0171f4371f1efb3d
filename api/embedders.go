package api

import (
	"context"
	"time"

	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/embed"
)

// embedders finds the embedders that a tenant may name, and keeps its own.
type embedders interface {
	Get(ctx context.Context, tenant knowledge.TenantID, id string) (knowledge.Embedder, error)
	Put(ctx context.Context, tenant knowledge.TenantID, d embed.Definition, key string) (stored embed.Definition, created bool, err error)
	Entry(ctx context.Context, tenant knowledge.TenantID, id string) (embed.Entry, error)
	List(ctx context.Context, tenant knowledge.TenantID, after string, limit int) ([]embed.Entry, error)
	Delete(ctx context.Context, tenant knowledge.TenantID, name embed.Name) error
}

// PutEmbedder implements putEmbedder. A key that is limited to views may have nothing
// to do with the tenant's servers.
func (s *Server) PutEmbedder(ctx context.Context, r oapi.PutEmbedderRequestObject) (oapi.PutEmbedderResponseObject, error) {
	if err := knowledge.Unlimited(ctx); err != nil {
		return nil, err
	}
	name, err := named("embedder", r.Embedder, embed.ParseName)
	if err != nil {
		return nil, err
	}
	asked := r.Body.Definition
	asked.Name = name
	stored, created, err := s.services.Embedders.Put(ctx, tenantOf(ctx), asked, r.Body.APIKey)
	out := embedderOut(embed.Entry{Info: stored.Info(), Own: &stored})
	switch {
	case err != nil:
		return nil, err
	case created:
		return oapi.PutEmbedder201JSONResponse(out), nil
	default:
		return oapi.PutEmbedder200JSONResponse(out), nil
	}
}

// GetEmbedder implements getEmbedder.
func (s *Server) GetEmbedder(ctx context.Context, r oapi.GetEmbedderRequestObject) (oapi.GetEmbedderResponseObject, error) {
	if err := knowledge.Unlimited(ctx); err != nil {
		return nil, err
	}
	e, err := s.services.Embedders.Entry(ctx, tenantOf(ctx), r.Embedder)
	if err != nil {
		return nil, err
	}
	return oapi.GetEmbedder200JSONResponse(embedderOut(e)), nil
}

// ListEmbedders implements listEmbedders.
func (s *Server) ListEmbedders(ctx context.Context, r oapi.ListEmbeddersRequestObject) (oapi.ListEmbeddersResponseObject, error) {
	if err := knowledge.Unlimited(ctx); err != nil {
		return nil, err
	}
	found, next, err := page("embedders", r.Params.Cursor, r.Params.Limit, knowledge.ParseCollectionName,
		func(after knowledge.CollectionName, limit int) ([]embed.Entry, error) {
			return s.services.Embedders.List(ctx, tenantOf(ctx), string(after), limit)
		},
		func(e embed.Entry) string { return e.Info.ID })
	if err != nil {
		return nil, err
	}
	return oapi.ListEmbedders200JSONResponse{Embedders: each(found, embedderOut), NextCursor: next}, nil
}

// DeleteEmbedder implements deleteEmbedder.
func (s *Server) DeleteEmbedder(ctx context.Context, r oapi.DeleteEmbedderRequestObject) (oapi.DeleteEmbedderResponseObject, error) {
	if err := knowledge.Unlimited(ctx); err != nil {
		return nil, err
	}
	name, err := named("embedder", r.Embedder, embed.ParseName)
	if err != nil {
		return nil, err
	}
	if err := s.services.Embedders.Delete(ctx, tenantOf(ctx), name); err != nil {
		return nil, err
	}
	return oapi.DeleteEmbedder204Response{}, nil
}

func embedderOut(e embed.Entry) oapi.EmbedderEntry {
	out := oapi.EmbedderEntry{Id: e.Info.ID, Scope: oapi.EmbedderEntryScopeNode, Version: e.Info.Version, Dimension: e.Info.Dimension}
	if d := e.Own; d != nil {
		hasKey := d.HasKey()
		out.Scope, out.HasKey = oapi.EmbedderEntryScopeTenant, &hasKey
		out.Provider, out.BaseUrl, out.Model = given(d.Provider), given(d.BaseURL), given(d.Model)
		out.Dimensions, out.QueryPrefix, out.DocumentPrefix = given(d.Options.Dimensions), given(d.Options.QueryPrefix), given(d.Options.DocumentPrefix)
		out.BatchSize, out.Parallel = given(d.Options.BatchSize), given(d.Options.Parallel)
		out.TimeoutMs = given(int(d.Options.Timeout / time.Millisecond))
		out.CreatedAt, out.UpdatedAt = given(d.Created), given(d.Updated)
	}
	return out
}
