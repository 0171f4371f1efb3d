package embed

import (
	"context"
	"errors"
	"fmt"

	"github.com/tars-project/tars/knowledge"
)

// For returns the embedder that made the vectors of collection c, so that texts
// may be compared with them. It returns a [knowledge.InvalidError] when the
// collection's callers bring their own vectors, an error wrapping
// [knowledge.ErrUnavailable] when this process lacks the embedder, and one
// wrapping [knowledge.ErrConflict] when it has another version or dimension:
// vectors of two spaces must never be mixed.
func (s *Set) For(ctx context.Context, tenant knowledge.TenantID, c knowledge.Collection) (knowledge.Embedder, error) {
	return pinned(ctx, tenant, c, s.Get)
}

// pinned gets the embedder that a collection names and holds it against what the
// collection is pinned to.
func pinned(ctx context.Context, tenant knowledge.TenantID, c knowledge.Collection,
	get func(context.Context, knowledge.TenantID, string) (knowledge.Embedder, error),
) (knowledge.Embedder, error) {
	if c.Embedder.ID == knowledge.NoEmbedder {
		return nil, knowledge.Invalid("", "collection %q has no embedder; need a vector", c.Name)
	}
	e, err := get(ctx, tenant, c.Embedder.ID)
	if errors.Is(err, knowledge.ErrNotFound) {
		return nil, fmt.Errorf("%w: embedder %q of collection %q is not configured", knowledge.ErrUnavailable, c.Embedder.ID, c.Name)
	}
	if err != nil {
		return nil, err
	}
	if have := e.Info(); have != c.Embedder {
		return nil, fmt.Errorf("%w: collection %q was embedded by %s version %s with %d dimensions, this server has version %s with %d",
			knowledge.ErrConflict, c.Name, c.Embedder.ID, c.Embedder.Version, c.Embedder.Dimension, have.Version, have.Dimension)
	}
	return e, nil
}
