package jobstest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/jobs"
)

// Memory keeps jobs in memory and runs none: a test says what becomes of them. Make it
// with [NewMemory]; safe for concurrent use.
type Memory struct {
	mu      sync.Mutex
	jobs    map[knowledge.TenantID]map[jobs.ID]jobs.Job
	changed chan struct{} // closed at the next change
}

var _ jobs.Jobs = (*Memory)(nil)

// NewMemory returns one without jobs.
func NewMemory() *Memory {
	return &Memory{jobs: map[knowledge.TenantID]map[jobs.ID]jobs.Job{}, changed: make(chan struct{})}
}

// Add makes a queued job.
func (m *Memory) Add(tenant knowledge.TenantID, kind jobs.Kind) jobs.Job {
	now := time.Now()
	j := jobs.Job{ID: jobs.NewID(now), Kind: kind, State: jobs.Queued, Total: jobs.NoTotal, Detail: json.RawMessage("{}"), Created: now, Updated: now}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.jobs[tenant] == nil {
		m.jobs[tenant] = map[jobs.ID]jobs.Job{}
	}
	m.put(tenant, j)
	return j
}

// Change changes a job that is there, as a worker's progress would.
func (m *Memory) Change(tenant knowledge.TenantID, id jobs.ID, change func(*jobs.Job)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	j := m.jobs[tenant][id]
	change(&j)
	j.Updated = time.Now()
	m.put(tenant, j)
}

func (m *Memory) put(tenant knowledge.TenantID, j jobs.Job) {
	m.jobs[tenant][j.ID] = j
	close(m.changed)
	m.changed = make(chan struct{})
}

// Get implements [jobs.Jobs].
func (m *Memory) Get(_ context.Context, tenant knowledge.TenantID, id jobs.ID) (jobs.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	j, ok := m.jobs[tenant][id]
	if !ok {
		return jobs.Job{}, knowledge.NotFound("job", id)
	}
	return j, nil
}

// List implements [jobs.Jobs].
func (m *Memory) List(_ context.Context, tenant knowledge.TenantID, s jobs.Selection, limit int) ([]jobs.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []jobs.Job
	for _, j := range m.jobs[tenant] {
		if (s.Before == "" || j.ID < s.Before) && (s.Kind == "" || j.Kind == s.Kind) && (s.State == "" || j.State == s.State) {
			found = append(found, j)
		}
	}
	slices.SortFunc(found, func(a, b jobs.Job) int { return strings.Compare(string(b.ID), string(a.ID)) })
	return found[:min(limit, len(found))], nil
}

// Cancel implements [jobs.Jobs].
func (m *Memory) Cancel(ctx context.Context, tenant knowledge.TenantID, id jobs.ID) (jobs.Job, error) {
	j, err := m.Get(ctx, tenant, id)
	switch {
	case err != nil:
		return jobs.Job{}, err
	case j.State.Final():
		return jobs.Job{}, fmt.Errorf("job %s has ended: %w", id, knowledge.ErrConflict)
	case j.CancelRequested:
		return j, nil
	}
	m.Change(tenant, id, func(j *jobs.Job) {
		j.CancelRequested = true
		if j.State == jobs.Queued {
			j.State, j.Finished = jobs.Cancelled, time.Now()
		}
	})
	return m.Get(ctx, tenant, id)
}

// Watch implements [jobs.Jobs].
func (m *Memory) Watch(ctx context.Context, tenant knowledge.TenantID, seen jobs.Job) (jobs.Job, error) {
	for {
		m.mu.Lock()
		changed := m.changed
		m.mu.Unlock()
		j, err := m.Get(ctx, tenant, seen.ID)
		if err != nil || j.State.Final() || !j.Updated.Equal(seen.Updated) {
			return j, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return jobs.Job{}, ctx.Err()
		}
	}
}
