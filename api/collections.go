package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/tars-project/tars/api/body"
	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge"
)

// collections keeps definitions.
type collections interface{ knowledge.Collections }

// defaultEmbedder serves a collection that names neither an embedder nor a
// dimension.
const defaultEmbedder = "local"

// PutCollection implements putCollection.
func (s *Server) PutCollection(ctx context.Context, r oapi.PutCollectionRequestObject) (oapi.PutCollectionResponseObject, error) {
	name, err := named("collection", r.Collection, knowledge.ParseCollectionName)
	if err != nil {
		return nil, err
	}
	asked, err := s.definition(ctx, name, r.Body)
	if err != nil {
		return nil, err
	}
	return once(ctx, s, r.Params.IdempotencyKey, oapi.PutCollectionResponseObject.VisitPutCollectionResponse,
		func(session knowledge.Session) (oapi.PutCollectionResponseObject, error) {
			stored, created, err := session.PutCollection(ctx, tenantOf(ctx), asked)
			switch {
			case err != nil:
				return nil, err
			case created:
				return definition{stored, http.StatusCreated}, nil
			default:
				return definition{stored, http.StatusOK}, nil
			}
		})
}

// definition is an answer with a collection and its ETag.
type definition struct {
	knowledge.Collection
	status int
}

func (d definition) write(w http.ResponseWriter) error {
	text, err := json.Marshal(collectionOut(d.Collection))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("ETag", etag(d.Version))
	w.WriteHeader(d.status)
	_, err = w.Write(text)
	return err
}

// VisitPutCollectionResponse implements [oapi.PutCollectionResponseObject].
func (d definition) VisitPutCollectionResponse(w http.ResponseWriter) error { return d.write(w) }

// VisitGetCollectionResponse implements [oapi.GetCollectionResponseObject].
func (d definition) VisitGetCollectionResponse(w http.ResponseWriter) error { return d.write(w) }

// VisitPatchCollectionResponse implements [oapi.PatchCollectionResponseObject].
func (d definition) VisitPatchCollectionResponse(w http.ResponseWriter) error { return d.write(w) }

// PatchCollection implements patchCollection.
func (s *Server) PatchCollection(ctx context.Context, r oapi.PatchCollectionRequestObject) (oapi.PatchCollectionResponseObject, error) {
	name, err := named("collection", r.Collection, knowledge.ParseCollectionName)
	if err != nil {
		return nil, err
	}
	version, err := matching(r.Params.IfMatch, 0)
	if err != nil {
		return nil, err
	}
	changed, err := s.services.Collections.ChangeCollection(ctx, tenantOf(ctx), name, version, func(c knowledge.Collection) (knowledge.Collection, error) {
		id := c.Embedder.ID
		c = r.Body.Apply(c)
		if r.Body.Embedder != "" && r.Body.Embedder != id {
			c.Embedder.ID = r.Body.Embedder // which is refused, for it never changes
		}
		return c, nil
	})
	if err != nil {
		return nil, err
	}
	return definition{changed, http.StatusOK}, nil
}

// EstimateCollection implements estimateCollection.
func (s *Server) EstimateCollection(_ context.Context, r oapi.EstimateCollectionRequestObject) (oapi.EstimateCollectionResponseObject, error) {
	c, err := r.Body.Collection.Validate()
	if err != nil {
		return nil, err
	}
	e, err := c.Estimate(r.Body.Sizing)
	if err != nil {
		return nil, err
	}
	return oapi.EstimateCollection200JSONResponse{
		Rows: r.Body.Sizing.Rows, TableBytes: e.Table, VectorIndexBytes: e.VectorIndex, LexicalIndexBytes: e.LexicalIndex,
		DiskBytes: e.Disk(), BuildMemoryBytes: e.BuildMemory, ResidentBytes: e.Resident, BuildSeconds: e.Build.Seconds(),
		Method: oapi.EstimateMethod(e.Method), Notes: append(c.Notes(), e.Notes()...),
	}, nil
}

// definition pins the collection to the embedder as it is now.
func (s *Server) definition(ctx context.Context, name knowledge.CollectionName, b *body.CollectionDefinition) (knowledge.Collection, error) {
	c := b.Settings
	c.Name = name
	id := b.Embedder
	switch {
	case id == "" && b.Dimension > 0:
		id = knowledge.NoEmbedder
	case id == "":
		id = defaultEmbedder
	}
	if id == knowledge.NoEmbedder {
		if b.Dimension == 0 {
			return c, knowledge.Invalid("dimension", "is missing; a collection without an embedder needs it")
		}
		c.Embedder = knowledge.EmbedderInfo{ID: id, Dimension: b.Dimension}
		return c.Validate()
	}
	embedder, err := s.embedder(ctx, id)
	if err != nil {
		return c, err
	}
	c.Embedder = embedder.Info()
	if b.Dimension != 0 && b.Dimension != c.Dimension() {
		return c, knowledge.Invalid("dimension", "is %d; this embedder's is %d", b.Dimension, c.Dimension())
	}
	return c.Validate()
}

// embedder finds the embedder that a body names.
func (s *Server) embedder(ctx context.Context, id string) (knowledge.Embedder, error) {
	e, err := s.services.Embedders.Get(ctx, tenantOf(ctx), id)
	if errors.Is(err, knowledge.ErrNotFound) {
		return nil, knowledge.Invalid("embedder", "is not one that this node, or the tenant, has")
	}
	return e, err
}

// GetCollection implements getCollection.
func (s *Server) GetCollection(ctx context.Context, r oapi.GetCollectionRequestObject) (oapi.GetCollectionResponseObject, error) {
	name, err := named("collection", r.Collection, knowledge.ParseCollectionName)
	if err != nil {
		return nil, err
	}
	c, err := s.services.Collections.Collection(ctx, tenantOf(ctx), name)
	if err != nil {
		return nil, err
	}
	return definition{c, http.StatusOK}, nil
}

// ListCollections implements listCollections.
func (s *Server) ListCollections(ctx context.Context, r oapi.ListCollectionsRequestObject) (oapi.ListCollectionsResponseObject, error) {
	found, next, err := page("collections", r.Params.Cursor, r.Params.Limit, knowledge.ParseCollectionName,
		func(after knowledge.CollectionName, limit int) ([]knowledge.Collection, error) {
			return s.services.Collections.ListCollections(ctx, tenantOf(ctx), after, limit)
		},
		func(c knowledge.Collection) string { return string(c.Name) })
	if err != nil {
		return nil, err
	}
	return oapi.ListCollections200JSONResponse{Collections: each(found, collectionOut), NextCursor: next}, nil
}

// DeleteCollection implements deleteCollection.
func (s *Server) DeleteCollection(ctx context.Context, r oapi.DeleteCollectionRequestObject) (oapi.DeleteCollectionResponseObject, error) {
	name, err := named("collection", r.Collection, knowledge.ParseCollectionName)
	if err != nil {
		return nil, err
	}
	return once(ctx, s, r.Params.IdempotencyKey, oapi.DeleteCollectionResponseObject.VisitDeleteCollectionResponse,
		func(session knowledge.Session) (oapi.DeleteCollectionResponseObject, error) {
			remove := session.DeleteCollection
			if r.Params.Aliases != nil {
				remove = session.DeleteCollectionAndAliases
			}
			return oapi.DeleteCollection204Response{}, remove(ctx, tenantOf(ctx), name)
		})
}

func collectionOut(c knowledge.Collection) oapi.Collection {
	kind := oapi.IndexKind(c.Index.Kind)
	return oapi.Collection{
		Name: string(c.Name), Dimension: c.Dimension(), Metric: oapi.Metric(c.Metric),
		Embedder: oapi.Embedder{Id: c.Embedder.ID, Version: given(c.Embedder.Version)},
		Index: oapi.Index{
			Kind: &kind, M: given(c.Index.M), EfConstruction: given(c.Index.EfConstruction),
			Quantization: given(oapi.Quantization(c.Index.Quantization)),
		},
		Precision: oapi.Precision(c.Precision), Fields: each(c.Fields, fieldOut), Language: string(c.Language),
		TtlSeconds: given(int64(c.TTL / time.Second)), RecallTarget: c.RecallTarget,
		Defaults: defaultsOut(c.Defaults), Notes: c.Notes(), Records: c.Records, Version: c.Version,
		CreatedAt: c.Created, UpdatedAt: c.Updated, Cache: cacheOut(c.Cache),
	}
}

// cacheOut is the cache of answers, or nil, which is left out, for none.
func cacheOut(c knowledge.AnswerCache) *oapi.AnswerCache {
	if c.MaxAge == 0 {
		return nil
	}
	return &oapi.AnswerCache{MaxAgeSeconds: int(c.MaxAge / time.Second), MaxDistance: given(c.MaxDistance)}
}

func fieldOut(f knowledge.Field) oapi.Field {
	state := oapi.FieldStateReady
	if f.State == knowledge.FieldFilling {
		state = oapi.FieldStateFilling
	}
	return oapi.Field{Name: f.Name, Type: oapi.FieldType(f.Type), State: state}
}

// named reads a path's parameter.
func named[T any](field, value string, parse func(string) (T, error)) (T, error) {
	v, err := parse(value)
	return v, knowledge.At(field, err)
}

// given returns a pointer to v, or nil for the zero value, which is left out.
func given[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// each converts a list. The result is never nil, for JSON's sake.
func each[In, Out any](in []In, convert func(In) Out) []Out {
	out := make([]Out, len(in))
	for i, v := range in {
		out[i] = convert(v)
	}
	return out
}
