package memstore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
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
	for key, x := range s.imports {
		if key.tenant == tenant && asked.Key != "" && x.Key == asked.Key {
			return s.startAgain(tenant, x, asked)
		}
	}
	x := knowledge.Import{
		ID: knowledge.ImportID(rand.Text()), Collection: asked.Collection, Mode: asked.Mode, OnError: asked.OnError,
		Key: asked.Key, Principal: asked.Principal, State: knowledge.ImportRunning, Attempt: 1, Digest: sha256.Sum256(nil), Created: s.timestamp(), Updated: s.timestamp(),
	}
	s.imports[importKey{tenant, x.ID}] = x
	return x, nil
}

// startAgain is what starting does with the import x of the same key.
func (s *Store) startAgain(tenant knowledge.TenantID, x, asked knowledge.Import) (knowledge.Import, error) {
	switch {
	case x.Collection != asked.Collection || x.Mode != asked.Mode || x.OnError != asked.OnError || x.Principal != asked.Principal:
		return knowledge.Import{}, knowledge.ErrReused
	case x.State == knowledge.ImportFinished:
		x.Faults = slices.Clone(x.Faults)
		return x, nil
	case x.State == knowledge.ImportRunning && s.now().Sub(x.Updated) < knowledge.ImportPatience:
		return knowledge.Import{}, knowledge.ErrRunning
	}
	return s.resume(tenant, x.ID)
}

// ResumeImport implements [knowledge.Imports].
func (s *Store) ResumeImport(ctx context.Context, tenant knowledge.TenantID, id knowledge.ImportID) (knowledge.Import, error) {
	if err := ctx.Err(); err != nil {
		return knowledge.Import{}, err
	}
	if _, limited := knowledge.ViewsOf(ctx); limited {
		return knowledge.Import{}, knowledge.NotFound("import", id)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resume(tenant, id)
}

// resume makes an import run again. The caller holds the lock.
func (s *Store) resume(tenant knowledge.TenantID, id knowledge.ImportID) (knowledge.Import, error) {
	x, ok := s.imports[importKey{tenant, id}]
	switch {
	case !ok:
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
