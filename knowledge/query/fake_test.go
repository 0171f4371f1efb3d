package query_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const tenant = knowledge.TenantID("acme")

// store answers searches by a function; every collection is there but "none",
// with two dimensions and the embedder of the tests unless its name begins with
// "bare".
type store struct {
	knowledge.Store // for what no query asks: nil, so that it would panic
	search          func(ctx context.Context, s knowledge.Search) (knowledge.Found, error)
	presets         map[knowledge.CollectionName]knowledge.Defaults
	words           func(ctx context.Context, s knowledge.TextSearch) (knowledge.Found, error) // nil finds nothing
}

func (s *store) Resolve(ctx context.Context, of knowledge.TenantID, name knowledge.CollectionName) (knowledge.Resolved, error) {
	c, err := s.Collection(ctx, of, name)
	c.Defaults = s.presets[name]
	return knowledge.Resolved{Collection: c}, err
}

func (s *store) SearchText(ctx context.Context, _ knowledge.TenantID, search knowledge.TextSearch) (knowledge.Found, error) {
	if s.words == nil {
		return knowledge.Found{}, nil
	}
	return s.words(ctx, search)
}

func (s *store) Collection(_ context.Context, of knowledge.TenantID, name knowledge.CollectionName) (knowledge.Collection, error) {
	if of != tenant || name == "none" {
		return knowledge.Collection{}, fmt.Errorf("collection %q: %w", name, knowledge.ErrNotFound)
	}
	c := knowledge.Collection{Name: name, Embedder: knowledge.EmbedderInfo{ID: "length", Version: "1", Dimension: 2}}
	if strings.HasPrefix(string(name), "bare") {
		c.Embedder.ID = knowledge.NoEmbedder
	}
	return c, nil
}

func (s *store) Search(ctx context.Context, of knowledge.TenantID, search knowledge.Search) (knowledge.Found, error) {
	c, err := s.Collection(ctx, of, search.Collection)
	if err != nil {
		return knowledge.Found{}, err
	}
	if err := knowledge.CheckVector(search.Vector, c); err != nil {
		return knowledge.Found{}, knowledge.At("vector", err)
	}
	return s.search(ctx, search)
}

// found makes what a search gives, from lines of id and score; a record's text
// says which one it is.
func found(collection knowledge.CollectionName, matches ...knowledge.Match) knowledge.Found {
	for i := range matches {
		matches[i].Collection = collection
		matches[i].Version = 7
		if matches[i].Text == "" {
			matches[i].Text = "the text of " + string(matches[i].ID)
		}
	}
	return knowledge.Found{Matches: matches, Plan: knowledge.Plan{Method: "exact"}}
}

func match(id knowledge.RecordID, score float64) knowledge.Match {
	return knowledge.Match{ID: id, Score: score}
}

// embedder makes of a text its length and one.
type embedder struct{ err error }

func (e *embedder) Info() knowledge.EmbedderInfo {
	return knowledge.EmbedderInfo{ID: "length", Version: "1", Dimension: 2}
}

func (e *embedder) Embed(ctx context.Context, kind knowledge.EmbedKind, texts []string) ([][]float32, error) {
	if e.err != nil {
		return nil, e.err
	}
	if strings.TrimSpace(texts[0]) == "" {
		return nil, knowledge.Invalid("texts[0]", "is white space")
	}
	if kind != knowledge.EmbedQuery {
		return nil, fmt.Errorf("kind %d of a question", kind)
	}
	return [][]float32{{float32(len(texts[0])), 1}}, ctx.Err()
}

func (e *embedder) For(_ context.Context, _ knowledge.TenantID, c knowledge.Collection) (knowledge.Embedder, error) {
	if c.Embedder.ID == knowledge.NoEmbedder {
		return nil, knowledge.Invalid("", "collection %q has no embedder", c.Name)
	}
	return e, nil
}

// plugin is one of the fake plugins, by name. What it lacks, it is not asked.
type plugin struct {
	guard      func(ctx context.Context, t query.Task) (query.Verdict, error)
	merge      func(ctx context.Context, t query.Task) ([]query.Scored, error)
	scores     func(ctx context.Context, t query.Task) ([]query.Scored, error)
	rank       func(ctx context.Context, candidates []query.Candidate) ([]query.Candidate, error) // instead of scores
	synthesize func(ctx context.Context, passages []query.Candidate) (query.Draft, error)
	vectors    bool
}

type plugins map[string]plugin

func (p plugins) Find(_ context.Context, _ knowledge.TenantID, call query.PluginCall) (query.Version, error) {
	found, ok := p[call.Name]
	if !ok {
		return query.Version{}, fmt.Errorf("plugin %q: %w", call.Name, knowledge.ErrNotFound)
	}
	return query.Version{Number: 3, Digest: "digest of " + call.Name, Vectors: found.vectors}, nil
}

func receiptOf(call query.PluginCall) query.Receipt {
	return query.Receipt{Plugin: call.Name, Version: 3, Capability: call.Capability}
}

func (p plugins) Guard(ctx context.Context, t query.Task) (query.Verdict, query.Receipt, error) {
	v, err := p[t.Call.Name].guard(ctx, t)
	return v, receiptOf(t.Call), err
}

func (p plugins) Merge(ctx context.Context, t query.Task) ([]query.Scored, query.Receipt, error) {
	scores, err := p[t.Call.Name].merge(ctx, t)
	return scores, receiptOf(t.Call), err
}

// Rank gives the candidates of rank scores by their places, the last 1.
func (p plugins) Rank(ctx context.Context, t query.Task) ([]query.Scored, query.Receipt, error) {
	found := p[t.Call.Name]
	if found.scores != nil {
		scores, err := found.scores(ctx, t)
		return scores, receiptOf(t.Call), err
	}
	ranked, err := found.rank(ctx, t.Handout.Candidates)
	var scores []query.Scored
	for place, c := range ranked {
		for i, given := range t.Handout.Candidates {
			if given.ID == c.ID && given.Collection == c.Collection {
				scores = append(scores, query.Scored{Index: i, Score: float64(len(ranked) - place)})
			}
		}
	}
	return scores, receiptOf(t.Call), err
}

func (p plugins) Synthesize(ctx context.Context, t query.Task) (query.Draft, query.Receipt, error) {
	draft, err := p[t.Call.Name].synthesize(ctx, t.Handout.Candidates)
	return draft, receiptOf(t.Call), err
}

// engine returns one that searches by a function.
func engine(search func(ctx context.Context, s knowledge.Search) (knowledge.Found, error), p plugins) *query.Engine {
	return &query.Engine{Store: &store{search: search}, Embedders: &embedder{}, Plugins: p, Parallel: 4, Timeout: 10 * time.Second}
}

// fixed answers each collection's search with the same.
func fixed(all map[knowledge.CollectionName]knowledge.Found) func(context.Context, knowledge.Search) (knowledge.Found, error) {
	return func(_ context.Context, s knowledge.Search) (knowledge.Found, error) { return all[s.Collection], nil }
}

// order is the ids of candidates, with their collection if it is not "docs".
func order(candidates []query.Candidate) string {
	var ids []string
	for _, c := range candidates {
		id := string(c.ID)
		if c.Collection != "docs" {
			id = string(c.Collection) + "/" + id
		}
		ids = append(ids, id)
	}
	return strings.Join(ids, " ")
}
