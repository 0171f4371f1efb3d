package pgjobs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/jobs"
	"github.com/tars-project/tars/knowledge/pgjobs"
)

// childEnv has the test binary be a server that is to be killed.
const childEnv = "TARS_TEST_JOBS_CHILD"

// steps is how many steps the job of these tests has.
const steps = 20

// countTo is a resumable worker: it keeps each step in the step's own transaction.
func countTo(pause time.Duration, url string) jobs.Worker {
	return func(ctx context.Context, _ knowledge.TenantID, _ json.RawMessage, p jobs.Progress) error {
		pool := openPool(ctx, url)
		defer pool.Close()
		for i := p.Before().Done; i < steps; i++ {
			const sql = "INSERT INTO public.steps (step, attempt) VALUES ($1, $2) ON CONFLICT (step) DO UPDATE SET repeated = public.steps.repeated + 1"
			if _, err := pool.Exec(ctx, sql, i, p.Before().Attempt); err != nil {
				return err
			}
			p.Report(i+1, steps, nil)
			time.Sleep(pause)
		}
		return nil
	}
}

// child runs jobs until it is killed.
func child(url string) {
	r, err := pgjobs.NewRunner(openPool(context.Background(), url), pgjobs.Options{Lease: 2 * time.Second})
	if err == nil {
		r.Register("count", countTo(200*time.Millisecond, url))
		err = r.Start(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	select {}
}

// TestKilledServer: a job whose server is killed begins again on another, goes on from
// what it had reported, and does every step.
func TestKilledServer(t *testing.T) {
	w := newWorld(t)
	owner := w.db.OwnerPool(t)
	if _, err := owner.Exec(t.Context(), `
		CREATE TABLE public.steps (step int PRIMARY KEY, attempt int NOT NULL, repeated int NOT NULL DEFAULT 0);
		GRANT SELECT, INSERT, UPDATE ON public.steps TO tars_jobs`); err != nil {
		t.Fatal(err)
	}
	r := w.node(pgjobs.Options{Lease: 2 * time.Second})
	id := w.enqueue(r, "count", nil)
	const kills = 3
	for range kills {
		server := exec.Command("/proc/self/exe")
		server.Env = append(os.Environ(), childEnv+"="+w.db.JobsURL)
		server.Stderr = testWriter{t}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		before := w.untilAny(id).Done
		w.until(id, "further on", func(j jobs.Job) bool { return j.State == jobs.Running && j.Done > before })
		_ = server.Process.Kill()
		_ = server.Wait()
	}
	killed := time.Now()
	r.Register("count", countTo(0, w.db.JobsURL))
	w.start(r)
	j := w.untilState(id, jobs.Running)
	for j.Attempt <= kills { // still the dead one's
		time.Sleep(10 * time.Millisecond)
		if j = w.untilAny(id); time.Since(killed) > patience {
			t.Fatalf("job = %+v, want it begun again", j)
		}
	}
	t.Logf("begun again %s after the kill, with a lease of 2s", j.Updated.Sub(killed).Round(time.Millisecond))
	if j = w.untilState(id, jobs.Succeeded); j.Done != steps || j.Total != steps || j.Attempt != kills+1 {
		t.Errorf("job = %+v, want all steps done in %d attempts", j, kills+1)
	}
	var n, repeated int
	if err := owner.QueryRow(t.Context(), "SELECT count(*), sum(repeated) FROM public.steps").Scan(&n, &repeated); err != nil {
		t.Fatal(err)
	}
	// A report may be lost with its server, 300 ms of them: the step under way and the
	// two before.
	if n != steps || repeated > kills*3 {
		t.Errorf("%d steps were done, %d of them again, want all %d and few again", n, repeated, steps)
	}
}

// untilAny reads the job.
func (w *world) untilAny(id jobs.ID) jobs.Job {
	return w.until(id, "there", func(jobs.Job) bool { return true })
}
