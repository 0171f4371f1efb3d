package ledgertest

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ledger"
)

// Memory is a [ledger.Store] in memory. It takes every tenant for one that is there,
// unless it was made with some. Make it with [NewMemory]; safe for concurrent use.
type Memory struct {
	tenants []knowledge.TenantID

	mu      sync.Mutex
	writers map[string]int64
	calls   map[knowledge.TenantID]map[ledger.ID]ledger.Call
	sums    map[ledger.Part]ledger.Usage
}

var _ ledger.Store = (*Memory)(nil)

// NewMemory returns an empty store of these tenants alone, or of all if there are none.
func NewMemory(tenants ...knowledge.TenantID) *Memory {
	return &Memory{
		tenants: tenants, writers: map[string]int64{},
		calls: map[knowledge.TenantID]map[ledger.ID]ledger.Call{}, sums: map[ledger.Part]ledger.Usage{},
	}
}

func (m *Memory) has(tenant knowledge.TenantID) bool {
	return len(m.tenants) == 0 || slices.Contains(m.tenants, tenant)
}

// Write implements [ledger.Writer].
func (m *Memory) Write(_ context.Context, b ledger.Batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.writers[b.Writer] >= b.Number {
		return nil
	}
	m.writers[b.Writer] = b.Number
	for _, c := range b.Calls {
		if !m.has(c.Tenant) {
			continue
		}
		of := m.calls[c.Tenant]
		if of == nil {
			of = map[ledger.ID]ledger.Call{}
			m.calls[c.Tenant] = of
		}
		if _, there := of[c.ID]; !there {
			of[c.ID] = c.Call
		}
	}
	for part, u := range b.Usage {
		if m.has(part.Tenant) {
			u.Add(m.sums[part])
			m.sums[part] = u
		}
	}
	return nil
}

// Call implements [ledger.Reader].
func (m *Memory) Call(_ context.Context, tenant knowledge.TenantID, id ledger.ID) (ledger.Call, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.calls[tenant][id]
	if !ok {
		return ledger.Call{}, knowledge.NotFound("call", id)
	}
	return c, nil
}

// Calls implements [ledger.Reader].
func (m *Memory) Calls(_ context.Context, tenant knowledge.TenantID, plugin string, s ledger.Selection, limit int) ([]ledger.Call, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []ledger.Call
	for _, c := range m.calls[tenant] {
		if c.Plugin == plugin && selected(c, s) {
			found = append(found, c)
		}
	}
	slices.SortFunc(found, func(a, b ledger.Call) int { return cmp.Compare(b.ID, a.ID) })
	return found[:min(limit, len(found))], nil
}

func selected(c ledger.Call, s ledger.Selection) bool {
	return (s.Before == "" || c.ID < s.Before) && (s.Key == nil || c.Key == *s.Key) &&
		(s.Version == 0 || c.Version == s.Version) && (s.Outcome == "" || c.Outcome == s.Outcome) &&
		(s.Since.IsZero() || !c.Started.Before(s.Since)) && (s.Until.IsZero() || c.Started.Before(s.Until))
}

// Usage implements [ledger.Reader].
func (m *Memory) Usage(_ context.Context, tenant knowledge.TenantID, q ledger.Question) ([]ledger.Sum, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	together := map[ledger.Part]ledger.Usage{}
	for p, u := range m.sums {
		if p.Tenant != tenant || p.Day < q.From || p.Day > q.To || q.Key != nil && p.Key != *q.Key {
			continue
		}
		if !q.ByDay {
			p.Day = ""
		}
		if !q.ByKey {
			p.Key = ""
		}
		if !q.ByPlugin {
			p.Plugin = ""
		}
		u.Add(together[p])
		together[p] = u
	}
	if len(together) > ledger.MaxSums {
		return nil, ledger.TooManySums()
	}
	parts := slices.SortedFunc(maps.Keys(together), func(a, b ledger.Part) int {
		return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Plugin, b.Plugin))
	})
	sums := make([]ledger.Sum, len(parts))
	for i, p := range parts {
		sums[i] = ledger.Sum{Day: p.Day, Key: p.Key, Plugin: p.Plugin, Usage: together[p]}
	}
	return sums, nil
}

// Sweep implements [ledger.Store].
func (m *Memory) Sweep(_ context.Context, age time.Duration) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	gone, before := int64(0), time.Now().Add(-age)
	for _, of := range m.calls {
		for id, c := range of {
			if c.Started.Before(before) {
				delete(of, id)
				gone++
			}
		}
	}
	return gone, nil
}
