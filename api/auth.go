package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/tenancy"
)

// authenticator is who knows what a bearer token is worth. It returns
// [tenancy.ErrUnauthenticated] for one that is worth nothing.
type authenticator interface {
	Authenticate(ctx context.Context, token string) (tenancy.Principal, error)
}

// maxToken is the longest token that is looked at, in bytes.
const maxToken = 512

// authenticated finds out who asks, and refuses who may not have the operation.
// The context that it returns carries the principal to the handler and no
// further: from there the tenant is an argument. The views that the key is limited
// to go on, for the store, and its id, for the ledger.
func (s *Server) authenticated(ctx context.Context, c echo.Context, op *operation) (context.Context, error) {
	if op.scope == "" {
		return ctx, nil
	}
	token, ok := bearer(c.Request().Header)
	if !ok {
		return ctx, tenancy.ErrUnauthenticated
	}
	principal, err := s.services.Keys.Authenticate(ctx, token)
	if err != nil {
		return ctx, err
	}
	c.Set(keyCaller, &principal)
	// An operator has no tenant, and a tenant is no operator, whatever scopes
	// a key was given.
	if !principal.May(op.scope) || (op.scope == tenancy.ScopeAdmin) != (principal.Tenant == "") {
		return ctx, knowledge.ErrForbidden
	}
	if principal.Views != nil {
		ctx = knowledge.LimitToViews(ctx, principal.Views)
	}
	ctx = knowledge.AskedBy(ctx, principal.KeyID)
	return context.WithValue(ctx, principalKey{}, principal), nil
}

// bearer returns the token of the one Authorization header.
func bearer(h http.Header) (string, bool) {
	values := h.Values("Authorization")
	if len(values) != 1 {
		return "", false
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" || len(token) > maxToken {
		return "", false
	}
	return token, !strings.ContainsAny(token, " \t,")
}

type principalKey struct{}

// tenantOf returns the tenant of a request to an operation that needs one.
func tenantOf(ctx context.Context) knowledge.TenantID { return principalOf(ctx).Tenant }

// principalOf returns who asks. The guard has put it there; without it a handler
// must not go on.
func principalOf(ctx context.Context) tenancy.Principal {
	p, ok := ctx.Value(principalKey{}).(tenancy.Principal)
	if !ok {
		panic("api: a handler that needs a principal was reached without one")
	}
	return p
}

// callerOf returns who asked, for the log, or nil.
func callerOf(c echo.Context) *tenancy.Principal {
	p, _ := c.Get(keyCaller).(*tenancy.Principal)
	return p
}
