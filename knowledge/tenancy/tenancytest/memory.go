package tenancytest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/tenancy"
)

// Memory keeps tenants, keys and secrets in memory, in the plainest way. It is
// the reference of the suites, and serves tests of who uses a directory. Make it
// with [NewMemory]. Safe for concurrent use.
type Memory struct {
	mu      sync.Mutex
	tenants map[knowledge.TenantID]tenancy.Tenant
	keys    map[string]tenancy.StoredKey // by prefix
	secrets map[secretKey]tenancy.Sealed
}

type secretKey struct {
	tenant knowledge.TenantID
	name   string
}

var (
	_ tenancy.Directory = (*Memory)(nil)
	_ tenancy.Secrets   = (*Memory)(nil)
)

// NewMemory returns an empty directory.
func NewMemory() *Memory {
	return &Memory{
		tenants: map[knowledge.TenantID]tenancy.Tenant{},
		keys:    map[string]tenancy.StoredKey{},
		secrets: map[secretKey]tenancy.Sealed{},
	}
}

// CreateTenant implements [tenancy.Directory].
func (m *Memory) CreateTenant(_ context.Context, t tenancy.Tenant) (tenancy.Tenant, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, taken := m.tenants[t.ID]; taken {
		return tenancy.Tenant{}, fmt.Errorf("tenant %q: %w", t.ID, knowledge.ErrConflict)
	}
	t.Created = time.Now()
	m.tenants[t.ID] = t
	return t, nil
}

// Tenant implements [tenancy.Directory].
func (m *Memory) Tenant(_ context.Context, id knowledge.TenantID) (tenancy.Tenant, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tenant(id)
}

// tenant finds one. The caller holds mu.
func (m *Memory) tenant(id knowledge.TenantID) (tenancy.Tenant, error) {
	t, ok := m.tenants[id]
	if !ok {
		return tenancy.Tenant{}, fmt.Errorf("tenant %q: %w", id, knowledge.ErrNotFound)
	}
	return t, nil
}

// ListTenants implements [tenancy.Directory].
func (m *Memory) ListTenants(_ context.Context, after knowledge.TenantID, limit int) ([]tenancy.Tenant, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []tenancy.Tenant
	for id, t := range m.tenants {
		if id > after {
			found = append(found, t)
		}
	}
	slices.SortFunc(found, func(a, b tenancy.Tenant) int { return cmp.Compare(a.ID, b.ID) })
	return found[:min(limit, len(found))], nil
}

// CreateKey implements [tenancy.Directory].
func (m *Memory) CreateKey(_ context.Context, k tenancy.StoredKey) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.tenant(k.Tenant); err != nil {
		return err
	}
	for _, other := range m.keys {
		if other.Prefix == k.Prefix || other.Tenant == k.Tenant && other.ID == k.ID {
			return fmt.Errorf("key %q: %w", k.ID, knowledge.ErrConflict)
		}
	}
	m.keys[k.Prefix] = k
	return nil
}

// ListKeys implements [tenancy.Directory].
func (m *Memory) ListKeys(_ context.Context, tenant knowledge.TenantID, after string, limit int) ([]tenancy.Key, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []tenancy.Key
	for _, k := range m.keys {
		if k.Tenant == tenant && k.ID > after {
			found = append(found, k.Key)
		}
	}
	slices.SortFunc(found, func(a, b tenancy.Key) int { return cmp.Compare(a.ID, b.ID) })
	return found[:min(limit, len(found))], nil
}

// RevokeKey implements [tenancy.Directory].
func (m *Memory) RevokeKey(_ context.Context, tenant knowledge.TenantID, keyID string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for prefix, k := range m.keys {
		if k.Tenant == tenant && k.ID == keyID {
			if k.Revoked.IsZero() {
				k.Revoked = time.Now()
			}
			m.keys[prefix] = k
			return nil
		}
	}
	return fmt.Errorf("key: %w", knowledge.ErrNotFound)
}

// FindKey implements [tenancy.Directory].
func (m *Memory) FindKey(_ context.Context, prefix string) (tenancy.StoredKey, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, ok := m.keys[prefix]
	if !ok {
		return tenancy.StoredKey{}, fmt.Errorf("key: %w", knowledge.ErrNotFound)
	}
	k.Policy = m.tenants[k.Tenant].Policy
	return k, nil
}

// TouchKeys implements [tenancy.Directory].
func (m *Memory) TouchKeys(_ context.Context, uses []tenancy.LastUse) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, u := range uses {
		for prefix, k := range m.keys {
			if k.Tenant == u.Tenant && k.ID == u.KeyID && u.At.After(k.LastUsed) {
				k.LastUsed = u.At
				m.keys[prefix] = k
			}
		}
	}
	return nil
}

// PutSecret implements [tenancy.Secrets].
func (m *Memory) PutSecret(_ context.Context, tenant knowledge.TenantID, name string, s tenancy.Sealed) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.tenant(tenant); err != nil {
		return err
	}
	m.secrets[secretKey{tenant, name}] = s
	return nil
}

// Secret implements [tenancy.Secrets].
func (m *Memory) Secret(_ context.Context, tenant knowledge.TenantID, name string) (tenancy.Sealed, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.secrets[secretKey{tenant, name}]
	if !ok {
		return tenancy.Sealed{}, fmt.Errorf("secret: %w", knowledge.ErrNotFound)
	}
	return s, nil
}

// DeleteSecret implements [tenancy.Secrets].
func (m *Memory) DeleteSecret(_ context.Context, tenant knowledge.TenantID, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.secrets[secretKey{tenant, name}]; !ok {
		return fmt.Errorf("secret: %w", knowledge.ErrNotFound)
	}
	delete(m.secrets, secretKey{tenant, name})
	return nil
}
