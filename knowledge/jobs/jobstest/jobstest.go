// Package jobstest has the tests that every [jobs.Jobs] passes, and one in memory for
// tests of what stands above.
package jobstest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/jobs"
)

// Fixture is an implementation under test, and what makes jobs in it. The tenants
// "alice" and "bob" are there.
type Fixture struct {
	Jobs jobs.Jobs
	// Add makes a queued job.
	Add func(tenant knowledge.TenantID, kind jobs.Kind) jobs.Job
	// Begin makes a job begin.
	Begin func(tenant knowledge.TenantID, id jobs.ID)
	// Report has a running job say how far it is.
	Report func(tenant knowledge.TenantID, id jobs.ID, done, total int64)
	// End ends a running job well.
	End func(tenant knowledge.TenantID, id jobs.ID)
}

// Run tests the implementation that open makes, anew for each test.
func Run(t *testing.T, open func(t *testing.T) Fixture) {
	for name, test := range map[string]func(*testing.T, Fixture){
		"Life": testLife, "List": testList, "Foreign": testForeign, "Cancel": testCancel, "Watch": testWatch,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// patience bounds each wait.
const patience = 30 * time.Second

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// get returns a job of alice's.
func get(t *testing.T, f Fixture, id jobs.ID) jobs.Job {
	t.Helper()
	j, err := f.Jobs.Get(t.Context(), "alice", id)
	if err != nil {
		t.Fatalf("Get = %v, want the job", err)
	}
	return j
}

func testLife(t *testing.T, f Fixture) {
	id := f.Add("alice", "import").ID
	j := get(t, f, id)
	if j.ID != id || j.Kind != "import" || j.State != jobs.Queued || j.Done != 0 || j.Total != jobs.NoTotal || string(j.Detail) != "{}" ||
		j.Attempt != 0 || j.Created.IsZero() || !j.Started.IsZero() || !j.Finished.IsZero() || j.Updated.IsZero() {
		t.Errorf("new job = %+v, want it queued, with nothing done", j)
	}
	f.Begin("alice", id)
	f.Report("alice", id, 3, 10)
	j = get(t, f, id)
	if j.State != jobs.Running || j.Done != 3 || j.Total != 10 || j.Attempt != 1 || j.Started.IsZero() || !j.Finished.IsZero() {
		t.Errorf("job that runs = %+v, want 3 of 10 done", j)
	}
	f.End("alice", id)
	j = get(t, f, id)
	if j.State != jobs.Succeeded || !j.State.Final() || j.Finished.IsZero() || j.Done != 3 {
		t.Errorf("job that has ended = %+v, want it succeeded", j)
	}
}

func testList(t *testing.T, f Fixture) {
	var ids []jobs.ID
	for _, kind := range []jobs.Kind{"import", "export", "import", "import"} {
		ids = append(ids, f.Add("alice", kind).ID)
		time.Sleep(2 * time.Millisecond) // ids sort by milliseconds
	}
	f.Add("bob", "import")
	f.Begin("alice", ids[0])
	for _, test := range []struct {
		what  string
		s     jobs.Selection
		limit int
		want  []jobs.ID
	}{
		{"all", jobs.Selection{}, 10, []jobs.ID{ids[3], ids[2], ids[1], ids[0]}},
		{"first page", jobs.Selection{}, 2, []jobs.ID{ids[3], ids[2]}},
		{"second page", jobs.Selection{Before: ids[2]}, 2, []jobs.ID{ids[1], ids[0]}},
		{"after the last", jobs.Selection{Before: ids[0]}, 2, nil},
		{"of a kind", jobs.Selection{Kind: "import"}, 10, []jobs.ID{ids[3], ids[2], ids[0]}},
		{"of a state", jobs.Selection{State: jobs.Running}, 10, []jobs.ID{ids[0]}},
		{"of both", jobs.Selection{Kind: "import", State: jobs.Queued, Before: ids[3]}, 10, []jobs.ID{ids[2]}},
		{"of an unknown kind", jobs.Selection{Kind: "x"}, 10, nil},
	} {
		found, err := f.Jobs.List(t.Context(), "alice", test.s, test.limit)
		var got []jobs.ID
		for _, j := range found {
			got = append(got, j.ID)
		}
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s = %v, %v, want %v", test.what, got, err, test.want)
		}
	}
}

// testForeign: another tenant's job is as one that does not exist, and stays as it was.
func testForeign(t *testing.T, f Fixture) {
	j := f.Add("alice", "import")
	unknown := j
	unknown.ID = jobs.NewID(time.Now())
	for what, seen := range map[string]jobs.Job{"foreign": j, "unknown": unknown} {
		if _, err := f.Jobs.Get(t.Context(), "bob", seen.ID); !errors.Is(err, knowledge.ErrNotFound) {
			t.Errorf("Get of a job that is %s = %v, want ErrNotFound", what, err)
		}
		if _, err := f.Jobs.Cancel(t.Context(), "bob", seen.ID); !errors.Is(err, knowledge.ErrNotFound) {
			t.Errorf("Cancel of a job that is %s = %v, want ErrNotFound", what, err)
		}
		if _, err := f.Jobs.Watch(within(t), "bob", seen); !errors.Is(err, knowledge.ErrNotFound) {
			t.Errorf("Watch of a job that is %s = %v, want ErrNotFound", what, err)
		}
	}
	if list, err := f.Jobs.List(t.Context(), "bob", jobs.Selection{}, 10); len(list) > 0 || err != nil {
		t.Errorf("List of another tenant = %v, %v, want none", list, err)
	}
	if got := get(t, f, j.ID); got.CancelRequested || got.State != jobs.Queued {
		t.Errorf("the job = %+v, want it untouched", got)
	}
}

func testCancel(t *testing.T, f Fixture) {
	waiting, running, ended := f.Add("alice", "import").ID, f.Add("alice", "import").ID, f.Add("alice", "import").ID
	f.Begin("alice", running)
	f.Begin("alice", ended)
	f.End("alice", ended)
	if j, err := f.Jobs.Cancel(t.Context(), "alice", waiting); err != nil || j.State != jobs.Cancelled || !j.CancelRequested || j.Finished.IsZero() {
		t.Errorf("Cancel of a job that waits = %+v, %v, want it cancelled", j, err)
	}
	first, err := f.Jobs.Cancel(t.Context(), "alice", running)
	if err != nil || first.State != jobs.Running || !first.CancelRequested {
		t.Errorf("Cancel of a job that runs = %+v, %v, want it running and told", first, err)
	}
	if again, err := f.Jobs.Cancel(t.Context(), "alice", running); err != nil || !again.Updated.Equal(first.Updated) {
		t.Errorf("Cancel once more = %+v, %v, want %+v", again, err, first)
	}
	for _, id := range []jobs.ID{waiting, ended} {
		if _, err := f.Jobs.Cancel(t.Context(), "alice", id); !errors.Is(err, knowledge.ErrConflict) {
			t.Errorf("Cancel of a job that has ended = %v, want ErrConflict", err)
		}
	}
	if j := get(t, f, ended); j.State != jobs.Succeeded || j.CancelRequested {
		t.Errorf("the job that had ended = %+v, want it succeeded", j)
	}
}

func testWatch(t *testing.T, f Fixture) {
	j := f.Add("alice", "import")
	step := func(what string, change func(), want func(jobs.Job) bool) {
		t.Helper()
		type result struct {
			job jobs.Job
			err error
		}
		changed := make(chan result, 1)
		go func() {
			got, err := f.Jobs.Watch(within(t), "alice", j)
			changed <- result{got, err}
		}()
		change()
		got := <-changed
		if got.err != nil || !want(got.job) {
			t.Fatalf("Watch when it %s = %+v, %v", what, got.job, got.err)
		}
		j = got.job
	}
	step("begins", func() { f.Begin("alice", j.ID) }, func(j jobs.Job) bool { return j.State == jobs.Running })
	step("reports", func() { f.Report("alice", j.ID, 1, 2) }, func(j jobs.Job) bool { return j.Done == 1 && j.Total == 2 })
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got, err := f.Jobs.Watch(short, "alice", j); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Watch without a change = %+v, %v, want the end of its context", got, err)
	}
	step("ends", func() { f.End("alice", j.ID) }, func(j jobs.Job) bool { return j.State == jobs.Succeeded })
	step("has ended", func() {}, func(j jobs.Job) bool { return j.State == jobs.Succeeded })
}
