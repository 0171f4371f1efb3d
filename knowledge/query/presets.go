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

// question is what a leg or a search asks with.
type question struct{ text, vector bool }

// presetMode is how a leg or a search looks for records that does not say. A text
// alone, which every mode can look for, goes by what the collection or view prefers,
// else by meaning and by words; by words alone where there is no embedder.
func presetMode(mode Mode, named knowledge.Resolved, q question) Mode {
	switch preset := named.Preset(); {
	case mode != "":
		return mode
	case !q.text:
		return Vector
	case q.vector:
		return Hybrid
	case preset.Mode != "":
		return preset.Mode
	case named.Embedder.ID == knowledge.NoEmbedder:
		return Lexical
	default:
		return Hybrid
	}
}

// withPreset puts the defaults of the collection or view where a search gives nothing.
func (e *Engine) withPreset(ctx context.Context, tenant knowledge.TenantID, s SearchText) (SearchText, error) {
	q := question{text: s.Text != "", vector: len(s.Vector) > 0}
	if s.Limit != 0 && (s.Mode != "" || !q.text) {
		s.Mode = cmp.Or(s.Mode, Vector)
		return s, nil
	}
	named, err := e.Store.Resolve(ctx, tenant, s.Collection)
	if err != nil {
		return s, fmt.Errorf("search: %w", err)
	}
	preset := named.Preset()
	s.Mode = presetMode(s.Mode, named, q)
	if s.Limit == 0 && s.GroupBy == nil {
		s.Limit = cmp.Or(preset.Limit, defaultLimit)
	}
	return s, nil
}

// withPresets puts the defaults of the legs' collections and views where the query
// gives nothing. A default counts only if it is that of all legs: what one of them
// is meant to do should not happen to the others. A view of another tenant has no
// plugins: those that its owner names are the owner's.
func (e *Engine) withPresets(ctx context.Context, tenant knowledge.TenantID, q Query) (Query, error) {
	plugins := q.Plugins == nil && q.Text != ""
	if q.Limit != 0 && !plugins && !slices.ContainsFunc(q.Legs, func(l Leg) bool { return l.Mode == "" }) {
		return q, nil
	}
	q.Legs = slices.Clone(q.Legs)
	var common knowledge.Defaults
	for i, leg := range q.Legs {
		from, err := e.sourceOf(ctx, tenant, leg)
		if err != nil {
			return q, err
		}
		preset := from.named.Preset()
		if leg.Owner != "" {
			preset.Plugins = nil
		}
		q.Legs[i].Mode = presetMode(leg.Mode, from.named, question{text: leg.Text != "", vector: len(leg.Vector) > 0})
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
			call := PluginCall{Name: p.Name, Version: p.Version, Capability: Capability(p.Capability)}
			if p.Config != "" {
				call.Config = json.RawMessage(p.Config)
			}
			q.Plugins = append(q.Plugins, call)
		}
		var err error
		if q.Plugins, err = withPluginDefaults(q.Plugins, q.Text); err != nil {
			return q, err
		}
	}
	return q, nil
}
