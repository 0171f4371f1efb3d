// Package memcatalog is the reference of [plugins.Catalog]: it keeps plugins in
// memory, for tests.
package memcatalog

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/plugins"
)

// Catalog keeps plugins. The zero value is empty and ready for use.
type Catalog struct {
	mu      sync.Mutex
	plugins map[key]*plugin // guarded by mu
}

type key struct {
	tenant knowledge.TenantID
	name   plugins.Name
}

// plugin has its versions in order: number i at i-1.
type plugin struct {
	versions []plugins.Version
	modules  [][]byte
	aliases  map[plugins.Alias]int
}

// PutVersion implements [plugins.Catalog].
func (c *Catalog) PutVersion(_ context.Context, tenant knowledge.TenantID, v plugins.Version, module []byte, maxNames int) (plugins.Version, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.plugins[key{tenant, v.Name}]
	if !ok {
		if maxNames > 0 && c.names(tenant) >= maxNames {
			return plugins.Version{}, false, knowledge.Limit(fmt.Sprintf("the tenant may have %d plugins", maxNames))
		}
		if c.plugins == nil {
			c.plugins = map[key]*plugin{}
		}
		p = &plugin{aliases: map[plugins.Alias]int{}}
		c.plugins[key{tenant, v.Name}] = p
	}
	for _, old := range p.versions {
		if old.Digest == v.Digest {
			return old, false, nil
		}
	}
	v.Number = len(p.versions) + 1
	v.Created = time.Now()
	p.versions = append(p.versions, v)
	p.modules = append(p.modules, bytes.Clone(module))
	return v, true, nil
}

// names counts a tenant's plugins. The caller holds mu.
func (c *Catalog) names(tenant knowledge.TenantID) int {
	n := 0
	for k := range c.plugins {
		if k.tenant == tenant {
			n++
		}
	}
	return n
}

// find returns a plugin, or an error wrapping [knowledge.ErrNotFound]. The
// caller holds mu.
func (c *Catalog) find(tenant knowledge.TenantID, name plugins.Name) (*plugin, error) {
	p, ok := c.plugins[key{tenant, name}]
	if !ok {
		return nil, knowledge.NotFound("plugin", name)
	}
	return p, nil
}

// Version implements [plugins.Catalog].
func (c *Catalog) Version(_ context.Context, tenant knowledge.TenantID, name plugins.Name, ref plugins.Ref) (plugins.Version, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, err := c.find(tenant, name)
	if err != nil {
		return plugins.Version{}, err
	}
	number := ref.Number
	if ref.Digest == nil && number == 0 {
		number = p.aliases[cmp.Or(ref.Alias, plugins.Live)]
	}
	for _, v := range p.versions {
		if ref.Digest != nil && v.Digest == *ref.Digest || ref.Digest == nil && v.Number == number {
			return v, nil
		}
	}
	return plugins.Version{}, knowledge.NotFound("plugin version", name)
}

// Module implements [plugins.Catalog].
func (c *Catalog) Module(_ context.Context, tenant knowledge.TenantID, name plugins.Name, number int) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, err := c.find(tenant, name)
	if err != nil {
		return nil, err
	}
	if number < 1 || number > len(p.modules) {
		return nil, knowledge.NotFound("plugin version", name)
	}
	return bytes.Clone(p.modules[number-1]), nil
}

// ListVersions implements [plugins.Catalog].
func (c *Catalog) ListVersions(_ context.Context, tenant knowledge.TenantID, name plugins.Name, below, limit int) ([]plugins.Version, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, err := c.find(tenant, name)
	if err != nil {
		return nil, err
	}
	var versions []plugins.Version
	for _, v := range slices.Backward(p.versions) {
		if (below == 0 || v.Number < below) && len(versions) < limit {
			versions = append(versions, v)
		}
	}
	return versions, nil
}

// Plugin implements [plugins.Catalog].
func (c *Catalog) Plugin(_ context.Context, tenant knowledge.TenantID, name plugins.Name) (plugins.Plugin, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, err := c.find(tenant, name)
	if err != nil {
		return plugins.Plugin{}, err
	}
	return p.summary(name), nil
}

func (p *plugin) summary(name plugins.Name) plugins.Plugin {
	return plugins.Plugin{Name: name, Newest: len(p.versions), Aliases: maps.Clone(p.aliases), Created: p.versions[0].Created}
}

// ListPlugins implements [plugins.Catalog].
func (c *Catalog) ListPlugins(_ context.Context, tenant knowledge.TenantID, after plugins.Name, limit int) ([]plugins.Plugin, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []plugins.Plugin
	for k, p := range c.plugins {
		if k.tenant == tenant && k.name > after {
			found = append(found, p.summary(k.name))
		}
	}
	slices.SortFunc(found, func(a, b plugins.Plugin) int { return cmp.Compare(a.Name, b.Name) })
	return found[:min(limit, len(found))], nil
}

// SetAlias implements [plugins.Catalog].
func (c *Catalog) SetAlias(_ context.Context, tenant knowledge.TenantID, name plugins.Name, alias plugins.Alias, number int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, err := c.find(tenant, name)
	if err != nil {
		return err
	}
	if number < 1 || number > len(p.versions) {
		return knowledge.NotFound("plugin version", name)
	}
	p.aliases[alias] = number
	return nil
}
