package memstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"

	"github.com/tars-project/tars/knowledge"
)

type importKey struct {
	tenant knowledge.TenantID
	id     knowledge.ImportID
}

// StartImport implements [knowledge.Imports].
func (s *Store) StartImport(ctx context.Context, tenant knowledge.TenantID, asked knowledge.Import) (knowledge.Import, error) {
	if err := ctx.Err(); err != nil {
		return knowledge.Import{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if asked.Collection == "" {
		if err := knowledge.Unlimited(ctx); err != nil {
			return knowledge.Import{}, err
		}
	} else {
		if _, err := s.forWriting(ctx, tenant, asked.Collection); err != nil {
			return knowledge.Import{}, err
		}
	}
	x := knowledge.Import{
		ID: knowledge.ImportID(rand.Text()), Collection: asked.Collection, Mode: asked.Mode, OnError: asked.OnError,
		State: knowledge.ImportRunning, Attempt: 1, Created: s.timestamp(), Updated: s.timestamp(),
	}
	s.imports[importKey{tenant, x.ID}] = x
	return x, nil
}

// ResumeImport implements [knowledge.Imports].
func (s *Store) ResumeImport(ctx context.Context, tenant knowledge.TenantID, id knowledge.ImportID) (knowledge.Import, error) {
	if err := ctx.Err(); err != nil {
		return knowledge.Import{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x, ok := s.imports[importKey{tenant, id}]
	_, limited := knowledge.ViewsOf(ctx)
	switch {
	case !ok || limited:
		return x, knowledge.NotFound("import", id)
	case x.State == knowledge.ImportFinished:
		return x, knowledge.Conflict("resume", "is an import that has finished")
	}
	x.State, x.Updated = knowledge.ImportRunning, s.timestamp()
	x.Attempt++
	s.imports[importKey{tenant, id}] = x
	x.Faults = slices.Clone(x.Faults)
	return x, nil
}

// PutImport implements [knowledge.Imports].
func (s *Store) PutImport(ctx context.Context, tenant knowledge.TenantID, x knowledge.Import) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, ok := s.imports[importKey{tenant, x.ID}]
	if !ok || now.Attempt != x.Attempt {
		return fmt.Errorf("import %s was resumed by another request: %w", x.ID, knowledge.ErrConflict)
	}
	x.Created, x.Updated, x.Faults = now.Created, s.timestamp(), slices.Clone(x.Faults)
	s.imports[importKey{tenant, x.ID}] = x
	return nil
}

// Import implements [knowledge.Imports].
func (s *Store) Import(ctx context.Context, tenant knowledge.TenantID, id knowledge.ImportID) (knowledge.Import, error) {
	if err := ctx.Err(); err != nil {
		return knowledge.Import{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	x, ok := s.imports[importKey{tenant, id}]
	if _, limited := knowledge.ViewsOf(ctx); !ok || limited {
		return x, knowledge.NotFound("import", id)
	}
	x.Faults = slices.Clone(x.Faults)
	return x, nil
}
