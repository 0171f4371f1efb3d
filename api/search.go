package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"

	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
)

// SearchRecords implements searchRecords.
func (s *Server) SearchRecords(ctx context.Context, r oapi.SearchRecordsRequestObject) (oapi.SearchRecordsResponseObject, error) {
	collection, err := named("collection", r.Collection, knowledge.ParseCollectionName)
	if err != nil {
		return nil, err
	}
	search := query.SearchText(*r.Body)
	search.Collection = collection
	found, err := s.services.Engine.Search(ctx, tenantOf(ctx), search)
	if err != nil {
		return nil, err
	}
	return oapi.SearchRecords200JSONResponse(resultsOut(found)), nil
}

// SearchRecordsBatch implements searchRecordsBatch.
func (s *Server) SearchRecordsBatch(ctx context.Context, r oapi.SearchRecordsBatchRequestObject) (oapi.SearchRecordsBatchResponseObject, error) {
	collection, err := named("collection", r.Collection, knowledge.ParseCollectionName)
	if err != nil {
		return nil, err
	}
	if _, err := s.services.Collections.Resolve(ctx, tenantOf(ctx), collection); err != nil {
		return nil, err // instead of one problem for each
	}
	searches := r.Body.Searches
	for i := range searches {
		searches[i].Collection = collection
	}
	all, err := s.services.Engine.SearchBatch(ctx, tenantOf(ctx), searches)
	if err == nil {
		err = ctx.Err() // the client has gone: there is nobody to tell how far it came
	}
	if err != nil {
		return nil, err
	}
	return oapi.SearchRecordsBatch200JSONResponse{Results: each(all, func(one query.Searched) oapi.SearchBatchItem {
		if one.Err != nil {
			return oapi.SearchBatchItem{Problem: s.itemProblem(ctx, one.Err)}
		}
		result := resultsOut(one.Results)
		return oapi.SearchBatchItem{Result: &result}
	})}, nil
}

// itemProblem is the problem of one part of a request, whose other parts may be
// well. What no client may read goes to the log.
func (s *Server) itemProblem(ctx context.Context, err error) *oapi.ItemProblem {
	st := statusOf(err)
	if st.code >= http.StatusInternalServerError {
		s.log.LogAttrs(ctx, slog.LevelError, "part of a request failed", slog.Int("status", st.code), slog.String("error", err.Error()))
	}
	p := st.problem("")
	explain(&p, err)
	item := oapi.ItemProblem{Type: p.Type, Title: p.Title, Status: p.Status, Detail: given(p.Detail)}
	if len(p.Errors) > 0 {
		errors := each(p.Errors, func(e fieldError) oapi.FieldError { return oapi.FieldError{Field: e.Field, Detail: e.Detail} })
		item.Errors = &errors
	}
	return &item
}

func resultsOut(r query.Results) oapi.SearchResult {
	out := oapi.SearchResult{
		Matches: each(r.Matches, matchOut), ScoreKind: string(r.ScoreKind), Short: r.Short,
		Plan: planOut(r.Plan),
	}
	if r.Groups != nil {
		groups := each(r.Groups, func(g query.Group) oapi.SearchGroup {
			return oapi.SearchGroup{Value: valueOut(g.Value), Matches: each(g.Matches, matchOut)}
		})
		out.Groups = &groups
	}
	if r.Facets != nil {
		facets := each(r.Facets, facetOut)
		out.Facets = &facets
	}
	if r.Stages != nil {
		out.Explanation = &oapi.SearchExplanation{Retrievals: each(r.Retrievals, legPlanOut), Stages: each(r.Stages, stageOut)}
	}
	return out
}

func matchOut(c query.Candidate) oapi.Match {
	return oapi.Match{
		Id: string(c.ID), Score: c.Score, Text: c.Text, Metadata: metadataOut(c.Metadata), Version: c.Version,
		Scores: each(c.Legs, func(l query.LegScore) oapi.RetrievalScore {
			return oapi.RetrievalScore{Mode: string(l.Mode), Rank: l.Rank, Score: l.Score}
		}),
	}
}

func facetOut(f knowledge.FacetCounts) oapi.FacetCounts {
	out := oapi.FacetCounts{Field: f.Field, Counted: f.Counted, Approximate: f.Approximate}
	if f.Ranges != nil {
		out.Ranges = &f.Ranges
		return out
	}
	values := each(f.Values, func(v knowledge.ValueCount) oapi.FacetValue {
		return oapi.FacetValue{Value: valueOut(v.Value), Count: v.Count}
	})
	out.Values = &values
	return out
}

// valueOut is the JSON of a string, a number or a bool of metadata.
func valueOut(v any) json.RawMessage {
	text, _ := json.Marshal(v) // such values always have one
	return text
}

func stageOut(p query.StagePlan) oapi.StagePlan {
	out := oapi.StagePlan{Stage: p.Stage, In: p.In, Out: p.Out, TookMs: milliseconds(p.Took)}
	if p.Calls == nil {
		return out
	}
	budget := milliseconds(p.Budget)
	calls := each(p.Calls, func(c query.StageCall) oapi.StageCall {
		return oapi.StageCall{Call: c.Call, Plugin: c.Plugin, Version: c.Version, Digest: c.Digest}
	})
	out.BudgetMs, out.Calls = &budget, &calls
	return out
}

func wordsOut(w *knowledge.WordsPlan) *oapi.WordsPlan {
	if w == nil {
		return nil
	}
	return &oapi.WordsPlan{
		Terms:   each(w.Terms, func(t knowledge.TextTerm) oapi.WordsTerm { return oapi.WordsTerm{Term: t.Term, Records: t.Records} }),
		Records: w.Records, All: w.All, Ranked: w.Ranked, Bounded: w.Bounded,
	}
}
