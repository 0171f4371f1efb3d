package query

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/tars-project/tars/knowledge"
)

// defaultLimit is how many matches there are where nothing says how many.
const defaultLimit = 10

// withPresets puts the defaults of the legs' collections and views where the query
// gives nothing. A default counts only if it is that of all legs: what one of them
// is meant to do should not happen to the others.
func (e *Engine) withPresets(ctx context.Context, tenant knowledge.TenantID, q Query) (Query, error) {
	plugins := q.Plugins == nil && q.Text != ""
	if q.Limit != 0 && !plugins {
		return q, nil
	}
	var common knowledge.Defaults
	for i, leg := range q.Legs {
		named, err := e.Store.Resolve(ctx, tenant, leg.Collection)
		if err != nil {
			return q, fmt.Errorf("collection %q: %w", leg.Collection, err)
		}
		preset := named.Preset()
		if i == 0 {
			common = preset
			continue
		}
		if preset.Limit != common.Limit {
			common.Limit = 0
		}
		if !slices.Equal(preset.Plugins, common.Plugins) {
			common.Plugins = nil
		}
	}
	if q.Limit == 0 {
		q.Limit = common.Limit
	}
	if q.Limit == 0 {
		q.Limit = defaultLimit
	}
	if plugins {
		for _, p := range common.Plugins {
			q.Plugins = append(q.Plugins, PluginCall{
				Name: p.Name, Version: p.Version, Capability: Capability(p.Capability), Config: json.RawMessage(p.Config), OnError: Skip,
			})
		}
	}
	return q, nil
}
