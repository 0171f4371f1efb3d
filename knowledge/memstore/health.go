package memstore

import (
	"context"

	"github.com/tars-project/tars/knowledge"
)

// Health tells that all is compared, or an error wrapping [knowledge.ErrNotFound].
func (s *Store) Health(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName) (knowledge.Health, error) {
	r, err := s.Resolve(ctx, tenant, name)
	if err == nil && r.View != nil { // what else is in the collection is not its reader's
		err = knowledge.NotFound("collection", name)
	}
	if err != nil {
		return knowledge.Health{}, err
	}
	c, err := s.Collection(ctx, tenant, name)
	if err != nil {
		return knowledge.Health{}, err
	}
	return knowledge.Health{Records: c.Records, Target: c.RecallTarget}, nil
}
