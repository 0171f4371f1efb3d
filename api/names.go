package api

import (
	"context"
	"encoding/json"

	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge"
)

// names keeps aliases and views.
type names interface{ knowledge.Names }

// PutAlias implements putAlias.
func (s *Server) PutAlias(ctx context.Context, r oapi.PutAliasRequestObject) (oapi.PutAliasResponseObject, error) {
	alias, err := named("alias", r.Alias, knowledge.ParseCollectionName)
	if err != nil {
		return nil, err
	}
	changed, err := s.services.Names.ChangeAliases(ctx, tenantOf(ctx), []knowledge.AliasAction{{Alias: alias, Collection: r.Body.Collection}})
	switch {
	case err != nil:
		return nil, err
	case changed[0].Created.Equal(changed[0].Updated):
		return oapi.PutAlias201JSONResponse(aliasOut(changed[0])), nil
	default:
		return oapi.PutAlias200JSONResponse(aliasOut(changed[0])), nil
	}
}

// GetAlias implements getAlias.
func (s *Server) GetAlias(ctx context.Context, r oapi.GetAliasRequestObject) (oapi.GetAliasResponseObject, error) {
	name, err := named("alias", r.Alias, knowledge.ParseCollectionName)
	if err != nil {
		return nil, err
	}
	alias, err := s.services.Names.Alias(ctx, tenantOf(ctx), name)
	if err != nil {
		return nil, err
	}
	return oapi.GetAlias200JSONResponse(aliasOut(alias)), nil
}

// DeleteAlias implements deleteAlias.
func (s *Server) DeleteAlias(ctx context.Context, r oapi.DeleteAliasRequestObject) (oapi.DeleteAliasResponseObject, error) {
	name, err := named("alias", r.Alias, knowledge.ParseCollectionName)
	if err != nil {
		return nil, err
	}
	if _, err := s.services.Names.ChangeAliases(ctx, tenantOf(ctx), []knowledge.AliasAction{{Alias: name}}); err != nil {
		return nil, err
	}
	return oapi.DeleteAlias204Response{}, nil
}

// ListAliases implements listAliases.
func (s *Server) ListAliases(ctx context.Context, r oapi.ListAliasesRequestObject) (oapi.ListAliasesResponseObject, error) {
	found, next, err := page("aliases", r.Params.Cursor, r.Params.Limit, knowledge.ParseCollectionName,
		func(after knowledge.CollectionName, limit int) ([]knowledge.Alias, error) {
			return s.services.Names.ListAliases(ctx, tenantOf(ctx), after, limit)
		},
		func(a knowledge.Alias) string { return string(a.Name) })
	if err != nil {
		return nil, err
	}
	return oapi.ListAliases200JSONResponse{Aliases: each(found, aliasOut), NextCursor: next}, nil
}

// ChangeAliases implements changeAliases.
func (s *Server) ChangeAliases(ctx context.Context, r oapi.ChangeAliasesRequestObject) (oapi.ChangeAliasesResponseObject, error) {
	changed, err := s.services.Names.ChangeAliases(ctx, tenantOf(ctx), r.Body.Actions)
	if err != nil {
		return nil, err
	}
	for _, action := range r.Body.Actions {
		detailed(ctx, "alias", string(action.Alias))
	}
	set := oapi.ChangeAliases200JSONResponse{Aliases: []oapi.CollectionAlias{}}
	for _, alias := range changed {
		if alias.Name != "" {
			set.Aliases = append(set.Aliases, aliasOut(alias))
		}
	}
	return set, nil
}

func aliasOut(a knowledge.Alias) oapi.CollectionAlias {
	return oapi.CollectionAlias{Alias: string(a.Name), Collection: string(a.Collection), CreatedAt: a.Created, UpdatedAt: a.Updated}
}

// PutView implements putView.
func (s *Server) PutView(ctx context.Context, r oapi.PutViewRequestObject) (oapi.PutViewResponseObject, error) {
	name, err := named("view", r.View, knowledge.ParseCollectionName)
	if err != nil {
		return nil, err
	}
	view := knowledge.View(*r.Body)
	view.Name = name
	stored, created, err := s.services.Names.PutView(ctx, tenantOf(ctx), view)
	if err != nil {
		return nil, err
	}
	out, err := viewOut(stored)
	switch {
	case err != nil:
		return nil, err
	case created:
		return oapi.PutView201JSONResponse(out), nil
	default:
		return oapi.PutView200JSONResponse(out), nil
	}
}

// GetView implements getView.
func (s *Server) GetView(ctx context.Context, r oapi.GetViewRequestObject) (oapi.GetViewResponseObject, error) {
	name, err := named("view", r.View, knowledge.ParseCollectionName)
	if err != nil {
		return nil, err
	}
	view, err := s.services.Names.View(ctx, tenantOf(ctx), name)
	if err != nil {
		return nil, err
	}
	out, err := viewOut(view)
	return oapi.GetView200JSONResponse(out), err
}

// ListViews implements listViews.
func (s *Server) ListViews(ctx context.Context, r oapi.ListViewsRequestObject) (oapi.ListViewsResponseObject, error) {
	found, next, err := page("views", r.Params.Cursor, r.Params.Limit, knowledge.ParseCollectionName,
		func(after knowledge.CollectionName, limit int) ([]knowledge.View, error) {
			return s.services.Names.ListViews(ctx, tenantOf(ctx), after, limit)
		},
		func(v knowledge.View) string { return string(v.Name) })
	if err != nil {
		return nil, err
	}
	views := make([]oapi.View, len(found))
	for i, v := range found {
		if views[i], err = viewOut(v); err != nil {
			return nil, err
		}
	}
	return oapi.ListViews200JSONResponse{Views: views, NextCursor: next}, nil
}

// DeleteView implements deleteView.
func (s *Server) DeleteView(ctx context.Context, r oapi.DeleteViewRequestObject) (oapi.DeleteViewResponseObject, error) {
	name, err := named("view", r.View, knowledge.ParseCollectionName)
	if err != nil {
		return nil, err
	}
	if err := s.services.Names.DeleteView(ctx, tenantOf(ctx), name); err != nil {
		return nil, err
	}
	return oapi.DeleteView204Response{}, nil
}

func viewOut(v knowledge.View) (oapi.View, error) {
	filter, err := json.Marshal(filterOut(v.Filter))
	hidden := v.Hidden
	if hidden == nil {
		hidden = []string{}
	}
	return oapi.View{
		View: string(v.Name), Collection: string(v.Collection), Filter: filter, Hidden: hidden,
		Defaults: defaultsOut(v.Defaults), CreatedAt: v.Created, UpdatedAt: v.Updated,
	}, err
}

// filterOut is a filter as it is written in JSON.
func filterOut(f knowledge.Filter) map[string]any {
	switch f.Op {
	case knowledge.OpAnd, knowledge.OpOr:
		return map[string]any{string(f.Op): each(f.Terms, filterOut)}
	case knowledge.OpNot:
		return map[string]any{string(f.Op): filterOut(f.Terms[0])}
	}
	out := map[string]any{}
	if f.Field != "" {
		out["field"] = f.Field
	}
	switch {
	case f.Op == knowledge.OpIn && f.Values == nil:
		out[string(f.Op)] = []any{}
	case f.Op == knowledge.OpIn:
		out[string(f.Op)] = f.Values
	default:
		out[string(f.Op)] = f.Values[0]
	}
	return out
}

func defaultsOut(d knowledge.Defaults) oapi.Defaults {
	out := oapi.Defaults{Limit: given(d.Limit), Mode: given(oapi.SearchMode(d.Mode))}
	if d.Plugins != nil {
		plugins := each(d.Plugins, defaultPluginOut)
		out.Plugins = &plugins
	}
	return out
}

func defaultPluginOut(p knowledge.DefaultPlugin) oapi.DefaultPlugin {
	out := oapi.DefaultPlugin{Name: p.Name, Version: given(p.Version), Capability: oapi.QueryCapability(p.Capability)}
	if p.Config != "" {
		config := map[string]any{}
		if json.Unmarshal([]byte(p.Config), &config) == nil { // it was checked when it came
			out.Config = &config
		}
	}
	return out
}
