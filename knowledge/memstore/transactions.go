package memstore

import (
	"context"
	"maps"
	"time"

	"github.com/tars-project/tars/knowledge"
)

type attemptKey struct {
	tenant knowledge.TenantID
	key    string
}

// reply is a kept reply.
type reply struct {
	attempt knowledge.Attempt
	knowledge.Reply
	until time.Time
}

// Atomically implements [knowledge.Transactions]. Everything else waits for it.
func (s *Store) Atomically(ctx context.Context, tenant knowledge.TenantID, do func(knowledge.Session) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	draft := s.fork(tenant)
	if err := do(draft); err != nil {
		return err
	}
	replace(s.collections, draft.collections, tenant)
	replace(s.aliases, draft.aliases, tenant)
	replace(s.views, draft.views, tenant)
	maps.Copy(s.imports, draft.imports)
	return nil
}

// Exclusively implements [knowledge.Transactions].
func (s *Store) Exclusively(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName, do func(knowledge.Session) error) error {
	return s.Atomically(ctx, tenant, func(session knowledge.Session) error {
		if _, err := session.(*Store).own(ctx, tenant, name); err != nil {
			return err
		}
		return do(session)
	})
}

// replace puts what a draft has in the place of what the tenant had.
func replace[T any](all, draft map[collectionKey]T, tenant knowledge.TenantID) {
	maps.DeleteFunc(all, func(key collectionKey, _ T) bool { return key.tenant == tenant })
	maps.Copy(all, draft)
}

// fork makes a store with what the tenant has now, whose changes are its own. The
// caller holds the lock. Records and documents need no copies: they are
// replaced, never changed.
func (s *Store) fork(tenant knowledge.TenantID) *Store {
	f := New(s.options)
	f.now = s.now
	for key, c := range s.collections {
		if key.tenant == tenant {
			f.collections[key] = &collection{Collection: c.Collection, writes: c.writes, records: maps.Clone(c.records), documents: maps.Clone(c.documents)}
		}
	}
	for key, a := range s.aliases {
		if key.tenant == tenant {
			f.aliases[key] = a
		}
	}
	for key, v := range s.views {
		if key.tenant == tenant {
			f.views[key] = v
		}
	}
	for key, x := range s.imports {
		if key.tenant == tenant {
			f.imports[key] = x
		}
	}
	return f
}

// Snapshot implements [knowledge.Transactions].
func (s *Store) Snapshot(ctx context.Context, tenant knowledge.TenantID, do func(knowledge.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.RLock()
	f := s.fork(tenant)
	s.mu.RUnlock()
	now := f.now()
	f.now = func() time.Time { return now }
	return do(f)
}

// Once implements [knowledge.Transactions].
func (s *Store) Once(ctx context.Context, tenant knowledge.TenantID, attempt knowledge.Attempt, do func(knowledge.Session) (knowledge.Reply, error)) (knowledge.Reply, bool, error) {
	key := attemptKey{tenant, attempt.Key}
	kept, replayed, err := s.begin(key, attempt)
	if replayed || err != nil {
		return kept, replayed, err
	}
	defer s.end(key)
	var given knowledge.Reply
	err = s.Atomically(ctx, tenant, func(session knowledge.Session) error {
		given, err = do(session)
		return err
	})
	if err != nil {
		return knowledge.Reply{}, false, err
	}
	s.attempts.Lock()
	defer s.attempts.Unlock()
	s.replies[key] = reply{attempt, given, s.now().Add(knowledge.IdempotencyLife)}
	return given, false, nil
}

// begin finds the kept reply, or marks the attempt as running.
func (s *Store) begin(key attemptKey, attempt knowledge.Attempt) (knowledge.Reply, bool, error) {
	s.attempts.Lock()
	defer s.attempts.Unlock()
	if s.running[key] {
		return knowledge.Reply{}, false, knowledge.ErrRunning
	}
	kept, ok, err := s.kept(key, attempt)
	if !ok && err == nil {
		s.running[key] = true
	}
	return kept, ok, err
}

func (s *Store) end(key attemptKey) {
	s.attempts.Lock()
	defer s.attempts.Unlock()
	delete(s.running, key)
}

// kept finds the reply to an attempt. The caller holds the lock.
func (s *Store) kept(key attemptKey, attempt knowledge.Attempt) (knowledge.Reply, bool, error) {
	k, ok := s.replies[key]
	switch {
	case !ok || !s.now().Before(k.until):
		return knowledge.Reply{}, false, nil
	case k.attempt != attempt:
		return knowledge.Reply{}, false, knowledge.ErrReused
	}
	return k.Reply, true, nil
}

// Replay implements [knowledge.Transactions].
func (s *Store) Replay(ctx context.Context, tenant knowledge.TenantID, attempt knowledge.Attempt) (knowledge.Reply, bool, error) {
	if err := ctx.Err(); err != nil {
		return knowledge.Reply{}, false, err
	}
	s.attempts.Lock()
	defer s.attempts.Unlock()
	key := attemptKey{tenant, attempt.Key}
	if s.running[key] {
		return knowledge.Reply{}, false, knowledge.ErrRunning
	}
	return s.kept(key, attempt)
}

// SweepReplies implements [knowledge.Transactions].
func (s *Store) SweepReplies(ctx context.Context, most int) (int64, error) {
	s.attempts.Lock()
	defer s.attempts.Unlock()
	n, now := int64(0), s.now()
	for key, kept := range s.replies {
		if n < int64(most) && !now.Before(kept.until) {
			delete(s.replies, key)
			n++
		}
	}
	return n, ctx.Err()
}
