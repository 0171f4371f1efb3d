package api

import (
	"context"
	"time"

	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/tenancy"
)

// tenants keeps tenants and issues their keys.
type tenants interface {
	CreateTenant(ctx context.Context, t tenancy.Tenant) (tenancy.Tenant, error)
	Tenant(ctx context.Context, id knowledge.TenantID) (tenancy.Tenant, error)
	ListTenants(ctx context.Context, after knowledge.TenantID, limit int) ([]tenancy.Tenant, error)
	IssueKey(ctx context.Context, tenant knowledge.TenantID, name string, scopes []tenancy.Scope, expires time.Time, views ...knowledge.CollectionName) (tenancy.Key, string, error)
	ListKeys(ctx context.Context, tenant knowledge.TenantID, after string, limit int) ([]tenancy.Key, error)
	RevokeKey(ctx context.Context, tenant knowledge.TenantID, keyID string) error
}

// CreateTenant implements createTenant.
func (s *Server) CreateTenant(ctx context.Context, r oapi.CreateTenantRequestObject) (oapi.CreateTenantResponseObject, error) {
	created, err := s.services.Tenants.CreateTenant(ctx, tenancy.Tenant(*r.Body))
	if err != nil {
		return nil, err
	}
	madeNamed(ctx, string(created.ID))
	return oapi.CreateTenant201JSONResponse(tenantOut(created)), nil
}

// GetTenant implements getTenant.
func (s *Server) GetTenant(ctx context.Context, r oapi.GetTenantRequestObject) (oapi.GetTenantResponseObject, error) {
	id, err := named("tenant", r.Tenant, knowledge.ParseTenantID)
	if err != nil {
		return nil, err
	}
	found, err := s.services.Tenants.Tenant(ctx, id)
	if err != nil {
		return nil, err
	}
	return oapi.GetTenant200JSONResponse(tenantOut(found)), nil
}

// ListTenants implements listTenants.
func (s *Server) ListTenants(ctx context.Context, r oapi.ListTenantsRequestObject) (oapi.ListTenantsResponseObject, error) {
	found, next, err := page("tenants", r.Params.Cursor, r.Params.Limit, knowledge.ParseTenantID,
		func(after knowledge.TenantID, limit int) ([]tenancy.Tenant, error) {
			return s.services.Tenants.ListTenants(ctx, after, limit)
		},
		func(t tenancy.Tenant) string { return string(t.ID) })
	if err != nil {
		return nil, err
	}
	return oapi.ListTenants200JSONResponse{Tenants: each(found, tenantOut), NextCursor: next}, nil
}

// CreateKey implements createKey.
func (s *Server) CreateKey(ctx context.Context, r oapi.CreateKeyRequestObject) (oapi.CreateKeyResponseObject, error) {
	id, err := named("tenant", r.Tenant, knowledge.ParseTenantID)
	if err != nil {
		return nil, err
	}
	key, token, err := s.services.Tenants.IssueKey(ctx, id, r.Body.Name, r.Body.Scopes, r.Body.Expires, r.Body.Views...)
	if err != nil {
		return nil, err
	}
	madeNamed(ctx, key.ID)
	for _, scope := range key.Scopes {
		detailed(ctx, "scopes", string(scope))
	}
	noStore := "no-store"
	return oapi.CreateKey201JSONResponse{
		Body:    oapi.IssuedKey{Key: keyOut(key), Token: token},
		Headers: oapi.CreateKey201ResponseHeaders{CacheControl: &noStore},
	}, nil
}

// ListKeys implements listKeys.
func (s *Server) ListKeys(ctx context.Context, r oapi.ListKeysRequestObject) (oapi.ListKeysResponseObject, error) {
	id, err := named("tenant", r.Tenant, knowledge.ParseTenantID)
	if err != nil {
		return nil, err
	}
	anyText := func(s string) (string, error) { return s, knowledge.CheckText(s) }
	found, next, err := page("keys", r.Params.Cursor, r.Params.Limit, anyText,
		func(after string, limit int) ([]tenancy.Key, error) {
			return s.services.Tenants.ListKeys(ctx, id, after, limit)
		},
		func(k tenancy.Key) string { return k.ID })
	if err != nil {
		return nil, err
	}
	return oapi.ListKeys200JSONResponse{Keys: each(found, keyOut), NextCursor: next}, nil
}

// RevokeKey implements revokeKey.
func (s *Server) RevokeKey(ctx context.Context, r oapi.RevokeKeyRequestObject) (oapi.RevokeKeyResponseObject, error) {
	id, err := named("tenant", r.Tenant, knowledge.ParseTenantID)
	if err != nil {
		return nil, err
	}
	if err := s.services.Tenants.RevokeKey(ctx, id, r.Key); err != nil {
		return nil, err
	}
	return oapi.RevokeKey204Response{}, nil
}

func tenantOut(t tenancy.Tenant) oapi.Tenant {
	p := t.Policy
	return oapi.Tenant{
		Id: string(t.ID), Name: t.Name, CreatedAt: t.Created,
		Policy: oapi.Policy{
			MinIsolation: given(oapi.PolicyMinIsolation(p.MinIsolation)), MaxCollections: given(p.MaxCollections),
			MaxPlugins: given(p.MaxPlugins), PluginMemoryBytes: given(p.PluginMemory),
			PluginWallMs: given(p.PluginWall.Milliseconds()), PluginSlots: given(p.PluginSlots),
			MemoryBytes: given(p.Memory), PluginWeight: given(p.PluginWeight),
		},
	}
}

func keyOut(k tenancy.Key) oapi.Key {
	var views *[]oapi.Name
	if k.Views != nil {
		names := each(k.Views, func(v knowledge.CollectionName) oapi.Name { return oapi.Name(v) })
		views = &names
	}
	return oapi.Key{
		Views: views,
		Id:    k.ID, Prefix: k.Prefix, Name: k.Name,
		Scopes:    each(k.Scopes, func(s tenancy.Scope) oapi.Scope { return oapi.Scope(s) }),
		CreatedAt: k.Created, ExpiresAt: timeOut(k.Expires), RevokedAt: timeOut(k.Revoked), LastUsedAt: timeOut(k.LastUsed),
	}
}
