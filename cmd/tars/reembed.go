package main

import (
	"context"
	"encoding/json"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/ingest"
	"github.com/tars-project/tars/knowledge/jobs"
	"github.com/tars-project/tars/knowledge/pgjobs"
)

// kindReembed are the jobs that carry a collection over to another embedder.
const kindReembed jobs.Kind = "reembed"

type reembedArgs struct {
	From  knowledge.CollectionName `json:"from"`
	To    knowledge.CollectionName `json:"to"`
	Alias knowledge.CollectionName `json:"alias,omitempty"`
}

// reembedDetail is what a tenant sees of such a job beside its progress, in records.
type reembedDetail struct {
	reembedArgs
	Pass     int   `json:"pass"` // those after the first carry what was written meanwhile
	Embedded int64 `json:"embedded"`
}

// Reembed starts such a job, unless there is one already.
func (srv *server) Reembed(ctx context.Context, tenant knowledge.TenantID, x ingest.Reembedding) (jobs.Job, error) {
	job, _, err := srv.runner.Enqueue(ctx, tenant, kindReembed, reembedArgs(x), pgjobs.EnqueueOptions{UniqueKey: string(x.To)})
	return job, err
}

// reembed is the worker of these jobs.
func (srv *server) reembed(ctx context.Context, tenant knowledge.TenantID, args json.RawMessage, progress jobs.Progress) error {
	var a reembedArgs
	if err := json.Unmarshal(args, &a); err != nil {
		return err
	}
	r := ingest.Reembedder{Store: srv.store, Embedders: srv.embedders}
	return r.Reembed(ctx, tenant, ingest.Reembedding(a), func(p ingest.ReembedProgress) {
		if detail, err := json.Marshal(reembedDetail{a, p.Pass, p.Embedded}); err == nil {
			progress.Report(p.Done, max(p.Total, p.Done), detail)
		}
	})
}
