package query

import (
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ledger"
)

// Bounds of an [AnswerCache].
const (
	maxKeptAnswer = 256 << 10 // bytes of one answer, about
	// maxAlike is how many answers are kept that differ in the question alone.
	maxAlike = 64
	// tenantShare is the part of the cache that one tenant may fill.
	tenantShare = 4
)

// AnswerCache keeps answers of queries on this node, for those whose collections say
// that they may. Make it with [NewAnswerCache]; safe for concurrent use.
type AnswerCache struct {
	most int64 // bytes
	now  func() time.Time

	mu      sync.Mutex // guards what follows
	alike   map[answerKey][]*keptAnswer
	recent  *list.List // of *keptAnswer, the last used first
	size    int64
	tenants map[knowledge.TenantID]int64 // bytes

	hits, misses, stale atomic.Int64
}

// NewAnswerCache returns a cache of so many bytes, about; more than 0.
func NewAnswerCache(most int64) *AnswerCache {
	return &AnswerCache{most: most, now: time.Now, alike: map[answerKey][]*keptAnswer{}, recent: list.New(), tenants: map[knowledge.TenantID]int64{}}
}

// CacheStats are the figures of an [AnswerCache] since it was made.
type CacheStats struct {
	Hits, Misses int64
	Stale        int64 // of the misses: there was an answer, and what it rested on had changed
	Answers      int
	Bytes        int64
}

// Stats returns the figures.
func (c *AnswerCache) Stats() CacheStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return CacheStats{c.hits.Load(), c.misses.Load(), c.stale.Load(), c.recent.Len(), c.size}
}

// CacheUse says in an answer what the cache had to do with it.
type CacheUse struct {
	Hit      bool
	Age      time.Duration // of the answer
	Distance float64       // of the question to the one that was answered, 1 - cosine
}

// answerKey is all that an answer depends on but the question and the data.
type answerKey [sha256.Size]byte

// keptAnswer is an answer with what it rests on.
type keptAnswer struct {
	key      answerKey
	tenant   knowledge.TenantID
	question string
	vector   []float32 // of the question; nil where only the same text counts
	answer   Answer
	versions map[knowledge.CollectionName]int64 // of what was read, before it was
	made     time.Time
	expires  time.Time
	size     int64
	element  *list.Element
}

// lookup is a query on its way through the cache.
type lookup struct {
	cache    *AnswerCache
	tenant   knowledge.TenantID
	key      answerKey
	question string
	vector   []float32
	limits   knowledge.AnswerCache
	watch    *watch
}

// watch notes which collections a query reads, its plugins' searches among them, and
// how far they had been written before. Safe for concurrent use.
type watch struct {
	store  knowledge.Store
	tenant knowledge.TenantID

	mu       sync.Mutex
	versions map[knowledge.CollectionName]int64
	read     map[knowledge.CollectionName][]knowledge.RecordID // by searches of plugins
	unknown  bool                                              // something was read that no number is kept of
}

func newWatch(store knowledge.Store, tenant knowledge.TenantID) *watch {
	return &watch{store: store, tenant: tenant, versions: map[knowledge.CollectionName]int64{}, read: map[knowledge.CollectionName][]knowledge.RecordID{}}
}

type watchKey struct{}

// note is called before collections are read.
func (w *watch) note(ctx context.Context, names ...knowledge.CollectionName) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	names = slices.DeleteFunc(slices.Clone(names), func(n knowledge.CollectionName) bool { _, known := w.versions[n]; return known })
	if len(names) == 0 || w.unknown {
		return nil
	}
	versions, err := w.store.WriteVersions(ctx, w.tenant, names)
	if err != nil {
		return err
	}
	for i, name := range names {
		if w.versions[name] = versions[i]; versions[i] == 0 {
			w.unknown = true
		}
	}
	return nil
}

// watched does a search, and notes what it reads for the query whose plugin it is.
func watched(ctx context.Context, collection knowledge.CollectionName, search func() (Results, error)) (Results, error) {
	w, ok := ctx.Value(watchKey{}).(*watch)
	if !ok {
		return search()
	}
	if err := w.note(ctx, collection); err != nil {
		return Results{}, err
	}
	results, err := search()
	w.mu.Lock()
	defer w.mu.Unlock()
	matches := results.Matches
	for _, g := range results.Groups {
		matches = append(slices.Clip(matches), g.Matches...)
	}
	for _, m := range matches {
		w.read[collection] = append(w.read[collection], m.ID)
	}
	return results, err
}

// seen returns what was noted; known is false where that is not all that was read.
func (w *watch) seen() (versions map[knowledge.CollectionName]int64, read map[knowledge.CollectionName][]knowledge.RecordID, known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.versions), maps.Clone(w.read), !w.unknown
}

// scope is what a key is made of. What is exported in it and below counts, so that
// what is added to queries later counts too.
type scope struct {
	Tenant   knowledge.TenantID
	Limited  bool
	Views    []knowledge.CollectionName
	Query    Query
	Sources  []scopeSource
	Versions []Version
}

// scopeSource is what a leg's name stands for.
type scopeSource struct {
	Collection knowledge.Collection
	View       *knowledge.View
}

// lookUp prepares a query for the cache, or returns nil for one that is not for it.
func (r *run) lookUp(ctx context.Context) (*lookup, error) {
	cache := r.engine.Answers
	if cache == nil || r.q.Uncached || r.q.Stages.Explain || r.q.Text == "" {
		return nil, nil
	}
	l := &lookup{cache: cache, tenant: r.tenant, question: r.q.Text, watch: newWatch(r.engine.Store, r.tenant)}
	s := scope{Tenant: r.tenant, Query: r.q, Versions: r.versions}
	s.Views, s.Limited = knowledge.ViewsOf(ctx)
	s.Query.Text, s.Query.Timeout, s.Query.Legs, s.Query.Plugins = "", 0, slices.Clone(r.q.Legs), slices.Clone(r.q.Plugins)
	for i, call := range r.q.Plugins {
		if call.Record || r.versions[i].Clock || call.Capability == Guard && call.OnError == Skip {
			return nil, nil
		}
		s.Query.Plugins[i].Timeout = 0
	}
	var names []knowledge.CollectionName
	for i, leg := range r.q.Legs {
		if leg.Owner != "" || len(leg.Vector) > 0 {
			return nil, nil
		}
		from, err := r.sources.get(ctx, leg)
		if err != nil {
			return nil, err
		}
		c := from.named.Collection
		if c.Cache.MaxAge == 0 {
			return nil, nil
		}
		if i == 0 || c.Cache.MaxAge < l.limits.MaxAge {
			l.limits.MaxAge = c.Cache.MaxAge
		}
		if i == 0 || c.Cache.MaxDistance < l.limits.MaxDistance {
			l.limits.MaxDistance = c.Cache.MaxDistance
		}
		s.Query.Legs[i].Timeout = 0 // what took too long is missing, and then nothing is kept
		if leg.Text == r.q.Text {
			s.Query.Legs[i].Text = ""
		}
		c.Records = 0
		s.Sources = append(s.Sources, scopeSource{c, from.named.View})
		names = append(names, leg.Collection)
	}
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	l.key = sha256.Sum256(text)
	if l.limits.MaxDistance > 0 {
		l.vector, err = r.embedder(ctx, r.q.Text)
		if err != nil {
			l.limits.MaxDistance = 0 // no embedder, or none for all: the same text alone
		}
	}
	return l, l.watch.note(ctx, names...)
}

// cached returns the answer that is kept for a query, if there is one that still
// holds.
func (r *run) cached(ctx context.Context, l *lookup) (Answer, bool, error) {
	kept, distance := l.nearest()
	if kept == nil {
		l.cache.misses.Add(1)
		return Answer{}, false, nil
	}
	if err := l.watch.note(ctx, slices.Sorted(maps.Keys(kept.versions))...); err != nil {
		return Answer{}, false, err
	}
	for name, version := range kept.versions {
		if l.watch.versions[name] != version {
			l.cache.drop(kept)
			l.cache.misses.Add(1)
			l.cache.stale.Add(1)
			return Answer{}, false, nil
		}
	}
	l.cache.hits.Add(1)
	r.engine.note(ctx, r.tenant, ledger.Usage{Queries: 1}, retrieved{})
	answer := kept.answer
	answer.Cache = &CacheUse{Hit: true, Age: l.cache.now().Sub(kept.made), Distance: distance}
	answer.Receipts = slices.Clone(answer.Receipts)
	for i := range answer.Receipts {
		answer.Receipts[i].Cached = true
	}
	return answer, true, r.tellAll(answer)
}

// tellAll hands on all parts of an answer.
func (r *run) tellAll(a Answer) error {
	if err := r.tell(Part{Matches: &Matches{Matches: a.Matches, ScoreKind: a.ScoreKind}}); err != nil {
		return err
	}
	for i := range a.Results {
		if err := r.tell(Part{Result: &a.Results[i]}); err != nil {
			return err
		}
	}
	for i := range a.Receipts {
		if err := r.tell(Part{Receipt: &a.Receipts[i]}); err != nil {
			return err
		}
	}
	return nil
}

// nearest is the kept answer whose question is the nearest, if that is near enough.
func (l *lookup) nearest() (best *keptAnswer, distance float64) {
	c, now := l.cache, l.cache.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, kept := range slices.Clone(c.alike[l.key]) {
		if !now.Before(kept.expires) {
			c.remove(kept)
			continue
		}
		d := math.Inf(1)
		switch {
		case kept.question == l.question:
			d = 0
		case l.limits.MaxDistance > 0 && kept.vector != nil:
			norm := func(v []float32) float64 { return math.Sqrt(dot(v, v)) }
			d = max(0, 1-cosine(l.vector, kept.vector, norm(l.vector), norm(kept.vector)))
		}
		if (d <= l.limits.MaxDistance) && (best == nil || d < distance) {
			best, distance = kept, d
		}
	}
	if best != nil {
		c.recent.MoveToFront(best.element)
	}
	return best, distance
}

// keep puts the answer to a query into the cache, if it may be.
func (r *run) keep(ctx context.Context, l *lookup, candidates []Candidate) error {
	r.whole.Cache = &CacheUse{}
	size := sizeOf(r.whole, candidates)
	versions, read, known := l.watch.seen()
	if !known || len(r.whole.Missing) > 0 || size > maxKeptAnswer {
		return nil
	}
	now := l.cache.now()
	kept := &keptAnswer{
		key: l.key, tenant: l.tenant, question: l.question, vector: l.vector, answer: r.whole, versions: versions,
		made: now, expires: now.Add(l.limits.MaxAge), size: size + int64(4*len(l.vector)),
	}
	for _, c := range candidates {
		read[c.Collection] = append(read[c.Collection], c.ID)
	}
	for name, ids := range read {
		at, err := r.engine.Store.EarliestExpiry(ctx, r.tenant, name, ids)
		if err != nil {
			return err
		}
		if !at.IsZero() && at.Before(kept.expires) {
			kept.expires = at
		}
	}
	l.cache.put(kept)
	return nil
}

// sizeOf is about what an answer, and what it was made of, takes.
func sizeOf(a Answer, candidates []Candidate) int64 {
	n := 1024
	for _, c := range candidates {
		n += 256 + len(c.Text)
	}
	for _, r := range a.Results {
		n += len(r.Text)
		for _, c := range r.Citations {
			n += 128 + len(c.Quote)
		}
	}
	for _, r := range a.Receipts {
		n += 256
		for _, line := range r.Logs {
			n += len(line)
		}
	}
	return int64(n)
}

// put keeps an answer in the place of one to the same question, and makes room.
func (c *AnswerCache) put(kept *keptAnswer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, old := range slices.Clone(c.alike[kept.key]) {
		if old.question == kept.question {
			c.remove(old)
		}
	}
	if alike := c.alike[kept.key]; len(alike) >= maxAlike {
		c.remove(alike[0])
	}
	c.alike[kept.key] = append(c.alike[kept.key], kept)
	kept.element = c.recent.PushFront(kept)
	c.size += kept.size
	c.tenants[kept.tenant] += kept.size
	for e := c.recent.Back(); e != nil && c.tenants[kept.tenant] > c.most/tenantShare; {
		old := e.Value.(*keptAnswer)
		if e = e.Prev(); old.tenant == kept.tenant {
			c.remove(old)
		}
	}
	for c.size > c.most {
		c.remove(c.recent.Back().Value.(*keptAnswer))
	}
}

func (c *AnswerCache) drop(kept *keptAnswer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(kept)
}

// remove takes an answer out, if it is there. The caller holds mu.
func (c *AnswerCache) remove(kept *keptAnswer) {
	at := slices.Index(c.alike[kept.key], kept)
	if at < 0 {
		return
	}
	if c.alike[kept.key] = slices.Delete(c.alike[kept.key], at, at+1); len(c.alike[kept.key]) == 0 {
		delete(c.alike, kept.key)
	}
	c.recent.Remove(kept.element)
	c.size -= kept.size
	if c.tenants[kept.tenant] -= kept.size; c.tenants[kept.tenant] == 0 {
		delete(c.tenants, kept.tenant)
	}
}
