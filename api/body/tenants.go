package body

import (
	"slices"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/tenancy"
)

// maxName is the longest name for people, in bytes.
const maxName = 200

// TenantDefinition is the body of createTenant.
type TenantDefinition tenancy.Tenant

func (b *TenantDefinition) decode(d *decoder) error {
	err := d.object(func(name string) (err error) {
		switch name {
		case "id":
			b.ID, err = parsed(d, knowledge.ParseTenantID)
		case "name":
			b.Name, err = d.text(0, maxName)
		case "policy":
			err = d.policy(&b.Policy)
		default:
			err = unknown()
		}
		return err
	})
	if err == nil && b.ID == "" {
		err = missing("id")
	}
	return err
}

func (d *decoder) policy(p *tenancy.Policy) error {
	return d.object(func(name string) (err error) {
		switch name {
		case "min_isolation":
			p.MinIsolation, err = word(d, "process", "microvm")
		case "max_collections":
			p.MaxCollections, err = count(d, 1, 1_000_000)
		case "max_plugins":
			p.MaxPlugins, err = count(d, 1, 1_000_000)
		case "plugin_memory_bytes":
			p.PluginMemory, err = d.integer(64<<10, 4<<30)
		case "plugin_wall_ms":
			p.PluginWall, err = d.milliseconds()
		case "plugin_slots":
			p.PluginSlots, err = count(d, 1, 10_000)
		case "memory_bytes":
			p.Memory, err = d.integer(64<<10, 1<<40)
		case "plugin_weight":
			p.PluginWeight, err = count(d, 1, 1000)
		default:
			err = unknown()
		}
		return err
	})
}

// KeyDefinition is the body of createKey.
type KeyDefinition struct {
	Name    string
	Scopes  []tenancy.Scope            // empty when left out; no scope twice
	Views   []knowledge.CollectionName // empty when left out; no view twice
	Expires time.Time                  // zero when left out
}

func (b *KeyDefinition) decode(d *decoder) error {
	return d.object(func(name string) (err error) {
		switch name {
		case "name":
			b.Name, err = d.text(0, maxName)
		case "scopes":
			all := tenancy.TenantScopes()
			err = d.array(1, len(all), func(int) error {
				scope, err := word(d, all...)
				if slices.Contains(b.Scopes, scope) {
					return knowledge.Invalid("", "comes twice")
				}
				b.Scopes = append(b.Scopes, scope)
				return err
			})
		case "views":
			err = d.array(1, tenancy.MaxKeyViews, func(int) error {
				view, err := parsed(d, knowledge.ParseCollectionName)
				if slices.Contains(b.Views, view) {
					return knowledge.Invalid("", "comes twice")
				}
				b.Views = append(b.Views, view)
				return err
			})
		case "expires_at":
			b.Expires, err = d.moment()
		default:
			err = unknown()
		}
		return err
	})
}
