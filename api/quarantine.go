package api

import (
	"context"

	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/plugins"
	"github.com/tars-project/tars/vmhost" // for the type of a module's digest
)

// quarantine tells the operator what this node does not run any more.
type quarantine interface {
	ListQuarantined(ctx context.Context, after string, limit int) ([]plugins.Quarantined, error)
	ReleaseQuarantined(ctx context.Context, tenant knowledge.TenantID, module vmhost.Digest) error
}

// ListQuarantined implements listQuarantined.
func (s *Server) ListQuarantined(ctx context.Context, r oapi.ListQuarantinedRequestObject) (oapi.ListQuarantinedResponseObject, error) {
	anyText := func(s string) (string, error) { return s, knowledge.CheckText(s) }
	found, next, err := page("quarantine", r.Params.Cursor, r.Params.Limit, anyText,
		func(after string, limit int) ([]plugins.Quarantined, error) {
			return s.services.Quarantine.ListQuarantined(ctx, after, limit)
		},
		plugins.Quarantined.Key)
	if err != nil {
		return nil, err
	}
	return oapi.ListQuarantined200JSONResponse{Modules: each(found, quarantinedOut), NextCursor: next}, nil
}

// ReleaseQuarantined implements releaseQuarantined.
func (s *Server) ReleaseQuarantined(ctx context.Context, r oapi.ReleaseQuarantinedRequestObject) (oapi.ReleaseQuarantinedResponseObject, error) {
	tenant, err := named("tenant", r.Tenant, knowledge.ParseTenantID)
	if err != nil {
		return nil, err
	}
	module, err := named("module", r.Module, plugins.ParseModuleDigest)
	if err != nil {
		return nil, err
	}
	if err := s.services.Quarantine.ReleaseQuarantined(ctx, tenant, module); err != nil {
		return nil, err
	}
	return oapi.ReleaseQuarantined204Response{}, nil
}

func quarantinedOut(q plugins.Quarantined) oapi.QuarantinedModule {
	return oapi.QuarantinedModule{
		Tenant: string(q.Tenant), ModuleDigest: q.Module.String(), Reason: q.Reason, Since: q.Since, Deaths: q.Deaths,
	}
}
