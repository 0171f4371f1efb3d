package query

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/tars-project/tars/knowledge"
)

// defaultLimit is how many matches there are where nothing says how many.
const defaultLimit = 10

// presetMode is how a leg or a search looks for records that does not say: as its
// collection or view prefers, if it has a text alone, which every mode can look for.
func presetMode(mode Mode, preset knowledge.Defaults, textAlone bool) Mode {
	switch {
	case mode != "":
		return mode
	case textAlone && preset.Mode != "":
		return preset.Mode
	}
	return Vector
}

// withPreset puts the defaults of the collection or view where a search gives nothing.
func (e *Engine) withPreset(ctx context.Context, tenant knowledge.TenantID, s SearchText) (SearchText, error) {
	textAlone := s.Text != "" && len(s.Vector) == 0 && s.Recommend == nil
	if s.Limit != 0 && (s.Mode != "" || !textAlone) {
		s.Mode = cmp.Or(s.Mode, Vector)
		return s, nil
	}
	named, err := e.Store.Resolve(ctx, tenant, s.Collection)
	if err != nil {
		return s, fmt.Errorf("search: %w", err)
	}
	preset := named.Preset()
	s.Mode = presetMode(s.Mode, preset, textAlone)
	if s.Limit == 0 && s.GroupBy == nil {
		s.Limit = cmp.Or(preset.Limit, defaultLimit)
	}
	return s, nil
}

// withPresets puts the defaults of the legs' collections and views where the query
// gives nothing. A default counts only if it is that of all legs: what one of them
// is meant to do should not happen to the others.
func (e *Engine) withPresets(ctx context.Context, tenant knowledge.TenantID, q Query) (Query, error) {
	plugins := q.Plugins == nil && q.Text != ""
	if q.Limit != 0 && !plugins && !slices.ContainsFunc(q.Legs, func(l Leg) bool { return l.Mode == "" }) {
		return q, nil
	}
	q.Legs = slices.Clone(q.Legs)
	var common knowledge.Defaults
	for i, leg := range q.Legs {
		named, err := e.Store.Resolve(ctx, tenant, leg.Collection)
		if err != nil {
			return q, fmt.Errorf("collection %q: %w", leg.Collection, err)
		}
		preset := named.Preset()
		q.Legs[i].Mode = presetMode(leg.Mode, preset, leg.Text != "" && len(leg.Vector) == 0)
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
