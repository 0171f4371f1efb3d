package pgjobs

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/jobs"
	"github.com/tars-project/tars/knowledge/jobs/jobstest"
	"github.com/tars-project/tars/migrations/pgtest"
)

// addTenants makes the tenants of the tests.
func addTenants(t testing.TB, db *pgtest.Database) {
	t.Helper()
	if _, err := db.OwnerPool(t).Exec(t.Context(), "INSERT INTO tars.tenants (tenant_id) VALUES ('alice'), ('bob')"); err != nil {
		t.Fatal(err)
	}
}

// TestConformance takes the steps of a job's life one by one, with nobody running it.
func TestConformance(t *testing.T) {
	jobstest.Run(t, func(t *testing.T) jobstest.Fixture {
		db := pgtest.DB(t)
		addTenants(t, db)
		r, err := NewRunner(db.JobsPool(t), Options{})
		if err != nil {
			t.Fatal(err)
		}
		running := map[jobs.ID]*lease{}
		return jobstest.Fixture{
			Jobs: New(db.AppPool(t)),
			Add: func(tenant knowledge.TenantID, kind jobs.Kind) jobs.Job {
				t.Helper()
				j, created, err := r.Enqueue(t.Context(), tenant, kind, nil, EnqueueOptions{})
				if err != nil || !created {
					t.Fatalf("Enqueue = %v, %v, want a new job", created, err)
				}
				return j
			},
			Begin: func(tenant knowledge.TenantID, id jobs.ID) {
				t.Helper()
				n := note{Tenant: tenant, Job: id}
				j, _, err := r.claim(t.Context(), n)
				if err != nil {
					t.Fatal(err)
				}
				running[id] = &lease{runner: r, note: n, before: j, done: j.Done, total: j.Total}
			},
			Report: func(_ knowledge.TenantID, id jobs.ID, done, total int64) {
				t.Helper()
				running[id].Report(done, total, nil)
				if ours, _, err := running[id].touch(t.Context(), true); !ours || err != nil {
					t.Fatalf("touch = %v, %v", ours, err)
				}
			},
			End: func(_ knowledge.TenantID, id jobs.ID) {
				t.Helper()
				if got := running[id].finish(t.Context(), jobs.Succeeded, ""); got != "succeeded" {
					t.Fatalf("finish = %s", got)
				}
			},
		}
	})
}

// TestRescue: whose lease has run out begins again, until its attempts are used up;
// who had it before writes nothing any more.
func TestRescue(t *testing.T) {
	db := pgtest.DB(t)
	addTenants(t, db)
	r, err := NewRunner(db.JobsPool(t), Options{Attempts: 2})
	if err != nil {
		t.Fatal(err)
	}
	view, owner := New(db.AppPool(t)), db.OwnerPool(t)
	j, _, err := r.Enqueue(t.Context(), "alice", "import", nil, EnqueueOptions{})
	if err != nil {
		t.Fatal(err)
	}
	expire := func() {
		t.Helper()
		if _, err := owner.Exec(t.Context(), "UPDATE tars.jobs SET due_at = now() - interval '1 s'"); err != nil {
			t.Fatal(err)
		}
		if err := r.rescue(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	notes := func() (n int) {
		t.Helper()
		if err := owner.QueryRow(t.Context(), "SELECT count(*) FROM tars_river.river_job").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	want := func(what string, state jobs.State, wantNotes int) {
		t.Helper()
		got, err := view.Get(t.Context(), "alice", j.ID)
		if err != nil || got.State != state || notes() != wantNotes {
			t.Errorf("%s: %s, %v, %d notes, want %s and %d", what, got.State, err, notes(), state, wantNotes)
		}
	}
	begin := func() *lease {
		t.Helper()
		n := note{Tenant: "alice", Job: j.ID, Work: "import"}
		before, _, err := r.claim(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		return &lease{runner: r, note: n, before: before, total: jobs.NoTotal}
	}
	if err := r.rescue(t.Context()); err != nil {
		t.Fatal(err)
	}
	want("not due", jobs.Queued, 1)
	expire()
	want("queued for long, but its note waits", jobs.Queued, 1)
	if _, err := owner.Exec(t.Context(), "UPDATE tars_river.river_job SET state = 'running', attempted_at = now()"); err != nil {
		t.Fatal(err)
	}
	expire()
	want("who found the note is gone", jobs.Queued, 2)
	first := begin()
	if err := r.rescue(t.Context()); err != nil {
		t.Fatal(err)
	}
	want("runs", jobs.Running, 2)
	expire()
	want("lease has run out", jobs.Queued, 3)
	if got := first.finish(t.Context(), jobs.Succeeded, ""); got != "lost" {
		t.Errorf("the first runner's end = %s, want lost", got)
	}
	second := begin()
	if ours, _, err := first.touch(t.Context(), true); ours || err != nil {
		t.Errorf("the first runner's report = %v, %v, want that it is lost", ours, err)
	}
	expire()
	want("attempts used up", jobs.Interrupted, 3)
	if got := second.finish(t.Context(), jobs.Succeeded, ""); got != "lost" {
		t.Errorf("the second runner's end = %s, want lost", got)
	}
	if got, _ := view.Get(t.Context(), "alice", j.ID); got.Error == "" || got.Attempt != 2 {
		t.Errorf("interrupted job = %+v, want two attempts and the reason", got)
	}
}

// TestDetailThatTheDatabaseRefuses is left out, and the job goes on.
func TestDetailThatTheDatabaseRefuses(t *testing.T) {
	db := pgtest.DB(t)
	addTenants(t, db)
	r, err := NewRunner(db.JobsPool(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	j, _, err := r.Enqueue(t.Context(), "alice", "import", nil, EnqueueOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n := note{Tenant: "alice", Job: j.ID}
	if j, _, err = r.claim(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	l := &lease{runner: r, note: n, before: j, total: jobs.NoTotal}
	for _, bad := range []string{`{"a":"\u0000"}`, `{"a":"\ud800"}`, `{"a":1e999999}`} {
		l.Report(1, jobs.NoTotal, []byte(bad))
		if _, _, err := l.touch(t.Context(), true); err == nil {
			t.Errorf("touch with %s = nil, want the database's refusal", bad)
		}
		if ours, _, err := l.touch(t.Context(), true); !ours || err != nil || l.isDirty() {
			t.Errorf("touch after %s = %v, %v, want it written without", bad, ours, err)
		}
	}
	for _, bad := range []string{`[]`, `{`, `null`, `{"a":"` + string(make([]byte, jobs.MaxDetail)) + `"}`} {
		if l.Report(1, 1, []byte(bad)); l.detail != nil {
			t.Errorf("detail %.20s was taken, want it left out", bad)
		}
	}
	l.Report(1, 1, []byte(`{"a":"\u0000"}`))
	if got := l.finish(t.Context(), jobs.Failed, "a\x00b\xff"); got != "failed" {
		t.Errorf("finish = %s, want failed", got)
	}
	if got, err := New(db.AppPool(t)).Get(t.Context(), "alice", j.ID); err != nil || got.Error != "a?b?" || string(got.Detail) != "{}" {
		t.Errorf("job = %+v, %v, want its text fit to be kept", got, err)
	}
}

// TestUnreachable: a worker whose lease cannot be renewed is stopped before another may
// take its job over.
func TestUnreachable(t *testing.T) {
	db := pgtest.DB(t)
	addTenants(t, db)
	pool := db.JobsPool(t)
	r, err := NewRunner(pool, Options{Lease: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	j, _, err := r.Enqueue(t.Context(), "alice", "import", nil, EnqueueOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n := note{Tenant: "alice", Job: j.ID}
	if j, _, err = r.claim(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	l := &lease{runner: r, note: n, before: j, renewed: time.Now()}
	pool.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		l.keep(ctx, stop, cancel)
	}()
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, errLost) {
		t.Errorf("the worker's context ended by %v, want %v", cause, errLost)
	}
	close(stop)
	<-stopped
}

// TestSweepEnded deletes what ended long ago, and nothing else.
func TestSweepEnded(t *testing.T) {
	db := pgtest.DB(t)
	addTenants(t, db)
	r, err := NewRunner(db.JobsPool(t), Options{Keep: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	view := New(db.AppPool(t))
	var ids []jobs.ID
	for range 3 {
		j, _, err := r.Enqueue(t.Context(), "alice", "import", nil, EnqueueOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, j.ID)
	}
	for _, id := range ids[:2] {
		if _, err := view.Cancel(t.Context(), "alice", id); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.OwnerPool(t).Exec(t.Context(), "UPDATE tars.jobs SET finished_at = now() - interval '2 hours' WHERE job_id = $1", string(ids[0])); err != nil {
		t.Fatal(err)
	}
	if err := r.sweepEnded(t.Context()); err != nil {
		t.Fatal(err)
	}
	list, err := view.List(context.Background(), "alice", jobs.Selection{}, 10)
	if err != nil || len(list) != 2 || list[0].ID != ids[2] || list[1].ID != ids[1] {
		t.Errorf("jobs left = %v, %v, want the last two", list, err)
	}
}
