package embedtest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/embed"
)

// Collections lists what may be pinned to an embedder; a [knowledge.Store] does.
type Collections interface {
	ListCollections(ctx context.Context, tenant knowledge.TenantID, after knowledge.CollectionName, limit int) ([]knowledge.Collection, error)
}

// Memory keeps definitions in memory, in the plainest way. It is the reference of the
// suite, and serves tests of who uses one. Any tenant is there. Make it with
// [NewMemory]. Safe for concurrent use.
type Memory struct {
	collections Collections

	mu  sync.Mutex
	all map[knowledge.TenantID]map[embed.Name]embed.Definition
}

var _ embed.Definitions = (*Memory)(nil)

// NewMemory returns a store without definitions, beside these collections.
func NewMemory(c Collections) *Memory {
	return &Memory{collections: c, all: map[knowledge.TenantID]map[embed.Name]embed.Definition{}}
}

// user returns a collection that is pinned to a name and, by its info, matches.
func (m *Memory) user(ctx context.Context, tenant knowledge.TenantID, name embed.Name, match func(knowledge.EmbedderInfo) bool) (*knowledge.Collection, error) {
	all, err := m.collections.ListCollections(ctx, tenant, "", 1000)
	for _, c := range all {
		if c.Embedder.ID == string(name) && match(c.Embedder) {
			return &c, err
		}
	}
	return nil, err
}

// PutEmbedder implements [embed.Definitions].
func (m *Memory) PutEmbedder(ctx context.Context, tenant knowledge.TenantID, d embed.Definition) (embed.Definition, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	user, err := m.user(ctx, tenant, d.Name, func(i knowledge.EmbedderInfo) bool { return i != d.Info() })
	if err != nil {
		return embed.Definition{}, false, err
	}
	if user != nil {
		return embed.Definition{}, false, embed.SpaceInUse(user.Name, user.Embedder)
	}
	before, there := m.all[tenant][d.Name]
	if !there && len(m.all[tenant]) == embed.MaxOwn {
		return embed.Definition{}, false, embed.TooMany()
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	d.Version, d.Created, d.Updated = before.Version+1, before.Created, now
	if !there {
		d.Created = now
	}
	d.Key.Bytes = slices.Clone(d.Key.Bytes)
	if m.all[tenant] == nil {
		m.all[tenant] = map[embed.Name]embed.Definition{}
	}
	m.all[tenant][d.Name] = d
	return d, !there, nil
}

// Embedder implements [embed.Definitions].
func (m *Memory) Embedder(ctx context.Context, tenant knowledge.TenantID, name embed.Name) (embed.Definition, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, ok := m.all[tenant][name]
	if !ok {
		return d, knowledge.NotFound("embedder", name)
	}
	return d, ctx.Err()
}

// ListEmbedders implements [embed.Definitions].
func (m *Memory) ListEmbedders(ctx context.Context, tenant knowledge.TenantID, after embed.Name, limit int) ([]embed.Definition, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []embed.Definition
	for name, d := range m.all[tenant] {
		if name > after {
			all = append(all, d)
		}
	}
	slices.SortFunc(all, func(a, b embed.Definition) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return all[:min(limit, len(all))], ctx.Err()
}

// DeleteEmbedder implements [embed.Definitions].
func (m *Memory) DeleteEmbedder(ctx context.Context, tenant knowledge.TenantID, name embed.Name) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.all[tenant][name]; !ok {
		return knowledge.NotFound("embedder", name)
	}
	user, err := m.user(ctx, tenant, name, func(knowledge.EmbedderInfo) bool { return true })
	if err != nil {
		return err
	}
	if user != nil {
		return embed.InUse(user.Name)
	}
	delete(m.all[tenant], name)
	return nil
}
