package api

import (
	"context"
	"fmt"
	"strconv"

	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/plugins"
)

// catalog is what the handlers need of a [plugins.Catalog].
type catalog interface {
	Version(ctx context.Context, tenant knowledge.TenantID, name plugins.Name, ref plugins.Ref) (plugins.Version, error)
	ListVersions(ctx context.Context, tenant knowledge.TenantID, name plugins.Name, below, limit int) ([]plugins.Version, error)
	Plugin(ctx context.Context, tenant knowledge.TenantID, name plugins.Name) (plugins.Plugin, error)
	ListPlugins(ctx context.Context, tenant knowledge.TenantID, after plugins.Name, limit int) ([]plugins.Plugin, error)
	SetAlias(ctx context.Context, tenant knowledge.TenantID, name plugins.Name, alias plugins.Alias, number int) error
}

// invoker calls one plugin.
type invoker interface {
	Invoke(ctx context.Context, tenant knowledge.TenantID, name plugins.Name, ref plugins.Ref, capability string, input []byte, record bool) (plugins.Invocation, error)
	Replay(ctx context.Context, tenant knowledge.TenantID, rec plugins.Recording, ref *plugins.Ref) (plugins.Replayed, error)
}

// ListPlugins implements listPlugins.
func (s *Server) ListPlugins(ctx context.Context, r oapi.ListPluginsRequestObject) (oapi.ListPluginsResponseObject, error) {
	found, next, err := page("plugins", r.Params.Cursor, r.Params.Limit, plugins.ParseName,
		func(after plugins.Name, limit int) ([]plugins.Plugin, error) {
			return s.services.Catalog.ListPlugins(ctx, tenantOf(ctx), after, limit)
		},
		func(p plugins.Plugin) string { return string(p.Name) })
	if err != nil {
		return nil, err
	}
	return oapi.ListPlugins200JSONResponse{Plugins: each(found, pluginOut), NextCursor: next}, nil
}

// GetPlugin implements getPlugin.
func (s *Server) GetPlugin(ctx context.Context, r oapi.GetPluginRequestObject) (oapi.GetPluginResponseObject, error) {
	name, err := named("name", r.Name, plugins.ParseName)
	if err != nil {
		return nil, err
	}
	found, err := s.services.Catalog.Plugin(ctx, tenantOf(ctx), name)
	if err != nil {
		return nil, err
	}
	return oapi.GetPlugin200JSONResponse(pluginOut(found)), nil
}

// ListPluginVersions implements listPluginVersions.
func (s *Server) ListPluginVersions(ctx context.Context, r oapi.ListPluginVersionsRequestObject) (oapi.ListPluginVersionsResponseObject, error) {
	name, err := named("name", r.Name, plugins.ParseName)
	if err != nil {
		return nil, err
	}
	if _, err := s.services.Catalog.Plugin(ctx, tenantOf(ctx), name); err != nil {
		return nil, err
	}
	found, next, err := page("versions", r.Params.Cursor, r.Params.Limit, parseNumber,
		func(below string, limit int) ([]plugins.Version, error) {
			number, _ := strconv.Atoi(below) // zero for the first page
			return s.services.Catalog.ListVersions(ctx, tenantOf(ctx), name, number, limit)
		},
		func(v plugins.Version) string { return strconv.Itoa(v.Number) })
	if err != nil {
		return nil, err
	}
	return oapi.ListPluginVersions200JSONResponse{Versions: each(found, versionOut), NextCursor: next}, nil
}

// parseNumber checks the number of a version in a cursor.
func parseNumber(s string) (string, error) {
	if n, err := strconv.ParseInt(s, 10, 32); err != nil || n < 1 {
		return "", fmt.Errorf("%q is not the number of a version", s)
	}
	return s, nil
}

// GetPluginVersion implements getPluginVersion.
func (s *Server) GetPluginVersion(ctx context.Context, r oapi.GetPluginVersionRequestObject) (oapi.GetPluginVersionResponseObject, error) {
	name, err := named("name", r.Name, plugins.ParseName)
	if err != nil {
		return nil, err
	}
	ref, err := named("version", r.Version, plugins.ParseRef)
	if err != nil {
		return nil, err
	}
	found, err := s.services.Catalog.Version(ctx, tenantOf(ctx), name, ref)
	if err != nil {
		return nil, err
	}
	return oapi.GetPluginVersion200JSONResponse(versionOut(found)), nil
}

// SetPluginAlias implements setPluginAlias.
func (s *Server) SetPluginAlias(ctx context.Context, r oapi.SetPluginAliasRequestObject) (oapi.SetPluginAliasResponseObject, error) {
	name, err := named("name", r.Name, plugins.ParseName)
	if err != nil {
		return nil, err
	}
	alias, err := named("alias", r.Alias, plugins.ParseAlias)
	if err != nil {
		return nil, err
	}
	if err := s.services.Catalog.SetAlias(ctx, tenantOf(ctx), name, alias, r.Body.Version); err != nil {
		return nil, err
	}
	detailed(ctx, "version", strconv.Itoa(r.Body.Version))
	return oapi.SetPluginAlias200JSONResponse{Name: string(name), Alias: string(alias), Version: r.Body.Version}, nil
}

// InvokePlugin implements invokePlugin.
func (s *Server) InvokePlugin(ctx context.Context, r oapi.InvokePluginRequestObject) (oapi.InvokePluginResponseObject, error) {
	name, err := named("name", r.Name, plugins.ParseName)
	if err != nil {
		return nil, err
	}
	called, err := s.services.Invoker.Invoke(ctx, tenantOf(ctx), name, r.Body.Version, string(r.Body.Capability), r.Body.Input, r.Body.Record)
	if err != nil {
		return nil, err
	}
	return oapi.InvokePlugin200JSONResponse{
		Output: called.Output, Receipt: receiptOut(called.Receipt), Logs: logsOut(called.Receipt.Logs),
	}, nil
}

func pluginOut(p plugins.Plugin) oapi.Plugin {
	aliases := make(map[string]int, len(p.Aliases))
	for alias, number := range p.Aliases {
		aliases[string(alias)] = number
	}
	return oapi.Plugin{Name: string(p.Name), Newest: p.Newest, Aliases: aliases, CreatedAt: p.Created}
}

func versionOut(v plugins.Version) oapi.PluginVersion {
	same := func(s string) string { return s }
	i := v.Inspection
	return oapi.PluginVersion{
		Name: string(v.Name), Version: v.Number, Digest: v.Digest.String(), SizeBytes: v.Size,
		Manifest: v.Manifest.Document(), CreatedAt: v.Created,
		Inspection: oapi.Inspection{
			ModuleDigest: i.ModuleDigest.String(), Imports: each(i.Imports, same), Exports: each(i.Exports, same),
			Functions: i.Functions, MemoryPages: int64(i.MemoryPages), Features: each(i.Features, same), Toolchain: given(i.Toolchain),
		},
	}
}
