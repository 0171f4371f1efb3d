package api

import (
	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge"
)

func planOut(p knowledge.Plan) oapi.Plan {
	out := oapi.Plan{
		Method: p.Method, Ef: given(p.Ef), MaxScan: given(p.MaxScan),
		Unindexed: someOf(p.Unindexed), Warnings: someOf(p.Warnings),
	}
	if p.Estimated {
		out.EstimatedRows, out.Selectivity = &p.Rows, &p.Selectivity
	}
	if e := p.Explained; e != nil {
		out.Explained = &oapi.Explained{
			PlanningMs: milliseconds(e.Planning), ExecutionMs: milliseconds(e.Execution),
			Rows: e.Rows, WaitingRows: e.Waiting, Text: e.Text,
		}
	}
	return out
}

// someOf returns the list, or nil for one without entries, which is left out.
func someOf(list []string) *[]string {
	if len(list) == 0 {
		return nil
	}
	return &list
}
