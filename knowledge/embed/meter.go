package embed

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/tars-project/tars/knowledge"
)

// meter names what is counted together. There are as many as a node has embedders and
// this program providers: a label for each tenant, or each name that tenants choose,
// would let tenants fill the memory of whoever collects figures.
type meter struct {
	provider string // of a tenant's; the id of a node's
	scope    string // "node" or "tenant"
}

// Used is what was embedded by one kind of embedder since the node was started.
type Used struct {
	Provider, Scope string
	Calls, Failures int64
	Usage
}

// meters counts. Safe for concurrent use.
type meters struct {
	mu   sync.Mutex
	used map[meter]*Used
}

func newMeters() *meters { return &meters{used: map[meter]*Used{}} }

// of returns e, counted.
func (m *meters) of(e knowledge.Embedder, by meter) Measured { return counted{e, m, by} }

func (m *meters) add(by meter, u Usage, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	used := m.used[by]
	if used == nil {
		used = &Used{Provider: by.provider, Scope: by.scope}
		m.used[by] = used
	}
	used.Calls++
	used.Tokens += u.Tokens // were counted by the server, also where the rest failed
	if err != nil {
		used.Failures++
		return
	}
	used.Texts += u.Texts
	used.Bytes += u.Bytes
}

// Used returns what was embedded, by scope and provider. Texts and bytes are those of
// calls that succeeded.
func (r *Registry) Used() []Used {
	r.meters.mu.Lock()
	defer r.meters.mu.Unlock()
	var all []Used
	for _, u := range r.meters.used {
		all = append(all, *u)
	}
	slices.SortFunc(all, func(a, b Used) int {
		return cmp.Or(cmp.Compare(a.Scope, b.Scope), cmp.Compare(a.Provider, b.Provider))
	})
	return all
}

// counted is an embedder that is counted.
type counted struct {
	knowledge.Embedder
	to *meters
	by meter
}

// Embed implements [knowledge.Embedder].
func (c counted) Embed(ctx context.Context, kind knowledge.EmbedKind, texts []string) ([][]float32, error) {
	vectors, _, err := c.EmbedMeasured(ctx, kind, texts)
	return vectors, err
}

// EmbedMeasured implements [Measured].
func (c counted) EmbedMeasured(ctx context.Context, kind knowledge.EmbedKind, texts []string) ([][]float32, Usage, error) {
	vectors, usage, err := EmbedMeasured(ctx, c.Embedder, kind, texts)
	if len(texts) > 0 {
		c.to.add(c.by, usage, err)
	}
	return vectors, usage, err
}
