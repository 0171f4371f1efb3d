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
	Search(ctx context.Context, tenant knowledge.TenantID, s query.SearchText) (query.Results, error)
	SearchBatch(ctx context.Context, tenant knowledge.TenantID, searches []query.SearchText) ([]query.Searched, error)
	Answer(ctx context.Context, tenant knowledge.TenantID, q query.Query) (query.Answer, error)
	AnswerBatch(ctx context.Context, tenant knowledge.TenantID, queries []query.Query, timeout time.Duration) ([]query.Answered, error)
	Stream(ctx context.Context, tenant knowledge.TenantID, q query.Query, emit func(query.Part) error) (query.Answer, error)
}

// Query implements query.
func (s *Server) Query(ctx context.Context, r oapi.QueryRequestObject) (oapi.QueryResponseObject, error) {
	if r.Params.LastEventID != nil {
		return nil, knowledge.Invalid("Last-Event-ID", "is given, but a query is not kept to go on with; ask again without it")
	}
	if wantsEvents(ctx) {
		return s.streamQuery(ctx, query.Query(*r.Body)), nil
	}
	answer, err := s.services.Engine.Answer(ctx, tenantOf(ctx), query.Query(*r.Body))
	if err != nil {
		return nil, err
	}
	return oapi.Query200JSONResponse(answerOut(answer)), nil
}

// QueryBatch implements queryBatch.
func (s *Server) QueryBatch(ctx context.Context, r oapi.QueryBatchRequestObject) (oapi.QueryBatchResponseObject, error) {
	all, err := s.services.Engine.AnswerBatch(ctx, tenantOf(ctx), r.Body.Queries, r.Body.Timeout)
	if err == nil {
		err = ctx.Err() // the client has gone: there is nobody to tell how far it came
	}
	if err != nil {
		return nil, err
	}
	return oapi.QueryBatch200JSONResponse{Results: each(all, func(one query.Answered) oapi.QueryBatchItem {
		if one.Err != nil {
			return oapi.QueryBatchItem{Problem: s.itemProblem(ctx, one.Err)}
		}
		answer := answerOut(one.Answer)
		return oapi.QueryBatchItem{Answer: &answer}
	})}, nil
}

func answerOut(answer query.Answer) oapi.Answer {
	rest := restOut(answer)
	return oapi.Answer{
		Matches:   each(answer.Matches, candidateOut),
		ScoreKind: string(answer.ScoreKind),
		Results:   each(answer.Results, resultOut),
		Missing:   each(answer.Missing, missingOut),
		Receipts:  each(answer.Receipts, callReceiptOut),
		Plans:     rest.Plans, Stages: rest.Stages, Cache: rest.Cache, TookMs: rest.TookMs,
	}
}

func candidateOut(c query.Candidate) oapi.QueryMatch {
	return oapi.QueryMatch{
		Owner: given(string(c.Owner)), Collection: string(c.Collection), Id: string(c.ID), Score: c.Score, Text: c.Text,
		Metadata: metadataOut(c.Metadata), Version: c.Version, Reason: given(c.Reason), Redacted: given(c.Redacted),
		Legs: each(c.Legs, func(l query.LegScore) oapi.LegScore {
			return oapi.LegScore{Leg: l.Leg, Mode: string(l.Mode), Rank: l.Rank, Score: l.Score}
		}),
	}
}

func resultOut(r query.Result) oapi.Result {
	return oapi.Result{
		Call: r.Call, Plugin: r.Plugin, Version: r.Version, Text: r.Text, Grounded: r.Grounded, Dropped: given(r.Dropped),
		Citations: each(r.Citations, func(c query.Citation) oapi.Citation {
			return oapi.Citation{
				Owner: given(string(c.Owner)), Collection: string(c.Collection), Id: string(c.ID), Version: c.Version,
				Start: c.Start, End: c.End, Quote: c.Quote, Verified: c.Verified,
			}
		}),
	}
}

func missingOut(m query.Missing) oapi.Missing {
	out := oapi.Missing{Source: m.Source, Reason: m.Reason, Detail: m.Detail, Budget: budgetOut(m.Budget), AfterMs: milliseconds(m.After)}
	if m.Call >= 0 {
		out.Call = &m.Call
	} else {
		out.Leg = &m.Leg
	}
	return out
}

// budgetOut returns a budget, or nil, which is left out.
func budgetOut(b *query.BudgetUse) *oapi.BudgetUse {
	if b == nil {
		return nil
	}
	return &oapi.BudgetUse{Name: b.Name, Used: b.Used, Allowed: b.Allowed, Unit: b.Unit}
}

// callReceiptOut is the receipt of a call of a query.
func callReceiptOut(r query.Receipt) oapi.Receipt {
	out := receiptOut(r)
	out.Call = &r.Call
	return out
}

func receiptOut(r query.Receipt) oapi.Receipt {
	return oapi.Receipt{
		Id: r.ID, Plugin: r.Plugin, Version: r.Version, Digest: r.Digest, Capability: string(r.Capability),
		Tier: r.Tier, Grade: r.Grade, QueueUs: r.Queue.Microseconds(), VmUs: r.VM.Microseconds(),
		CpuUs: r.CPU.Microseconds(), Fuel: r.Fuel, PeakMemoryBytes: r.PeakMemory,
		HostCalls: r.HostCalls, HostBytes: r.HostBytes, HostUs: r.HostTime.Microseconds(), Logs: logsOut(r.Logs), Cached: given(r.Cached), Recording: given(oapi.ReceiptRecording(r.Recording)),
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
		Unindexed: someOf(p.Plan.Unindexed), Warnings: someOf(p.Plan.Warnings),
		Leg: p.Leg, Mode: string(p.Mode), Words: wordsOut(p.Words), Owner: given(string(p.Owner)), Collection: string(p.Collection),
		Method: p.Plan.Method, Ef: given(p.Plan.Ef),
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
