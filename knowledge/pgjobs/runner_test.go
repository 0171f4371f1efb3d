package pgjobs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/jobs"
	"github.com/tars-project/tars/knowledge/pgjobs"
	"github.com/tars-project/tars/migrations/pgtest"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(childEnv); url != "" {
		child(url)
		return
	}
	os.Exit(m.Run())
}

// patience bounds each wait.
const patience = 30 * time.Second

// world is a database with the tenants alice and bob.
type world struct {
	t    *testing.T
	db   *pgtest.Database
	view *pgjobs.Jobs
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, db: pgtest.DB(t)}
	w.view = pgjobs.New(w.db.AppPool(t))
	if _, err := w.db.OwnerPool(t).Exec(t.Context(), "INSERT INTO tars.tenants (tenant_id) VALUES ('alice'), ('bob')"); err != nil {
		t.Fatal(err)
	}
	return w
}

// node is a runner with a pool of its own, not started yet. It is stopped with the
// test.
func (w *world) node(o pgjobs.Options) *pgjobs.Runner {
	w.t.Helper()
	o.Logger = slog.New(slog.NewTextHandler(testWriter{w.t}, nil))
	r, err := pgjobs.NewRunner(w.db.JobsPool(w.t), o)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(string(bytes.TrimSpace(p)))
	return len(p), nil
}

func (w *world) start(r *pgjobs.Runner) {
	w.t.Helper()
	if err := r.Start(w.t.Context()); err != nil {
		w.t.Fatalf("Start = %v", err)
	}
	w.t.Cleanup(func() { w.stop(r) })
}

func (w *world) stop(r *pgjobs.Runner) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.Stop(ctx); err != nil {
		w.t.Errorf("Stop = %v, want nil", err)
	}
}

func (w *world) enqueue(r *pgjobs.Runner, kind jobs.Kind, args any) jobs.ID {
	w.t.Helper()
	j, created, err := r.Enqueue(w.t.Context(), "alice", kind, args, pgjobs.EnqueueOptions{})
	if err != nil || !created {
		w.t.Fatalf("Enqueue = %v, %v, want a new job", created, err)
	}
	return j.ID
}

// until waits for the job to be as wanted.
func (w *world) until(id jobs.ID, what string, want func(jobs.Job) bool) jobs.Job {
	w.t.Helper()
	end := time.Now().Add(patience)
	for {
		j, err := w.view.Get(w.t.Context(), "alice", id)
		if err != nil {
			w.t.Fatalf("Get = %v", err)
		}
		if want(j) {
			return j
		}
		if time.Now().After(end) {
			w.t.Fatalf("job = %+v after %s, want it %s", j, patience, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (w *world) untilState(id jobs.ID, state jobs.State) jobs.Job {
	w.t.Helper()
	j := w.until(id, string(state), func(j jobs.Job) bool { return j.State == state || j.State.Final() })
	if j.State != state {
		w.t.Fatalf("job = %+v, want it %s", j, state)
	}
	return j
}

func wait[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s did not come within %s", what, patience)
		panic("unreachable")
	}
}

// TestOutcomes: what a worker returns is what becomes of its job, and the client reads
// only what was made for it.
func TestOutcomes(t *testing.T) {
	w := newWorld(t)
	r := w.node(pgjobs.Options{Attempts: 2})
	const secret = "password=hunter2"
	r.Register("ok", func(_ context.Context, tenant knowledge.TenantID, args json.RawMessage, p jobs.Progress) error {
		if tenant != "alice" || string(args) != `{"n": 7}` && string(args) != `{"n":7}` || p.Before().Attempt != 1 {
			return fmt.Errorf("tenant %s, args %s, before %+v", tenant, args, p.Before())
		}
		p.Report(7, 7, json.RawMessage(`{"good":7}`))
		return nil
	})
	r.Register("invalid", func(context.Context, knowledge.TenantID, json.RawMessage, jobs.Progress) error {
		return fmt.Errorf("%s: %w", secret, knowledge.Invalid("lines[3]", "is no JSON"))
	})
	r.Register("broken", func(context.Context, knowledge.TenantID, json.RawMessage, jobs.Progress) error {
		return errors.New(secret)
	})
	r.Register("panics", func(context.Context, knowledge.TenantID, json.RawMessage, jobs.Progress) error { panic(secret) })
	var tried atomic.Int32
	r.Register("passes", func(_ context.Context, _ knowledge.TenantID, _ json.RawMessage, p jobs.Progress) error {
		if tried.Add(1) == 1 {
			p.Report(5, jobs.NoTotal, json.RawMessage(`{"at":5}`))
			return fmt.Errorf("%s: %w", secret, knowledge.ErrUnavailable)
		}
		if b := p.Before(); b.Done != 5 || string(b.Detail) != `{"at": 5}` || b.Attempt != 2 {
			return fmt.Errorf("before = %+v", b)
		}
		return nil
	})
	r.Register("never", func(context.Context, knowledge.TenantID, json.RawMessage, jobs.Progress) error {
		return fmt.Errorf("%s: %w", secret, knowledge.ErrUnavailable)
	})
	w.start(r)
	ids := map[jobs.Kind]jobs.ID{}
	for _, kind := range []jobs.Kind{"ok", "invalid", "broken", "panics", "passes", "never"} {
		ids[kind] = w.enqueue(r, kind, map[string]int{"n": 7})
	}
	if j := w.untilState(ids["ok"], jobs.Succeeded); j.Done != 7 || j.Total != 7 || string(j.Detail) != `{"good": 7}` || j.Error != "" {
		t.Errorf("good job = %+v, want what it reported last", j)
	}
	for kind, want := range map[jobs.Kind]string{
		"invalid": "lines[3]: is no JSON", "broken": "an internal error; the operator's log has it under the job's id",
		"panics": "an internal error; the operator's log has it under the job's id", "never": "what it needs could not be reached, 2 times",
	} {
		if j := w.untilState(ids[kind], jobs.Failed); j.Error != want {
			t.Errorf("error of the job %s = %q, want %q", kind, j.Error, want)
		}
	}
	if j := w.untilState(ids["passes"], jobs.Succeeded); j.Attempt != 2 {
		t.Errorf("job that passed at last = %+v, want two attempts", j)
	}
	var got []string
	for _, s := range r.Stats() {
		got = append(got, fmt.Sprint(s.Kind, " ", s.Outcome, " ", s.N))
	}
	for _, want := range []string{"ok succeeded 1", "invalid failed 1", "passes retried 1", "passes succeeded 1", "never retried 1", "never failed 1"} {
		if !strings.Contains(strings.Join(got, "\n"), want) {
			t.Errorf("Stats = %q, want %q among them", got, want)
		}
	}
}

// TestUniqueKey: of several that are enqueued at once one is made, and another when
// that has ended.
func TestUniqueKey(t *testing.T) {
	w := newWorld(t)
	r := w.node(pgjobs.Options{})
	release := make(chan struct{})
	r.Register("import", func(ctx context.Context, _ knowledge.TenantID, _ json.RawMessage, _ jobs.Progress) error {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return ctx.Err()
	})
	enqueue := func(tenant knowledge.TenantID, kind jobs.Kind) (jobs.Job, bool) {
		j, created, err := r.Enqueue(t.Context(), tenant, kind, nil, pgjobs.EnqueueOptions{UniqueKey: "notes"})
		if err != nil {
			t.Errorf("Enqueue = %v", err)
		}
		return j, created
	}
	var (
		mu    sync.Mutex
		ids   = map[jobs.ID]int{}
		made  int
		group sync.WaitGroup
	)
	for range 8 {
		group.Go(func() {
			j, created := enqueue("alice", "import")
			mu.Lock()
			defer mu.Unlock()
			ids[j.ID]++
			if created {
				made++
			}
		})
	}
	group.Wait()
	if len(ids) != 1 || made != 1 {
		t.Fatalf("8 with one key made %d jobs, %v, want one", made, ids)
	}
	first, _ := enqueue("alice", "import")
	w.start(r)
	w.untilState(first.ID, jobs.Running)
	if again, created := enqueue("alice", "import"); created || again.ID != first.ID {
		t.Errorf("Enqueue while it runs = %s, %v, want %s", again.ID, created, first.ID)
	}
	if other, created := enqueue("alice", "other"); !created || other.ID == first.ID {
		t.Error("Enqueue of another kind with the key made no job, want one")
	}
	if other, created := enqueue("bob", "import"); !created || other.ID == first.ID {
		t.Error("Enqueue of another tenant with the key made no job, want one")
	}
	close(release)
	w.untilState(first.ID, jobs.Succeeded)
	if _, created := enqueue("alice", "import"); !created {
		t.Error("Enqueue after it has ended made no job, want one")
	}
}

// TestMostPending: a tenant has only so many jobs, and others theirs beside.
func TestMostPending(t *testing.T) {
	w := newWorld(t)
	r := w.node(pgjobs.Options{MostPending: 3})
	var last jobs.ID
	for range 3 {
		last = w.enqueue(r, "import", nil)
	}
	for _, key := range []string{"", "key"} {
		if _, _, err := r.Enqueue(t.Context(), "alice", "import", nil, pgjobs.EnqueueOptions{UniqueKey: key}); !errors.Is(err, knowledge.ErrLimit) {
			t.Errorf("Enqueue beyond the most = %v, want ErrLimit", err)
		}
	}
	if _, _, err := r.Enqueue(t.Context(), "bob", "import", nil, pgjobs.EnqueueOptions{}); err != nil {
		t.Errorf("Enqueue of another tenant = %v, want nil", err)
	}
	if _, err := w.view.Cancel(t.Context(), "alice", last); err != nil {
		t.Fatal(err)
	}
	w.enqueue(r, "import", nil)
	for _, bad := range []string{"a\x00", "\xff", strings.Repeat("x", 513)} {
		if _, _, err := r.Enqueue(t.Context(), "bob", "import", nil, pgjobs.EnqueueOptions{UniqueKey: bad}); !errors.Is(err, knowledge.ErrInvalid) {
			t.Errorf("Enqueue with the key %.10q = %v, want an InvalidError", bad, err)
		}
	}
	if _, _, err := r.Enqueue(t.Context(), "nobody", "import", nil, pgjobs.EnqueueOptions{}); !errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("Enqueue of an unknown tenant = %v, want ErrNotFound", err)
	}
}

// TestCancel reaches the worker wherever it runs.
func TestCancel(t *testing.T) {
	w := newWorld(t)
	r := w.node(pgjobs.Options{})
	began, told := make(chan struct{}), make(chan time.Time, 1)
	r.Register("import", func(ctx context.Context, _ knowledge.TenantID, _ json.RawMessage, p jobs.Progress) error {
		p.Report(1, 2, nil)
		close(began)
		<-ctx.Done()
		told <- time.Now()
		return ctx.Err()
	})
	w.start(r)
	id := w.enqueue(r, "import", nil)
	wait(t, "the worker", began)
	asked := time.Now()
	if _, err := w.view.Cancel(t.Context(), "alice", id); err != nil { // by the tables alone, as any node would
		t.Fatal(err)
	}
	t.Logf("the worker was told after %s", wait(t, "the end of its context", told).Sub(asked))
	if j := w.untilState(id, jobs.Cancelled); j.Done != 1 || j.Error != "" {
		t.Errorf("cancelled job = %+v, want what it had done", j)
	}
}

// TestLost: a worker whose job another has taken over is stopped, and what it says
// changes nothing.
func TestLost(t *testing.T) {
	w := newWorld(t)
	r := w.node(pgjobs.Options{})
	began, ended := make(chan struct{}), make(chan struct{})
	r.Register("import", func(ctx context.Context, _ knowledge.TenantID, _ json.RawMessage, p jobs.Progress) error {
		close(began)
		<-ctx.Done()
		p.Report(77, 77, nil)
		close(ended)
		return nil
	})
	w.start(r)
	id := w.enqueue(r, "import", nil)
	wait(t, "the worker", began)
	const take = "UPDATE tars.jobs SET runner = 'another', attempt = 2, due_at = now() + interval '1 hour'"
	if _, err := w.db.OwnerPool(t).Exec(t.Context(), take); err != nil {
		t.Fatal(err)
	}
	wait(t, "the end of its context", ended)
	w.stop(r)
	if j := w.untilState(id, jobs.Running); j.Done != 0 || j.Attempt != 2 {
		t.Errorf("job = %+v, want it as the other has it", j)
	}
	if s := r.Stats(); len(s) == 0 || !slices.Contains(s, pgjobs.Stat{Kind: "import", Outcome: "lost", N: 1}) {
		t.Errorf("Stats = %v, want one that was lost", s)
	}
}

// TestCancelledBeforeItRan: its worker is not even called.
func TestCancelledBeforeItRan(t *testing.T) {
	w := newWorld(t)
	r := w.node(pgjobs.Options{Workers: 1})
	ran := make(chan string, 10)
	r.Register("import", func(_ context.Context, _ knowledge.TenantID, args json.RawMessage, _ jobs.Progress) error {
		ran <- string(args)
		return nil
	})
	cancelled := w.enqueue(r, "import", "first")
	if _, err := w.view.Cancel(t.Context(), "alice", cancelled); err != nil {
		t.Fatal(err)
	}
	w.untilState(w.enqueue(r, "import", "second"), jobs.Queued)
	w.start(r)
	if got := wait(t, "the second job", ran); got != `"second"` {
		t.Errorf("ran %s, want the second alone", got)
	}
	w.untilState(cancelled, jobs.Cancelled)
}

// TestStop: jobs under way get their time, and then go back to the queue, from where
// another node takes them on; nothing is left running.
func TestStop(t *testing.T) {
	w := newWorld(t)
	pool := w.db.JobsPool(t)
	before := goleak.IgnoreCurrent()
	first, err := pgjobs.NewRunner(pool, pgjobs.Options{StopTimeout: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	began := make(chan struct{})
	first.Register("long", func(ctx context.Context, _ knowledge.TenantID, _ json.RawMessage, p jobs.Progress) error {
		p.Report(3, 10, json.RawMessage(`{"at":3}`))
		close(began)
		<-ctx.Done()
		return ctx.Err()
	})
	stopping := make(chan struct{})
	first.Register("short", func(ctx context.Context, _ knowledge.TenantID, _ json.RawMessage, _ jobs.Progress) error {
		<-stopping
		return ctx.Err() // nil: the stop timeout is not over
	})
	if err := first.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	long, short := w.enqueue(first, "long", nil), w.enqueue(first, "short", nil)
	wait(t, "the worker", began)
	w.untilState(short, jobs.Running)
	time.AfterFunc(10*time.Millisecond, func() { close(stopping) })
	w.stop(first)
	w.stop(first) // once more does nothing
	if err := goleak.Find(before, goleak.IgnoreTopFunction("github.com/jackc/pgx/v5/pgxpool.(*Pool).backgroundHealthCheck")); err != nil {
		t.Errorf("after Stop: %v", err)
	}
	w.untilState(short, jobs.Succeeded)
	if j := w.untilState(long, jobs.Queued); j.Done != 3 || j.Total != 10 || j.Attempt != 0 {
		t.Errorf("job of a stopped server = %+v, want it queued, as far as it was, with no attempt used", j)
	}
	second := w.node(pgjobs.Options{})
	second.Register("long", func(_ context.Context, _ knowledge.TenantID, _ json.RawMessage, p jobs.Progress) error {
		if b := p.Before(); b.Done != 3 || b.Total != 10 || string(b.Detail) != `{"at": 3}` {
			return fmt.Errorf("before = %+v", b)
		}
		return nil
	})
	w.start(second)
	w.untilState(long, jobs.Succeeded)
}

// TestConnectionsLost: the server of the database ends every connection, again and
// again, and jobs go on.
func TestConnectionsLost(t *testing.T) {
	w := newWorld(t)
	r := w.node(pgjobs.Options{})
	release := make(chan struct{})
	r.Register("import", func(ctx context.Context, _ knowledge.TenantID, _ json.RawMessage, p jobs.Progress) error {
		for i := int64(1); ; i++ {
			p.Report(i, jobs.NoTotal, nil)
			select {
			case <-release:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	w.start(r)
	first := w.enqueue(r, "import", nil)
	owner := w.db.OwnerPool(t)
	for range 3 {
		before := w.untilState(first, jobs.Running).Done
		const terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'tars_jobs'"
		if _, err := owner.Exec(t.Context(), terminate); err != nil {
			t.Fatal(err)
		}
		w.until(first, "further on", func(j jobs.Job) bool { return j.Done > before })
	}
	second := w.enqueue(r, "import", nil)
	w.untilState(second, jobs.Running)
	close(release)
	for _, id := range []jobs.ID{first, second} {
		if j := w.untilState(id, jobs.Succeeded); j.Attempt != 1 {
			t.Errorf("job = %+v, want it done in one attempt", j)
		}
	}
}

// TestUnknownKind waits for a node that knows it.
func TestUnknownKind(t *testing.T) {
	w := newWorld(t)
	old := w.node(pgjobs.Options{})
	w.start(old)
	id := w.enqueue(old, "new", nil)
	newer := w.node(pgjobs.Options{})
	newer.Register("new", func(context.Context, knowledge.TenantID, json.RawMessage, jobs.Progress) error { return nil })
	w.start(newer)
	w.untilState(id, jobs.Succeeded)
}

// TestBound: no more jobs run at once than the node has workers.
func TestBound(t *testing.T) {
	w := newWorld(t)
	r := w.node(pgjobs.Options{Workers: 2})
	var now, most atomic.Int32
	r.Register("import", func(context.Context, knowledge.TenantID, json.RawMessage, jobs.Progress) error {
		n := now.Add(1)
		defer now.Add(-1)
		for {
			if old := most.Load(); n <= old || most.CompareAndSwap(old, n) {
				break
			}
		}
		time.Sleep(100 * time.Millisecond)
		return nil
	})
	var ids []jobs.ID
	for range 6 {
		ids = append(ids, w.enqueue(r, "import", nil))
	}
	w.start(r)
	for _, id := range ids {
		w.untilState(id, jobs.Succeeded)
	}
	if most.Load() > 2 {
		t.Errorf("%d jobs ran at once, want 2 at most", most.Load())
	}
}

// TestReportsAreThrottled: a worker may report as often as it likes.
func TestReportsAreThrottled(t *testing.T) {
	w := newWorld(t)
	owner := w.db.OwnerPool(t)
	if _, err := owner.Exec(t.Context(), `
		CREATE TABLE public.writes (at timestamptz DEFAULT clock_timestamp());
		GRANT INSERT ON public.writes TO tars_jobs;
		CREATE FUNCTION public.written() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.writes DEFAULT VALUES; RETURN NEW; END';
		CREATE TRIGGER written AFTER UPDATE ON tars.jobs FOR EACH ROW EXECUTE FUNCTION public.written()`); err != nil {
		t.Fatal(err)
	}
	r := w.node(pgjobs.Options{})
	var took time.Duration
	r.Register("import", func(_ context.Context, _ knowledge.TenantID, _ json.RawMessage, p jobs.Progress) error {
		start := time.Now()
		for i := range int64(200_000) {
			p.Report(i, jobs.NoTotal, nil)
			if i%200 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		took = time.Since(start)
		return nil
	})
	w.start(r)
	id := w.enqueue(r, "import", nil)
	if j := w.untilState(id, jobs.Succeeded); j.Done != 199_999 {
		t.Errorf("job = %+v, want its last report", j)
	}
	var n int
	if err := owner.QueryRow(t.Context(), "SELECT count(*) FROM public.writes").Scan(&n); err != nil {
		t.Fatal(err)
	}
	if most := 4 + int(took/(250*time.Millisecond)); n > most { // beside: note, claim, end
		t.Errorf("200,000 reports in %s were %d writes, want %d at most", took, n, most)
	}
}

// TestPeriodic: work of the node is done again and again, on one node at a time, and is
// no tenant's job.
func TestPeriodic(t *testing.T) {
	w := newWorld(t)
	var now, done atomic.Int32
	enough := make(chan struct{})
	for range 2 {
		r := w.node(pgjobs.Options{})
		r.Every("sweep", time.Second, func(context.Context) error {
			if now.Add(1) > 1 {
				t.Error("it is done twice at once")
			}
			defer now.Add(-1)
			time.Sleep(50 * time.Millisecond)
			if done.Add(1) == 3 {
				close(enough)
			}
			if done.Load() == 2 {
				panic("an accident, after which it goes on")
			}
			return nil
		})
		w.start(r)
	}
	wait(t, "the third turn", enough)
	if list, err := w.view.List(t.Context(), "alice", jobs.Selection{}, 10); len(list) != 0 || err != nil {
		t.Errorf("List = %v, %v, want none", list, err)
	}
}

func openPool(ctx context.Context, url string) *pgxpool.Pool {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		panic(err)
	}
	return pool
}
