package memstore

import (
	"context"
	"time"

	"github.com/tars-project/tars/knowledge"
)

// WriteVersions implements [knowledge.Records].
func (s *Store) WriteVersions(ctx context.Context, tenant knowledge.TenantID, names []knowledge.CollectionName) ([]int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	versions := make([]int64, len(names))
	for i, name := range names {
		if r, err := s.resolve(ctx, tenant, name); err == nil && r.Cache.MaxAge > 0 {
			versions[i] = r.writes
		}
	}
	return versions, nil
}

// EarliestExpiry implements [knowledge.Records].
func (s *Store) EarliestExpiry(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName, ids []knowledge.RecordID) (first time.Time, err error) {
	if err := ctx.Err(); err != nil {
		return first, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	r, err := s.resolve(ctx, tenant, name)
	if err != nil {
		return first, err
	}
	for _, id := range ids {
		if at := r.live(id, s.now()).Expires; !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first, nil
}
