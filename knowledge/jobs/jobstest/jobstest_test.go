package jobstest_test

import (
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/jobs"
	"github.com/tars-project/tars/knowledge/jobs/jobstest"
)

func TestMemory(t *testing.T) {
	jobstest.Run(t, func(*testing.T) jobstest.Fixture {
		m := jobstest.NewMemory()
		return jobstest.Fixture{
			Jobs: m, Add: m.Add,
			Begin: func(tenant knowledge.TenantID, id jobs.ID) {
				m.Change(tenant, id, func(j *jobs.Job) { j.State, j.Attempt, j.Started = jobs.Running, j.Attempt+1, time.Now() })
			},
			Report: func(tenant knowledge.TenantID, id jobs.ID, done, total int64) {
				m.Change(tenant, id, func(j *jobs.Job) { j.Done, j.Total = done, total })
			},
			End: func(tenant knowledge.TenantID, id jobs.ID) {
				m.Change(tenant, id, func(j *jobs.Job) { j.State, j.Finished = jobs.Succeeded, time.Now() })
			},
		}
	})
}
