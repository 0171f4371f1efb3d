package api

import (
	"context"

	"github.com/tars-project/tars/api/body"
	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ingest"
	"github.com/tars-project/tars/knowledge/jobs"
)

// reembedder starts the job that carries a collection over to another embedder.
type reembedder interface {
	Reembed(ctx context.Context, tenant knowledge.TenantID, x ingest.Reembedding) (jobs.Job, error)
}

// ReembedCollection implements reembedCollection.
func (s *Server) ReembedCollection(ctx context.Context, r oapi.ReembedCollectionRequestObject) (oapi.ReembedCollectionResponseObject, error) {
	name, err := named("collection", r.Collection, knowledge.ParseCollectionName)
	if err != nil {
		return nil, err
	}
	c, err := s.services.Collections.Resolve(ctx, tenantOf(ctx), name)
	if err != nil {
		return nil, err
	}
	if c.View != nil {
		return nil, knowledge.WriteThroughView(name)
	}
	x := ingest.Reembedding{From: c.Name}
	if c.Name != name {
		x.Alias = name
	}
	if x.To, err = s.reembedded(ctx, c.Collection, r.Body); err != nil {
		return nil, err
	}
	job, err := s.services.Reembedder.Reembed(ctx, tenantOf(ctx), x)
	if err != nil {
		return nil, err
	}
	return oapi.ReembedCollection202JSONResponse(jobOut(job)), nil
}

// reembedded makes the collection that records are to be carried to, and returns its
// name.
func (s *Server) reembedded(ctx context.Context, c knowledge.Collection, b *body.ReembedRequest) (knowledge.CollectionName, error) {
	embedder, err := s.embedder(ctx, b.Embedder)
	if err != nil {
		return "", err
	}
	if embedder.Info() == c.Embedder {
		return "", knowledge.Invalid("embedder", "is the collection's own; need another one")
	}
	to := c
	if to.Name = b.Into; to.Name == "" {
		name := string(c.Name) + "-" + b.Embedder
		if to.Name, err = named("into", name, knowledge.ParseCollectionName); err != nil {
			return "", err // it is too long: the caller has to give one
		}
	}
	to.Embedder = embedder.Info()
	if to, err = to.Validate(); err != nil {
		return "", err
	}
	stored, _, err := s.services.Collections.PutCollection(ctx, tenantOf(ctx), to)
	switch {
	case err != nil:
		return "", err
	case stored.Records > 0:
		return "", knowledge.Conflict("into", "is a collection that has %d records; need a new name, or one without records", stored.Records)
	}
	return to.Name, nil
}
