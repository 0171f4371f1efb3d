package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/cmd/tars/rest"
	"github.com/tars-project/tars/migrations"
	"github.com/tars-project/tars/migrations/pglocal"
	"github.com/tars-project/tars/migrations/pgtest"
)

// TestLedger kills the server and PostgreSQL, as the kernel would, in the midst of
// batch writes and of an import. Afterwards each record is as one order of all
// writes makes it, in which those that were acknowledged are there with their
// versions; and the import has written each of its lines once. Collections are large
// from some 260 records on, so that jobs carry them to an index all the while, and
// are killed at it too. TARS_TEST_KILLS is for more kills than 4.
func TestLedger(t *testing.T) {
	t.Parallel()
	const lines = 60_000
	kills := 4
	if n, err := strconv.Atoi(os.Getenv("TARS_TEST_KILLS")); err == nil {
		kills = n
	}
	const early = "TARS_INDEX_FROM=20000"
	pg := startDurable(t)
	d := pg.database(t)
	s := start(t, d, early)
	client := s.tenant(t, "ledger")
	for _, name := range []string{"c", "imported"} {
		do(t, client, http.MethodPut, "/v1/collections/"+name, map[string]any{"dimension": 3}, nil)
	}
	body := importBody(lines)
	l := &chronicle{began: time.Now()}
	query := "?on_error=skip"
	for round := range kills {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() { l.write(ctx, client, round*4+w) })
		}
		wg.Go(func() { _ = importOnce(ctx, client, query, bytes.NewReader(body), &imported{}) })
		l.waitFor(t, 40*(round+1))
		if round%2 == 0 { // the server goes first, or the database
			s.kill()
			pg.kill(t)
		} else {
			pg.kill(t)
			time.Sleep(time.Duration(rand.IntN(50)) * time.Millisecond)
			s.kill()
		}
		cancel()
		wg.Wait()
		pg.restart(t)
		s = start(t, d, early)
		client = rest.New(s.url, client.Token)
		if id := pg.importID(t); id != "" {
			query = "?resume=" + id
		}
	}
	var x imported
	if strings.HasPrefix(query, "?resume") {
		var before struct{ State string }
		do(t, client, http.MethodGet, "/v1/imports/"+strings.TrimPrefix(query, "?resume="), nil, &before)
		t.Logf("the import is %s before it is resumed for the last time", before.State)
	}
	if err := importOnce(t.Context(), client, query, bytes.NewReader(body), &x); err != nil && !rest.IsStatus(err, http.StatusConflict) {
		t.Errorf("the import does not come to its end: %v", err)
	}
	checkImported(t, client, lines)
	afterIndexing(t, client, 1)
	var health struct{ Tier string }
	do(t, client, http.MethodGet, "/v1/collections/imported/health", nil, &health)
	if health.Tier != "own" {
		t.Errorf("the imported records are in a place that is %s, want their own", health.Tier)
	}
	checkImported(t, client, lines)
	l.readAll(t, client)
	l.check(t)
	t.Logf("%d kills, %d operations on records", kills, len(l.ops))
}

// checkImported reads every imported record: each is there once, at version 1.
func checkImported(t *testing.T, client *rest.Client, lines int) {
	t.Helper()
	seen := 0
	in := map[string]any{"limit": 1000, "include": []string{"metadata"}}
	for {
		var page struct {
			Records []struct {
				ID      string
				Version int
			}
			Next string `json:"next_cursor"`
		}
		do(t, client, http.MethodPost, "/v1/collections/imported/records/scroll", in, &page)
		for _, r := range page.Records {
			if want := fmt.Sprintf("line-%06d", seen); r.ID != want || r.Version != 1 {
				t.Fatalf("imported record %d is %s at version %d, want %s at version 1", seen, r.ID, r.Version, want)
			}
			seen++
		}
		if page.Next == "" {
			break
		}
		in["cursor"] = page.Next
	}
	if seen != lines {
		t.Errorf("%d records were imported, want %d", seen, lines)
	}
}

func importBody(lines int) []byte {
	var b bytes.Buffer
	for i := range lines {
		fmt.Fprintf(&b, `{"id":"line-%06d","text":"the text of line %d","vector":[1,%d,0.5]}`+"\n", i, i, i)
	}
	return b.Bytes()
}

func importOnce(ctx context.Context, client *rest.Client, query string, body io.Reader, x *imported) error {
	header := http.Header{"Content-Type": {"application/x-ndjson"}}
	return client.Send(ctx, "/v1/collections/imported/import"+query, header, body, x)
}

// durable is a PostgreSQL that keeps its promises over a kill.
type durable struct {
	options pglocal.Options
	server  *pglocal.Server
}

func startDurable(t *testing.T) *durable {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // the account that PostgreSQL runs as must get through
		t.Fatal(err)
	}
	pg := &durable{options: pglocal.Options{
		CacheDir: pglocal.DefaultCacheDir(os.Getuid(), os.Getenv("HOME"), os.Getenv("XDG_CACHE_HOME")),
		DataDir:  filepath.Join(dir, "pg"), NoDocker: true, Log: io.Discard,
	}}
	pg.restart(t)
	t.Cleanup(func() { _ = pg.server.Close(context.Background()) }) // closed already, when the test failed on its way
	return pg
}

func (pg *durable) restart(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var err error
	if pg.server, err = pglocal.Start(ctx, pg.options); err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
}

// kill ends the server with SIGKILL; its processes follow it.
func (pg *durable) kill(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(pg.options.DataDir, "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-pg.server.Exited()
	_ = pg.server.Close(t.Context()) // what is left of one that was killed
}

// database is a migrated database of the server.
func (pg *durable) database(t *testing.T) *pgtest.Database {
	t.Helper()
	d := &pgtest.Database{OwnerURL: pg.server.URL}
	if err := migrations.Up(t.Context(), pg.server.URL); err != nil {
		t.Fatal(err)
	}
	const password = "for-this-test-alone"
	err := migrations.Provision(t.Context(), pg.server.URL, migrations.ProvisionOptions{AppPassword: password, JobsPassword: password})
	if err != nil {
		t.Fatal(err)
	}
	if d.AppURL, err = as(pg.server.URL, "tars_app", password); err != nil {
		t.Fatal(err)
	}
	if d.JobsURL, err = as(pg.server.URL, "tars_jobs", password); err != nil {
		t.Fatal(err)
	}
	return d
}

// importID is the id of the import, if it had begun.
func (pg *durable) importID(t *testing.T) (id string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), pg.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(t.Context(), "SELECT coalesce(max(import_id), '') FROM tars.imports").Scan(&id); err != nil {
		t.Fatal(err)
	}
	return id
}

// chronicle notes what was asked of records and what was answered.
type chronicle struct {
	began time.Time

	mu    sync.Mutex
	ops   []porcupine.Operation
	acked int // batches
}

const ledgerIDs = 24

// register is what there is under an id: the input of a write has its text, the
// output of either what was told of it.
type register struct {
	version int64
	text    string
}

// asked is one operation on one id.
type asked struct {
	id, text string
	read     bool
	unknown  bool // whether it was done
}

// write writes batches until it gets no answer.
func (l *chronicle) write(ctx context.Context, client *rest.Client, writer int) {
	random := rand.New(rand.NewPCG(uint64(writer), 7))
	for batch := 0; ; batch++ {
		var ops []asked
		var records []any
		for _, i := range random.Perm(ledgerIDs)[:6] {
			op := asked{id: fmt.Sprintf("id-%d", i), text: fmt.Sprintf("%d-%d-%d", writer, batch, i)}
			ops = append(ops, op)
			records = append(records, map[string]any{"id": op.id, "text": op.text, "vector": []float32{1, 2, 3}})
		}
		var out struct{ Results []struct{ Version int64 } }
		call := time.Since(l.began).Nanoseconds()
		_, err := client.Do(ctx, http.MethodPost, "/v1/collections/c/records", map[string]any{"records": records}, &out)
		returned := time.Since(l.began).Nanoseconds()
		l.mu.Lock()
		for i, op := range ops {
			var told register
			if err == nil {
				told.version = out.Results[i].Version
			} else { // it may have been done, or be done later on
				op.unknown, returned = true, math.MaxInt64
			}
			l.ops = append(l.ops, porcupine.Operation{ClientId: writer, Input: op, Call: call, Output: told, Return: returned})
		}
		if err == nil {
			l.acked++
		}
		l.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// waitFor waits until so many batches were acknowledged.
func (l *chronicle) waitFor(t *testing.T, batches int) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		l.mu.Lock()
		n := l.acked
		l.mu.Unlock()
		if n >= batches {
			return
		}
	}
	t.Errorf("fewer than %d batches were acknowledged", batches)
}

// readAll notes what there is of each id.
func (l *chronicle) readAll(t *testing.T, client *rest.Client) {
	t.Helper()
	for i := range ledgerIDs {
		op := asked{id: fmt.Sprintf("id-%d", i), read: true}
		var out struct {
			Version int64
			Text    string
		}
		call := time.Since(l.began).Nanoseconds()
		_, err := client.Do(t.Context(), http.MethodGet, "/v1/collections/c/records/"+op.id, nil, &out)
		if err != nil && !rest.IsStatus(err, http.StatusNotFound) {
			t.Fatalf("read %s: %v", op.id, err)
		}
		l.ops = append(l.ops, porcupine.Operation{
			ClientId: 1000, Input: op, Call: call, Output: register{out.Version, out.Text}, Return: time.Since(l.began).Nanoseconds(),
		})
	}
}

// registers is the model: one register for each id. A write raises the version by
// one; one whose answer did not come may be the last of all, and so never read.
var registers = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byID := map[string][]porcupine.Operation{}
		for _, op := range history {
			id := op.Input.(asked).id
			byID[id] = append(byID[id], op)
		}
		var parts [][]porcupine.Operation
		for _, part := range byID {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return register{} },
	Step: func(state, input, output any) (bool, any) {
		now, op, told := state.(register), input.(asked), output.(register)
		if op.read {
			return told == now, now
		}
		next := register{now.version + 1, op.text}
		return op.unknown || told.version == next.version, next
	},
}

func (l *chronicle) check(t *testing.T) {
	t.Helper()
	unknown := 0
	for _, op := range l.ops {
		if op.Input.(asked).unknown {
			unknown++
		}
	}
	t.Logf("%d batches acknowledged, %d operations, %d of them without an answer", l.acked, len(l.ops), unknown)
	if got := porcupine.CheckOperationsTimeout(registers, l.ops, time.Minute); got != porcupine.Ok {
		t.Errorf("the ledger is %s: no order of the writes explains what was told of them", got)
	}
}

// TestLedgerSeesLoss shows that the check above can fail: by a write that was lost
// after it was acknowledged, and by one that was done twice.
func TestLedgerSeesLoss(t *testing.T) {
	write := func(at int64, version int64) porcupine.Operation {
		return porcupine.Operation{Input: asked{id: "a", text: fmt.Sprint(at)}, Call: at, Output: register{version: version}, Return: at + 1}
	}
	read := func(at, version int64, text string) porcupine.Operation {
		return porcupine.Operation{Input: asked{id: "a", read: true}, Call: at, Output: register{version, text}, Return: at + 1}
	}
	for what, c := range map[string]struct {
		history []porcupine.Operation
		want    bool
	}{
		"good":    {[]porcupine.Operation{write(0, 1), write(10, 2), read(20, 2, "10")}, true},
		"lost":    {[]porcupine.Operation{write(0, 1), write(10, 2), read(20, 1, "0")}, false},
		"twice":   {[]porcupine.Operation{write(0, 1), write(10, 3), read(20, 3, "10")}, false},
		"old":     {[]porcupine.Operation{write(0, 1), write(10, 2), read(20, 2, "0")}, false},
		"doubled": {[]porcupine.Operation{write(0, 1), write(10, 1), read(20, 1, "10")}, false},
	} {
		if got := porcupine.CheckOperations(registers, c.history); got != c.want {
			t.Errorf("%s: the check gives %v, want %v", what, got, c.want)
		}
	}
}
