package embed

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ledger"
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

// notes takes down what a tenant used; a [ledger.Book] does.
type notes interface {
	Add(ctx context.Context, tenant knowledge.TenantID, u ledger.Usage)
}

// metered returns e, counted for the node, and noted for the tenant.
func (r *Registry) metered(tenant knowledge.TenantID, e knowledge.Embedder, by meter) Measured {
	return counted{e, r.meters, by, r.Ledger, tenant}
}

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
	to     *meters
	by     meter
	ledger notes // nil: nothing is noted
	tenant knowledge.TenantID
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
		c.note(ctx, usage, err)
	}
	return vectors, usage, err
}

// note takes down the texts of a call that succeeded, and tokens that were counted.
func (c counted) note(ctx context.Context, u Usage, err error) {
	noted := ledger.Usage{EmbeddedTexts: int64(u.Texts), EmbeddedTokens: u.Tokens}
	if err != nil {
		noted.EmbeddedTexts = 0
	}
	if c.ledger != nil && noted != (ledger.Usage{}) {
		c.ledger.Add(ctx, c.tenant, noted)
	}
}
