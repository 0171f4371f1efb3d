package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/audit"
)

// auditReader reads logs.
type auditReader interface{ audit.Reader }

// GetAudit implements getAudit.
func (s *Server) GetAudit(ctx context.Context, r oapi.GetAuditRequestObject) (oapi.GetAuditResponseObject, error) {
	return s.readAudit(ctx, tenantOf(ctx), r.Params)
}

// GetOperatorAudit implements getOperatorAudit.
func (s *Server) GetOperatorAudit(ctx context.Context, r oapi.GetOperatorAuditRequestObject) (oapi.GetOperatorAuditResponseObject, error) {
	return s.readAudit(ctx, audit.Operator, oapi.GetAuditParams(r.Params))
}

// GetTenantAudit implements getTenantAudit.
func (s *Server) GetTenantAudit(ctx context.Context, r oapi.GetTenantAuditRequestObject) (oapi.GetTenantAuditResponseObject, error) {
	id, err := named("tenant", r.Tenant, knowledge.ParseTenantID)
	if err != nil {
		return nil, err
	}
	if _, err := s.services.Tenants.Tenant(ctx, id); err != nil {
		return nil, err
	}
	return s.readAudit(ctx, id, oapi.GetAuditParams(r.Params))
}

// auditPatience bounds reading one page; the chain as lines may take longer.
const auditPatience = 30 * time.Second

// auditAnswer is a page of a log, or all of it as lines.
type auditAnswer func(w http.ResponseWriter) error

// VisitGetAuditResponse implements [oapi.GetAuditResponseObject].
func (a auditAnswer) VisitGetAuditResponse(w http.ResponseWriter) error { return a(w) }

// VisitGetOperatorAuditResponse implements [oapi.GetOperatorAuditResponseObject].
func (a auditAnswer) VisitGetOperatorAuditResponse(w http.ResponseWriter) error { return a(w) }

// VisitGetTenantAuditResponse implements [oapi.GetTenantAuditResponseObject].
func (a auditAnswer) VisitGetTenantAuditResponse(w http.ResponseWriter) error { return a(w) }

func (s *Server) readAudit(ctx context.Context, owner knowledge.TenantID, p oapi.GetAuditParams) (auditAnswer, error) {
	if prefers(sentBy(ctx).header, "application/x-ndjson") {
		return s.exportAudit(ctx, owner, p)
	}
	if p.After != nil {
		return nil, knowledge.Invalid("after", "goes with Accept: application/x-ndjson alone")
	}
	want := audit.Selection{
		Actor: valueOf(p.Actor), Operation: valueOf(p.Operation), Kind: valueOf(p.Kind), Name: valueOf(p.Object), Outcome: valueOf(p.Outcome),
		Since: valueOf(p.Since), Until: valueOf(p.Until),
	}
	ctx, cancel := context.WithTimeout(ctx, auditPatience)
	defer cancel()
	found, next, err := page("audit", p.Cursor, p.Limit, parseSeq,
		func(before seqText, limit int) (_ []audit.Entry, err error) {
			if before != "" {
				want.Before, err = strconv.ParseInt(string(before), 10, 64)
			}
			if err != nil {
				return nil, err
			}
			return s.services.Audit.Events(ctx, owner, want, limit)
		},
		func(e audit.Entry) string { return strconv.FormatInt(e.Seq, 10) })
	if err != nil {
		return nil, err
	}
	out := oapi.GetAudit200JSONResponse{Events: each(found, auditOut), NextCursor: next}
	return func(w http.ResponseWriter) error {
		w.Header().Set("Vary", "Accept")
		return out.VisitGetAuditResponse(w)
	}, nil
}

// seqText is the number of an event, in a cursor.
type seqText string

func parseSeq(s string) (seqText, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err != nil || n < 1 {
		return "", knowledge.ErrInvalid
	}
	return seqText(s), nil
}

func auditOut(e audit.Entry) oapi.AuditEvent {
	return oapi.AuditEvent{
		Seq: e.Seq, Id: e.ID, At: e.At, Actor: e.Actor, Remote: e.Remote, Operation: e.Operation,
		Object: oapi.AuditObject{Kind: e.Kind, Name: e.Name}, Status: e.Status, Outcome: e.Outcome, RequestId: e.RequestID,
		Details: e.Details, Previous: e.Previous.String(), Hash: e.Hash.String(),
	}
}

// auditMark is a place in a chain, in the first line and the last one of an export.
type auditMark struct {
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"`
}

func markOut(m audit.Mark) auditMark { return auditMark{m.Seq, m.Hash.String()} }

// exportAudit answers with a chain as lines.
func (s *Server) exportAudit(ctx context.Context, owner knowledge.TenantID, p oapi.GetAuditParams) (auditAnswer, error) {
	for name, given := range map[string]bool{
		"cursor": p.Cursor != nil, "limit": p.Limit != nil, "actor": p.Actor != nil, "operation": p.Operation != nil, "kind": p.Kind != nil,
		"object": p.Object != nil, "outcome": p.Outcome != nil, "since": p.Since != nil, "until": p.Until != nil,
	} {
		if given {
			return nil, knowledge.Invalid(name, "does not go with application/x-ndjson, which is the whole chain")
		}
	}
	return func(w http.ResponseWriter) error {
		release, err := s.exports.take(tenantOf(ctx))
		if err != nil {
			return err
		}
		defer release()
		to := newExportWriter(w, acceptsGzip(sentBy(ctx).header))
		var end audit.Mark
		err = s.services.Audit.Walk(ctx, owner, valueOf(p.After), func(first, last audit.Mark) error {
			end = last
			return to.line(struct {
				Format int       `json:"audit"`
				Log    string    `json:"log"`
				After  auditMark `json:"after"`
			}{1, string(owner), markOut(first)})
		}, func(e audit.Entry) error { return to.line(auditOut(e)) })
		if err != nil {
			return err
		}
		if err := to.line(struct {
			End bool `json:"end"`
			auditMark
		}{true, markOut(end)}); err != nil {
			return err
		}
		return to.close()
	}, nil
}
