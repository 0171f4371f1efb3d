package api

import (
	"context"
	"time"

	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/shares"
)

// sharing keeps who shares which view with whom. It refuses callers that are limited to
// views.
type sharing interface {
	Grant(ctx context.Context, owner knowledge.TenantID, s knowledge.Share) (knowledge.Share, error)
	Revoke(ctx context.Context, owner knowledge.TenantID, id knowledge.ShareID, by string) error
	Given(ctx context.Context, owner knowledge.TenantID, after knowledge.ShareID, limit int) ([]shares.Used, error)
	Received(ctx context.Context, grantee knowledge.TenantID, after knowledge.ShareID, limit int) ([]shares.Used, error)
}

// CreateShare implements createShare.
func (s *Server) CreateShare(ctx context.Context, r oapi.CreateShareRequestObject) (oapi.CreateShareResponseObject, error) {
	who := principalOf(ctx)
	asked := knowledge.Share(*r.Body)
	asked.CreatedBy = who.KeyID
	made, err := s.services.Shares.Grant(ctx, who.Tenant, asked)
	if err != nil {
		return nil, err
	}
	madeNamed(ctx, string(made.ID))
	detailed(ctx, "view", string(made.View))
	detailed(ctx, "grantee", string(made.Grantee))
	return oapi.CreateShare201JSONResponse(shareOut(made)), nil
}

// RevokeShare implements revokeShare.
func (s *Server) RevokeShare(ctx context.Context, r oapi.RevokeShareRequestObject) (oapi.RevokeShareResponseObject, error) {
	id, err := named("share", r.Share, knowledge.ParseShareID)
	if err != nil {
		return nil, err
	}
	who := principalOf(ctx)
	if err := s.services.Shares.Revoke(ctx, who.Tenant, id, who.KeyID); err != nil {
		return nil, err
	}
	return oapi.RevokeShare204Response{}, nil
}

// ListShares implements listShares.
func (s *Server) ListShares(ctx context.Context, r oapi.ListSharesRequestObject) (oapi.ListSharesResponseObject, error) {
	found, next, err := page("shares", r.Params.Cursor, r.Params.Limit, knowledge.ParseShareID,
		func(after knowledge.ShareID, limit int) ([]shares.Used, error) {
			return s.services.Shares.Given(ctx, tenantOf(ctx), after, limit)
		}, shareKey)
	if err != nil {
		return nil, err
	}
	return oapi.ListShares200JSONResponse{NextCursor: next, Shares: each(found, func(u shares.Used) oapi.Share {
		out := shareOut(u.Share)
		usage := shareUsageOut(u)
		out.Usage = &usage
		return out
	})}, nil
}

// ListReceivedShares implements listReceivedShares.
func (s *Server) ListReceivedShares(ctx context.Context, r oapi.ListReceivedSharesRequestObject) (oapi.ListReceivedSharesResponseObject, error) {
	found, next, err := page("received shares", r.Params.Cursor, r.Params.Limit, knowledge.ParseShareID,
		func(after knowledge.ShareID, limit int) ([]shares.Used, error) {
			return s.services.Shares.Received(ctx, tenantOf(ctx), after, limit)
		}, shareKey)
	if err != nil {
		return nil, err
	}
	return oapi.ListReceivedShares200JSONResponse{Shares: each(found, receivedOut), NextCursor: next}, nil
}

func shareKey(u shares.Used) string { return string(u.ID) }

func shareOut(s knowledge.Share) oapi.Share {
	return oapi.Share{
		Share: string(s.ID), View: string(s.View), Grantee: string(s.Grantee), Note: s.Note, State: shareState(s),
		CreatedAt: s.Created, CreatedBy: s.CreatedBy, ExpiresAt: timeOut(s.Expires), RevokedAt: timeOut(s.Revoked),
	}
}

func receivedOut(u shares.Used) oapi.ReceivedShare {
	return oapi.ReceivedShare{
		Share: string(u.ID), Owner: string(u.Owner), View: string(u.View), Note: u.Note, State: shareState(u.Share),
		CreatedAt: u.Created, ExpiresAt: timeOut(u.Expires), RevokedAt: timeOut(u.Revoked), Usage: shareUsageOut(u),
	}
}

func shareState(s knowledge.Share) oapi.ShareState {
	switch now := time.Now(); {
	case s.Standing(now):
		return oapi.ShareActive
	case !s.Expires.IsZero() && !now.Before(s.Expires) && (s.Revoked.IsZero() || !s.Revoked.Before(s.Expires)):
		return oapi.ShareExpired
	default:
		return oapi.ShareRevoked
	}
}

func shareUsageOut(u shares.Used) oapi.ShareUsage {
	return oapi.ShareUsage{
		Today: oapi.ShareReads{Queries: u.Today.Queries, Rows: u.Today.Rows},
		Total: oapi.ShareReads{Queries: u.Total.Queries, Rows: u.Total.Rows},
	}
}
