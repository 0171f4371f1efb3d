// Package memstore keeps collections and records in memory. It implements
// [knowledge.Store] in the plainest way, every search exact, and so is the
// reference that other stores are compared with; it also serves tests and trials.
//
// What it leaves to others: keeping anything beyond the end of the process, and
// knowing which tenants exist: any may create collections.
package memstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tars-project/tars/knowledge"
)

// Options are the bounds of a [Store]. The zero value means the defaults.
type Options struct {
	MaxCollections int // of one tenant; default 10,000
}

// Store keeps collections and records. It is safe for concurrent use.
type Store struct {
	options Options
	now     func() time.Time

	mu          sync.RWMutex // guards what follows, and all that it leads to
	collections map[collectionKey]*collection
	aliases     map[collectionKey]knowledge.Alias
	views       map[collectionKey]knowledge.View
	imports     map[importKey]knowledge.Import

	attempts sync.Mutex // guards what follows
	running  map[attemptKey]bool
	replies  map[attemptKey]reply
}

type collectionKey struct {
	tenant knowledge.TenantID
	name   knowledge.CollectionName
}

type collection struct {
	knowledge.Collection
	records   map[knowledge.RecordID]knowledge.Record // expired ones too
	documents map[knowledge.DocumentID]document       // likewise
	writes    int64                                   // changes with each write
}

// lastWrite numbers the writes of all stores, so that no number comes twice.
var lastWrite atomic.Int64

var _ knowledge.Store = (*Store)(nil)

// New makes an empty Store.
func New(options Options) *Store {
	if options.MaxCollections == 0 {
		options.MaxCollections = 10_000
	}
	return &Store{
		options: options, now: time.Now, collections: map[collectionKey]*collection{},
		aliases: map[collectionKey]knowledge.Alias{}, views: map[collectionKey]knowledge.View{}, imports: map[importKey]knowledge.Import{},
		running: map[attemptKey]bool{}, replies: map[attemptKey]reply{},
	}
}

// describe returns the definition with the number of live records.
func (s *Store) describe(r resolved) knowledge.Collection {
	described, now := r.names().Seen(), s.now()
	described.Fields = slices.Clone(described.Fields)
	for _, record := range r.records {
		if !expired(record, now) && (r.view == nil || r.view.Filter.Admits(r.Collection, record)) {
			described.Records++
		}
	}
	return described
}

func expired(r knowledge.Record, now time.Time) bool {
	return !r.Expires.IsZero() && !r.Expires.After(now)
}

// PutCollection implements [knowledge.Collections].
func (s *Store) PutCollection(ctx context.Context, tenant knowledge.TenantID, c knowledge.Collection) (knowledge.Collection, bool, error) {
	c, err := c.Validate()
	if err == nil {
		err = knowledge.Unlimited(ctx)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return knowledge.Collection{}, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.collections[collectionKey{tenant, c.Name}]; ok {
		if !known.SameDefinition(c) {
			return knowledge.Collection{}, false, fmt.Errorf("collection %q has another definition: %w", c.Name, knowledge.ErrConflict)
		}
		return s.describe(resolved{collection: known}), false, nil
	}
	if err := s.taken(tenant, c.Name, "a collection"); err != nil {
		return knowledge.Collection{}, false, err
	}
	if len(sortedNames(s.collections, tenant)) >= s.options.MaxCollections {
		return knowledge.Collection{}, false, knowledge.Limit("the tenant has as many collections as it may")
	}
	c.Version, c.Created, c.Records = 1, s.timestamp(), 0
	c.Updated = c.Created
	s.collections[collectionKey{tenant, c.Name}] = &collection{
		writes:     lastWrite.Add(1),
		Collection: c, records: map[knowledge.RecordID]knowledge.Record{}, documents: map[knowledge.DocumentID]document{},
	}
	return c, true, nil
}

// timestamp is the present at the resolution that PostgreSQL keeps.
func (s *Store) timestamp() time.Time { return s.now().UTC().Truncate(time.Microsecond) }

// Collection implements [knowledge.Collections].
func (s *Store) Collection(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName) (knowledge.Collection, error) {
	if err := ctx.Err(); err != nil {
		return knowledge.Collection{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	c, err := s.resolve(ctx, tenant, name)
	if err != nil {
		return knowledge.Collection{}, err
	}
	return s.describe(c), nil
}

// ListCollections implements [knowledge.Collections].
func (s *Store) ListCollections(ctx context.Context, tenant knowledge.TenantID, after knowledge.CollectionName, limit int) ([]knowledge.Collection, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	names, limited := knowledge.ViewsOf(ctx)
	if !limited {
		names = sortedNames(s.collections, tenant)
	}
	list := []knowledge.Collection{}
	for _, name := range slices.Sorted(slices.Values(names)) {
		if name <= after || len(list) == limit {
			continue
		}
		if c, err := s.resolve(ctx, tenant, name); err == nil { // a view that is gone is passed over
			list = append(list, s.describe(c))
		}
	}
	return list, nil
}

// Record implements [knowledge.Records].
func (s *Store) Record(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName, id knowledge.RecordID) (knowledge.Record, error) {
	if err := ctx.Err(); err != nil {
		return knowledge.Record{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	c, err := s.resolve(ctx, tenant, name)
	if err != nil {
		return knowledge.Record{}, err
	}
	filter, err := c.view.Narrow(knowledge.Filter{})
	if err != nil {
		return knowledge.Record{}, err
	}
	r, ok := c.records[id]
	if !ok || expired(r, s.now()) || !filter.Admits(c.Collection, r) {
		return knowledge.Record{}, knowledge.NotFound("record", id)
	}
	r.Metadata = c.view.Hide(r.Metadata)
	return clone(r), nil
}

// DeleteRecord implements [knowledge.Records].
func (s *Store) DeleteRecord(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName, id knowledge.RecordID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.forWriting(ctx, tenant, name)
	if err != nil {
		return err
	}
	r, ok := c.records[id]
	delete(c.records, id)
	if !ok || expired(r, s.now()) {
		return knowledge.NotFound("record", id)
	}
	return nil
}

// cancelEvery is how many records a search looks at between two looks at its context.
const cancelEvery = 256

// Search implements [knowledge.Records]. It always compares all vectors.
func (s *Store) Search(ctx context.Context, tenant knowledge.TenantID, search knowledge.Search) (knowledge.Found, error) {
	if err := ctx.Err(); err != nil {
		return knowledge.Found{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	c, err := s.resolve(ctx, tenant, search.Collection)
	if err != nil {
		return knowledge.Found{}, err
	}
	if err := search.Validate(c.names().Seen()); err != nil {
		return knowledge.Found{}, err
	}
	filter, err := c.narrow(search.Filter)
	if err != nil {
		return knowledge.Found{}, err
	}
	now, n := s.now(), 0
	matches := []knowledge.Match{}
	for _, r := range c.records {
		if n++; n%cancelEvery == 0 && ctx.Err() != nil {
			return knowledge.Found{}, ctx.Err()
		}
		if expired(r, now) || !filter.Admits(c.Collection, r) {
			continue
		}
		matches = append(matches, knowledge.Match{
			ID: r.ID, Collection: c.names().Label(), Score: score(c.Metric, search.Vector, r.Vector),
			Text: r.Text, Metadata: r.Metadata, Version: r.Version,
		})
	}
	slices.SortFunc(matches, func(a, b knowledge.Match) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.ID, b.ID))
	})
	matches = slices.Clone(matches[:min(len(matches), search.Limit)])
	for i := range matches {
		matches[i].Metadata = cloneObject(c.view.Hide(matches[i].Metadata))
		if search.Vectors {
			matches[i].Vector = slices.Clone(c.records[matches[i].ID].Vector)
		}
	}
	return knowledge.Found{Matches: matches, Plan: knowledge.Plan{Method: "exact"}}, nil
}

// clone copies all that r shares with its caller.
func clone(r knowledge.Record) knowledge.Record {
	r.Vector = slices.Clone(r.Vector)
	r.Metadata = cloneObject(r.Metadata)
	return r
}

func cloneObject(m map[string]any) map[string]any {
	c := make(map[string]any, len(m))
	for key, value := range m {
		c[key] = cloneValue(value)
	}
	return c
}

func cloneValue(value any) any {
	switch v := value.(type) {
	case []any:
		c := make([]any, len(v))
		for i, item := range v {
			c[i] = cloneValue(item)
		}
		return c
	case map[string]any:
		return cloneObject(v)
	}
	return value
}
