// Package embed keeps the embedders that a process offers, by id, so that a
// collection can name the one its vectors come from.
//
// The embedders themselves are in its folders: local, which needs nothing, and
// openai, for any server with that interface. Their common tests are in
// embedtest. What an embedder promises is said at [knowledge.Embedder].
package embed

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/tars-project/tars/knowledge"
)

// Set is an immutable choice of embedders, safe for concurrent use. The zero
// value is empty.
type Set struct {
	byID map[string]knowledge.Embedder
}

// NewSet returns a set of embedders. It returns an error for a nil one, for an
// info that lacks an id or a version, has the id [knowledge.NoEmbedder] or a
// dimension outside 1 to [knowledge.MaxDimension], and for an id that comes
// twice.
func NewSet(embedders ...knowledge.Embedder) (*Set, error) {
	byID := make(map[string]knowledge.Embedder, len(embedders))
	for i, e := range embedders {
		if e == nil {
			return nil, fmt.Errorf("embedder %d is nil", i)
		}
		info := e.Info()
		switch _, twice := byID[info.ID]; {
		case info.ID == "" || info.Version == "":
			return nil, fmt.Errorf("embedder %d: id %q and version %q must not be empty", i, info.ID, info.Version)
		case info.ID == knowledge.NoEmbedder:
			return nil, fmt.Errorf("embedder %d: id %q means that there is none", i, info.ID)
		case info.Dimension < 1 || info.Dimension > knowledge.MaxDimension:
			return nil, fmt.Errorf("embedder %q: dimension %d, want 1 to %d", info.ID, info.Dimension, knowledge.MaxDimension)
		case twice:
			return nil, fmt.Errorf("embedder %q: id is taken", info.ID)
		}
		byID[info.ID] = e
	}
	return &Set{byID: byID}, nil
}

// With returns a set that has more embedders. Errors are those of [NewSet].
func (s *Set) With(more ...knowledge.Embedder) (*Set, error) {
	for _, id := range s.IDs() {
		more = append(more, s.byID[id])
	}
	return NewSet(more...)
}

// Get returns the embedder with this id, which is the same for every tenant, or an
// error wrapping [knowledge.ErrNotFound].
func (s *Set) Get(_ context.Context, _ knowledge.TenantID, id string) (knowledge.Embedder, error) {
	e, ok := s.byID[id]
	if !ok {
		return nil, knowledge.NotFound("embedder", id)
	}
	return e, nil
}

// IDs returns the ids of all embedders, sorted.
func (s *Set) IDs() []string { return slices.Sorted(maps.Keys(s.byID)) }
