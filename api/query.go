package api

import (
	"context"
	"time"

	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
)

// engine answers searches and queries.
type engine interface {
	Search(ctx context.Context, tenant knowledge.TenantID, s query.SearchText) (knowledge.Found, error)
	Answer(ctx context.Context, tenant knowledge.TenantID, q query.Query) (query.Answer, error)
}

// Query implements query.
func (s *Server) Query(ctx context.Context, r oapi.QueryRequestObject) (oapi.QueryResponseObject, error) {
	answer, err := s.services.Engine.Answer(ctx, tenantOf(ctx), query.Query(*r.Body))
	if err != nil {
		return nil, err
	}
	return oapi.Query200JSONResponse{
		Matches:  each(answer.Matches, candidateOut),
		Results:  each(answer.Results, resultOut),
		Missing:  each(answer.Missing, missingOut),
		Receipts: each(answer.Receipts, receiptOut),
		Plans:    each(answer.Plans, legPlanOut),
		TookMs:   milliseconds(answer.Took),
	}, nil
}

func candidateOut(c query.Candidate) oapi.QueryMatch {
	return oapi.QueryMatch{
		Collection: string(c.Collection), Id: string(c.ID), Score: c.Score, Text: c.Text,
		Metadata: metadataOut(c.Metadata), Version: c.Version,
		Legs: each(c.Legs, func(l query.LegScore) oapi.LegScore {
			return oapi.LegScore{Leg: l.Leg, Rank: l.Rank, Score: l.Score}
		}),
	}
}

func resultOut(r query.Result) oapi.Result {
	return oapi.Result{
		Plugin: r.Plugin, Version: r.Version, Text: r.Text, Grounded: r.Grounded,
		Citations: each(r.Citations, func(c query.Citation) oapi.Citation {
			return oapi.Citation{
				Collection: string(c.Collection), Id: string(c.ID), Version: c.Version,
				Start: c.Start, End: c.End, Quote: c.Quote, Verified: c.Verified,
			}
		}),
	}
}

func missingOut(m query.Missing) oapi.Missing {
	return oapi.Missing{Source: m.Source, Reason: m.Reason, Detail: m.Detail, Budget: budgetOut(m.Budget), AfterMs: milliseconds(m.After)}
}

// budgetOut returns a budget, or nil, which is left out.
func budgetOut(b *query.BudgetUse) *oapi.BudgetUse {
	if b == nil {
		return nil
	}
	return &oapi.BudgetUse{Name: b.Name, Used: b.Used, Allowed: b.Allowed, Unit: b.Unit}
}

func receiptOut(r query.Receipt) oapi.Receipt {
	return oapi.Receipt{
		Plugin: r.Plugin, Version: r.Version, Digest: r.Digest, Capability: string(r.Capability),
		Tier: r.Tier, Grade: r.Grade, QueueUs: r.Queue.Microseconds(), VmUs: r.VM.Microseconds(),
		CpuUs: r.CPU.Microseconds(), Fuel: r.Fuel, PeakMemoryBytes: r.PeakMemory,
		HostCalls: r.HostCalls, HostBytes: r.HostBytes, HostUs: r.HostTime.Microseconds(), Logs: logsOut(r.Logs),
	}
}

func logsOut(logs []string) []string {
	if logs == nil {
		return []string{}
	}
	return logs
}

func legPlanOut(p query.LegPlan) oapi.LegPlan {
	return oapi.LegPlan{
		Collection: string(p.Collection), Method: p.Plan.Method, Ef: given(p.Plan.Ef),
		Unindexed: someOf(p.Plan.Unindexed), Warnings: someOf(p.Plan.Warnings),
		Found: p.Found, Short: p.Short, TookMs: milliseconds(p.Took),
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// timeOut returns a time, or nil for the zero time, which is left out.
func timeOut(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
