package api

import (
	"context"

	"github.com/tars-project/tars/api/oapi"
	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/jobs"
)

// background is what a tenant may do with its jobs.
type background interface{ jobs.Jobs }

// ListJobs implements listJobs.
func (s *Server) ListJobs(ctx context.Context, r oapi.ListJobsRequestObject) (oapi.ListJobsResponseObject, error) {
	var selection jobs.Selection
	var err error
	if r.Params.Kind != nil {
		if selection.Kind, err = named("kind", *r.Params.Kind, jobs.ParseKind); err != nil {
			return nil, err
		}
	}
	if r.Params.State != nil {
		if selection.State, err = named("state", string(*r.Params.State), jobs.ParseState); err != nil {
			return nil, err
		}
	}
	found, next, err := page("jobs", r.Params.Cursor, r.Params.Limit, jobs.ParseID,
		func(before jobs.ID, limit int) ([]jobs.Job, error) {
			selection.Before = before
			return s.services.Jobs.List(ctx, tenantOf(ctx), selection, limit)
		},
		func(j jobs.Job) string { return string(j.ID) })
	if err != nil {
		return nil, err
	}
	return oapi.ListJobs200JSONResponse{Jobs: each(found, jobOut), NextCursor: next}, nil
}

// GetJob implements getJob.
func (s *Server) GetJob(ctx context.Context, r oapi.GetJobRequestObject) (oapi.GetJobResponseObject, error) {
	id, err := named("job", r.Job, jobs.ParseID)
	if err != nil {
		return nil, err
	}
	j, err := s.services.Jobs.Get(ctx, tenantOf(ctx), id)
	if err != nil {
		return nil, err
	}
	return oapi.GetJob200JSONResponse(jobOut(j)), nil
}

// CancelJob implements cancelJob.
func (s *Server) CancelJob(ctx context.Context, r oapi.CancelJobRequestObject) (oapi.CancelJobResponseObject, error) {
	id, err := named("job", r.Job, jobs.ParseID)
	if err != nil {
		return nil, err
	}
	j, err := s.services.Jobs.Cancel(ctx, tenantOf(ctx), id)
	if err != nil {
		return nil, err
	}
	return oapi.CancelJob202JSONResponse(jobOut(j)), nil
}

func jobOut(j jobs.Job) oapi.Job {
	out := oapi.Job{
		Id: string(j.ID), Kind: string(j.Kind), State: oapi.JobState(j.State),
		Done: j.Done, Detail: j.Detail, Error: given(j.Error), Attempt: j.Attempt, CancelRequested: j.CancelRequested,
		CreatedAt: j.Created, StartedAt: given(j.Started), FinishedAt: given(j.Finished), UpdatedAt: j.Updated,
	}
	if j.Total != jobs.NoTotal {
		out.Total = &j.Total
	}
	return out
}

// WatchJob implements watchJob.
func (s *Server) WatchJob(ctx context.Context, r oapi.WatchJobRequestObject) (oapi.WatchJobResponseObject, error) {
	id, err := named("job", r.Job, jobs.ParseID)
	if err != nil {
		return nil, err
	}
	tenant := tenantOf(ctx)
	j, err := s.services.Jobs.Get(ctx, tenant, id) // what can be refused is, before the stream begins
	if err != nil {
		return nil, err
	}
	return events(func(to *eventWriter) error {
		leave, err := s.streams.enter(tenant)
		if err != nil {
			return err
		}
		defer leave()
		ctx, cancel := s.streams.bound(ctx)
		defer cancel()
		return s.follow(ctx, tenant, j, to)
	}), nil
}

// follow sends j and what becomes of it, until that is final or ctx ends.
func (s *Server) follow(ctx context.Context, tenant knowledge.TenantID, j jobs.Job, to *eventWriter) error {
	if err := to.event("job", jobOut(j)); err != nil {
		return err
	}
	for !j.State.Final() {
		beat, cancel := context.WithTimeout(ctx, s.heartbeat)
		changed, err := s.services.Jobs.Watch(beat, tenant, j)
		quiet := err != nil && over(beat)
		cancel()
		switch {
		case over(ctx):
			return nil // the client has gone, or must ask again
		case quiet:
			err = to.comment("heartbeat")
		case err == nil:
			j = changed
			err = to.event("job", jobOut(j))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func over(ctx context.Context) bool { return ctx.Err() != nil }
