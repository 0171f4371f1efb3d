package memstore

import (
	"context"
	"fmt"
	"slices"

	"github.com/tars-project/tars/knowledge"
)

// resolved is what a name stands for when records are read.
type resolved struct {
	*collection
	view *knowledge.View // nil unless the name is a view's
}

// narrow checks a request's filter and adds to it that of the view through which it
// came.
func (r resolved) narrow(f knowledge.Filter) (knowledge.Filter, error) {
	if err := f.Validate(r.names().Seen()); err != nil {
		return f, knowledge.At("filter", err)
	}
	return r.view.Narrow(f)
}

// names returns what r is to those that read.
func (r resolved) names() knowledge.Resolved {
	return knowledge.Resolved{Collection: r.Collection, View: r.view}
}

// resolve is where a name becomes a collection for reading. The caller holds the lock.
func (s *Store) resolve(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName) (resolved, error) {
	views, limited := knowledge.ViewsOf(ctx)
	if limited && !slices.Contains(views, name) {
		return resolved{}, knowledge.NotFound("collection", name)
	}
	target := name
	var view *knowledge.View
	if v, ok := s.views[collectionKey{tenant, name}]; ok {
		view, target = &v, v.Collection
	} else if limited { // the view is gone, and something else has its name
		return resolved{}, knowledge.NotFound("collection", name)
	}
	if a, ok := s.aliases[collectionKey{tenant, target}]; ok {
		target = a.Collection
	}
	c, ok := s.collections[collectionKey{tenant, target}]
	if !ok {
		return resolved{}, knowledge.NotFound("collection", name)
	}
	return resolved{c, view}, nil
}

// forWriting is where a name becomes a collection whose records may be changed. The
// caller holds the lock.
func (s *Store) forWriting(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName) (*collection, error) {
	r, err := s.resolve(ctx, tenant, name)
	if err == nil && r.view != nil {
		err = knowledge.WriteThroughView(name)
	}
	if err == nil {
		r.writes = lastWrite.Add(1)
	}
	return r.collection, err
}

// own is where a collection's own name becomes the collection, whose definition may
// be changed. The caller holds the lock.
func (s *Store) own(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName) (*collection, error) {
	if _, limited := knowledge.ViewsOf(ctx); limited {
		return nil, knowledge.NotFound("collection", name)
	}
	key := collectionKey{tenant, name}
	if a, ok := s.aliases[key]; ok {
		return nil, knowledge.NotOwnName("an alias", name, a.Collection)
	}
	if v, ok := s.views[key]; ok {
		return nil, knowledge.NotOwnName("a view", name, v.Collection)
	}
	if c, ok := s.collections[key]; ok {
		return c, nil
	}
	return nil, knowledge.NotFound("collection", name)
}

// taken returns an error if the name is that of another kind. The caller holds the
// lock.
func (s *Store) taken(tenant knowledge.TenantID, name knowledge.CollectionName, kind string) error {
	key := collectionKey{tenant, name}
	_, isCollection := s.collections[key]
	_, isAlias := s.aliases[key]
	_, isView := s.views[key]
	for _, other := range []struct {
		is   bool
		kind string
	}{{isCollection, "a collection"}, {isAlias, "an alias"}, {isView, "a view"}} {
		if other.is && other.kind != kind {
			return knowledge.NameTaken(name, other.kind)
		}
	}
	return nil
}

// Resolve implements [knowledge.Collections].
func (s *Store) Resolve(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName) (knowledge.Resolved, error) {
	if err := ctx.Err(); err != nil {
		return knowledge.Resolved{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	r, err := s.resolve(ctx, tenant, name)
	if err != nil {
		return knowledge.Resolved{}, err
	}
	return r.names(), nil
}

// ChangeAliases implements [knowledge.Names].
func (s *Store) ChangeAliases(ctx context.Context, tenant knowledge.TenantID, actions []knowledge.AliasAction) ([]knowledge.Alias, error) {
	if err := knowledge.Unlimited(ctx); err != nil {
		return nil, err
	}
	if err := knowledge.CheckAliasActions(actions); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	added := 0
	for i, a := range actions {
		var err error
		key := collectionKey{tenant, a.Alias}
		_, there := s.aliases[key]
		switch {
		case a.Collection != "":
			if err = s.taken(tenant, a.Alias, "an alias"); err == nil {
				_, err = s.own(ctx, tenant, a.Collection)
			}
			if !there {
				added++
			}
		case !there:
			err = knowledge.NotFound("alias", a.Alias)
		default:
			err = s.standsOn(tenant, a.Alias, "alias")
			added--
		}
		if err != nil {
			return nil, fmt.Errorf("actions[%d]: %w", i, err)
		}
	}
	if added > 0 && s.names(tenant)+added > knowledge.MaxNames {
		return nil, knowledge.TooManyNames()
	}
	now, changed := s.timestamp(), make([]knowledge.Alias, len(actions))
	for i, a := range actions {
		key := collectionKey{tenant, a.Alias}
		if a.Collection == "" {
			delete(s.aliases, key)
			continue
		}
		alias, there := s.aliases[key]
		if !there {
			alias = knowledge.Alias{Name: a.Alias, Created: now}
		}
		if alias.Collection != a.Collection {
			alias.Collection, alias.Updated = a.Collection, now
		}
		s.aliases[key], changed[i] = alias, alias
	}
	return changed, nil
}

// names counts a tenant's aliases and views.
func (s *Store) names(tenant knowledge.TenantID) int {
	n := 0
	for key := range s.aliases {
		if key.tenant == tenant {
			n++
		}
	}
	for key := range s.views {
		if key.tenant == tenant {
			n++
		}
	}
	return n
}

// standsOn returns an error naming the views that stand on a collection or an alias.
func (s *Store) standsOn(tenant knowledge.TenantID, name knowledge.CollectionName, kind string) error {
	var on []knowledge.CollectionName
	for key, v := range s.views {
		if key.tenant == tenant && v.Collection == name {
			on = append(on, v.Name)
		}
	}
	return knowledge.StillStandsOn(kind, name, nil, on)
}

// Alias implements [knowledge.Names].
func (s *Store) Alias(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName) (knowledge.Alias, error) {
	return one(ctx, s, s.aliases, tenant, name, "alias")
}

// ListAliases implements [knowledge.Names].
func (s *Store) ListAliases(ctx context.Context, tenant knowledge.TenantID, after knowledge.CollectionName, limit int) ([]knowledge.Alias, error) {
	return list(ctx, s, s.aliases, tenant, after, limit)
}

// PutView implements [knowledge.Names].
func (s *Store) PutView(ctx context.Context, tenant knowledge.TenantID, v knowledge.View) (knowledge.View, bool, error) {
	if err := knowledge.Unlimited(ctx); err != nil {
		return knowledge.View{}, false, err
	}
	if err := v.Validate(); err != nil {
		return knowledge.View{}, false, err
	}
	if err := ctx.Err(); err != nil {
		return knowledge.View{}, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.taken(tenant, v.Name, "a view"); err != nil {
		return knowledge.View{}, false, err
	}
	key := collectionKey{tenant, v.Name}
	old, there := s.views[key]
	r, err := s.resolve(ctx, tenant, v.Collection)
	switch {
	case err != nil:
		return knowledge.View{}, false, err
	case r.view != nil:
		return knowledge.View{}, false, knowledge.NotOwnName("a view", v.Collection, r.view.Collection)
	}
	switch {
	case there && old.Equal(v):
		return old, false, nil
	case !there && s.names(tenant) >= knowledge.MaxNames:
		return knowledge.View{}, false, knowledge.TooManyNames()
	}
	v.Updated = s.timestamp()
	if v.Created = old.Created; !there {
		v.Created = v.Updated
	}
	s.views[key] = v
	return v, !there, nil
}

// View implements [knowledge.Names].
func (s *Store) View(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName) (knowledge.View, error) {
	return one(ctx, s, s.views, tenant, name, "view")
}

// ListViews implements [knowledge.Names].
func (s *Store) ListViews(ctx context.Context, tenant knowledge.TenantID, after knowledge.CollectionName, limit int) ([]knowledge.View, error) {
	return list(ctx, s, s.views, tenant, after, limit)
}

// DeleteView implements [knowledge.Names].
func (s *Store) DeleteView(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := collectionKey{tenant, name}
	_, limited := knowledge.ViewsOf(ctx)
	if _, ok := s.views[key]; !ok || limited {
		return knowledge.NotFound("view", name)
	}
	delete(s.views, key)
	return nil
}

// one returns an alias or a view by its name.
func one[T any](ctx context.Context, s *Store, all map[collectionKey]T, tenant knowledge.TenantID, name knowledge.CollectionName, kind string) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, limited := knowledge.ViewsOf(ctx)
	if v, ok := all[collectionKey{tenant, name}]; ok && !limited {
		return v, nil
	}
	return none, knowledge.NotFound(kind, name)
}

// list returns some of the tenant's aliases or views by name.
func list[T any](ctx context.Context, s *Store, all map[collectionKey]T, tenant knowledge.TenantID, after knowledge.CollectionName, limit int) ([]T, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	found := []T{}
	if _, limited := knowledge.ViewsOf(ctx); limited {
		return found, nil
	}
	for _, name := range sortedNames(all, tenant) {
		if name > after && len(found) < limit {
			found = append(found, all[collectionKey{tenant, name}])
		}
	}
	return found, nil
}

// sortedNames are those that a tenant has. The caller holds the lock.
func sortedNames[T any](all map[collectionKey]T, tenant knowledge.TenantID) []knowledge.CollectionName {
	var names []knowledge.CollectionName
	for key := range all {
		if key.tenant == tenant {
			names = append(names, key.name)
		}
	}
	slices.Sort(names)
	return names
}
