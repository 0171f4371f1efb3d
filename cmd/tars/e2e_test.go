package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tars-project/tars/cmd/tars/rest"
	"github.com/tars-project/tars/migrations/pgtest"
	"github.com/tars-project/tars/vmhost/vmhosttest"
)

// TestAcknowledgedRecordsSurviveKill: what a server answered 200 to is there after
// kill -9 in the middle of an ingest.
func TestAcknowledgedRecordsSurviveKill(t *testing.T) {
	t.Parallel()
	d := pgtest.DB(t)
	s := start(t, d)
	client := s.tenant(t, "ledger")
	do(t, client, http.MethodPut, "/v1/collections/c", map[string]any{"dimension": 3}, nil)
	var ledger []string
	for round := range 5 {
		ledger = append(ledger, ingestUntilKilled(t, s, client, round)...)
		s = start(t, d)
		client = rest.New(s.url, client.Token)
	}
	if len(ledger) < 100 {
		t.Fatalf("%d records were acknowledged, want enough to mean something", len(ledger))
	}
	lost := 0
	for _, id := range ledger {
		if _, err := client.Do(t.Context(), http.MethodGet, "/v1/collections/c/records/"+id, nil, nil); err != nil {
			t.Errorf("acknowledged record %s: %v", id, err)
			lost++
		}
	}
	t.Logf("%d records acknowledged over 5 kills, %d lost", len(ledger), lost)
}

// ingestUntilKilled writes batches from four writers, kills the server after some,
// and returns the ids that were acknowledged.
func ingestUntilKilled(t *testing.T, s *running, client *rest.Client, round int) []string {
	t.Helper()
	var (
		mu    sync.Mutex
		acked []string
		wg    sync.WaitGroup
	)
	enough := make(chan struct{})
	var once sync.Once
	for writer := range 4 {
		wg.Go(func() {
			for batch := 0; ; batch++ {
				var ids []string
				var records []any
				for i := range 10 {
					id := fmt.Sprintf("%d-%d-%d-%d", round, writer, batch, i)
					ids = append(ids, id)
					records = append(records, map[string]any{"id": id, "vector": []float32{1, float32(i), float32(batch)}})
				}
				if _, err := client.Do(t.Context(), http.MethodPost, "/v1/collections/c/records", map[string]any{"records": records}, nil); err != nil {
					return // killed
				}
				mu.Lock()
				acked = append(acked, ids...)
				if len(acked) >= 200 {
					once.Do(func() { close(enough) })
				}
				mu.Unlock()
			}
		})
	}
	select {
	case <-enough:
	case <-time.After(patience):
		t.Errorf("round %d: too few records were acknowledged", round)
	}
	s.kill()
	wg.Wait()
	return acked
}

// TestKilledCell: kill -9 of a cell during a call gives a typed error, and the next
// call works.
func TestKilledCell(t *testing.T) {
	t.Parallel()
	s := start(t, pgtest.DB(t))
	client := s.tenant(t, "acme")
	manifest := []byte(`{"abi":1,"name":"loop","capabilities":["rank"],"grants":["log"],"limits":{"wall_ms":20000}}`)
	if _, err := client.Upload(t.Context(), "/v1/plugins/loop/versions", manifest, vmhosttest.Guest(t, "loop"), nil); err != nil {
		t.Fatalf("upload: %v", err)
	}
	do(t, client, http.MethodPut, "/v1/plugins/loop/aliases/live", map[string]any{"version": 1}, nil)

	failed := make(chan error, 1)
	go func() {
		_, err := client.Do(t.Context(), http.MethodPost, "/v1/plugins/loop/invoke", map[string]any{"capability": "rank", "input": map[string]any{}}, nil)
		failed <- err
	}()
	cell := busyCell(t, s.cmd.Process.Pid)
	if err := syscall.Kill(cell, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-failed:
		var p *rest.Problem
		if !errors.As(err, &p) || p.Status != http.StatusServiceUnavailable || p.Type != "/problems/plugin-crashed" {
			t.Errorf("call whose cell was killed = %v, want problem plugin-crashed, status 503", err)
		}
	case <-time.After(patience):
		t.Fatal("the call whose cell was killed does not end")
	}
	upload(t, client, "echo", vmhosttest.Guest(t, "echo"))
	var out struct{ Output map[string]any }
	do(t, client, http.MethodPost, "/v1/plugins/echo/invoke", map[string]any{"capability": "rank", "input": map[string]any{"a": 1}}, &out)
	if out.Output["a"] != 1.0 {
		t.Errorf("invoke of echo after the kill = %v, want its input back", out.Output)
	}
	// The plugin whose cell was killed gets another: bad-config is its answer to
	// an input that is none, and comes from a guest that runs.
	_, err := client.Do(t.Context(), http.MethodPost, "/v1/plugins/loop/invoke", map[string]any{"capability": "rank", "input": 1}, nil)
	wantProblem(t, err, 422, "plugin-failed", "error")
}

// TestScaledToZero: a plugin whose cell has ended for want of calls answers, and
// the time that its new cell takes to start and compile is not counted as its own.
func TestScaledToZero(t *testing.T) {
	t.Parallel()
	s := start(t, pgtest.DB(t), "TARS_PLUGIN_IDLE=1s", "TARS_PLUGIN_BLANKS=0")
	client := s.tenant(t, "acme")
	manifest := []byte(`{"abi":1,"name":"echo","capabilities":["rank"],"grants":["log"],"limits":{"wall_ms":200}}`)
	if _, err := client.Upload(t.Context(), "/v1/plugins/echo/versions", manifest, vmhosttest.Guest(t, "echo"), nil); err != nil {
		t.Fatalf("upload: %v", err)
	}
	if err := gone(descendants(s.cmd.Process.Pid)); err != nil {
		t.Fatalf("idle cells: %v", err)
	}
	var out struct {
		Output  any
		Receipt struct {
			Queue int64 `json:"queue_us"`
			VM    int64 `json:"vm_us"`
		}
	}
	do(t, client, http.MethodPost, "/v1/plugins/echo/invoke", map[string]any{"capability": "rank", "version": "1", "input": "hello"}, &out)
	if out.Output != "hello" || out.Receipt.Queue < out.Receipt.VM {
		t.Errorf("invoke with no cell = %+v, want the input back after a wait longer than the call", out)
	}
}

// busyCell waits for a process below pid that has used processor time for a while,
// and returns its number.
func busyCell(t *testing.T, pid int) int {
	t.Helper()
	before := map[int]int{}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		for _, p := range descendants(pid) {
			ticks := cpuTicks(p.pid)
			if first, ok := before[p.pid]; !ok {
				before[p.pid] = ticks
			} else if ticks-first >= 10 { // 100 ms beyond what compiling took
				return p.pid
			}
		}
	}
	t.Fatal("no cell is busy")
	return 0
}

// cpuTicks is the time that a process used, in clock ticks; 0 when it has ended.
func cpuTicks(pid int) int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	var user, system int
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	_, _ = fmt.Sscan(fields[11]+" "+fields[12], &user, &system)
	return user + system
}

// TestRefusals: what hostile or careless callers send gets the right problem and
// changes nothing.
func TestRefusals(t *testing.T) {
	t.Parallel()
	s := start(t, pgtest.DB(t))
	client, other := s.tenant(t, "acme"), s.tenant(t, "rival")
	do(t, client, http.MethodPut, "/v1/collections/c", map[string]any{"dimension": 3}, nil)
	do(t, client, http.MethodPost, "/v1/collections/c/records", records(map[string]any{"id": "1", "vector": []float32{1, 0, 0}}), nil)
	upload(t, client, "loop", vmhosttest.Guest(t, "loop"))
	upload(t, client, "hog", vmhosttest.Guest(t, "hog"))
	before := snapshot(t, client)

	invoke := func(name string) call {
		return call{client, http.MethodPost, "/v1/plugins/" + name + "/invoke", map[string]any{"capability": "rank", "input": map[string]any{}}}
	}
	for name, c := range map[string]struct {
		call   call
		status int
		kind   string
		detail string
	}{
		"wrong key":                {call{rest.New(s.url, client.Token[:len(client.Token)-1]+"x"), http.MethodGet, "/v1/collections", nil}, 401, "unauthenticated", ""},
		"no key":                   {call{rest.New(s.url, ""), http.MethodGet, "/v1/collections", nil}, 401, "unauthenticated", ""},
		"tenant's key as operator": {call{client, http.MethodGet, "/v1/admin/tenants", nil}, 403, "forbidden", ""},
		"another's collection":     {call{other, http.MethodGet, "/v1/collections/c", nil}, 404, "not-found", ""},
		"another's record":         {call{other, http.MethodGet, "/v1/collections/c/records/1", nil}, 404, "not-found", ""},
		"another's search":         {call{other, http.MethodPost, "/v1/collections/c/search", map[string]any{"vector": []float32{1, 0, 0}}}, 404, "not-found", ""},
		"delete another's":         {call{other, http.MethodDelete, "/v1/collections/c", nil}, 404, "not-found", ""},
		"write to another's":       {call{other, http.MethodPost, "/v1/collections/c/records", records(map[string]any{"id": "1", "vector": []float32{0, 1, 0}})}, 404, "not-found", ""},
		"another's plugin":         {call{other, http.MethodPost, "/v1/plugins/loop/invoke", map[string]any{"capability": "rank", "input": 1}}, 404, "not-found", ""},
		"vector too short":         {call{client, http.MethodPost, "/v1/collections/c/records", records(map[string]any{"id": "2", "vector": []float32{1, 0}})}, 400, "invalid", "records[0].vector"},
		"vector of zeros":          {call{client, http.MethodPost, "/v1/collections/c/records", records(map[string]any{"id": "2", "vector": []float32{0, 0, 0}})}, 400, "invalid", "records[0].vector"},
		"vector beyond float32":    {call{client, http.MethodPost, "/v1/collections/c/records", records(map[string]any{"id": "2", "vector": []float64{1, 1e39, 0}})}, 400, "invalid", "records[0].vector[1]"},
		"one bad among good": {call{client, http.MethodPost, "/v1/collections/c/records", records(
			map[string]any{"id": "2", "vector": []float32{1, 0, 0}}, map[string]any{"id": "3", "vector": []any{1, nil, 0}})}, 400, "invalid", "records[1].vector[1]"},
		"endless loop": {invoke("loop"), 422, "plugin-failed", "deadline"},
		"memory hog":   {invoke("hog"), 422, "plugin-failed", "memory"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.call.client.Do(t.Context(), c.call.method, c.call.path, c.call.body, nil)
			wantProblem(t, err, c.status, c.kind, c.detail)
		})
	}
	t.Run("module with false counts", func(t *testing.T) {
		// A type section that claims 2^32-1 types.
		module := []byte("\x00asm\x01\x00\x00\x00\x01\x05\xff\xff\xff\xff\x0f")
		manifest := []byte(`{"abi":1,"name":"liar","capabilities":["rank"]}`)
		_, err := client.Upload(t.Context(), "/v1/plugins/liar/versions", manifest, module, nil)
		wantProblem(t, err, 422, "module-refused", "type section")
	})
	if after := snapshot(t, client); after != before {
		t.Errorf("after the refusals the tenant has\n%s\nwant as before\n%s", after, before)
	}
}

type call struct {
	client       *rest.Client
	method, path string
	body         any
}

func records(all ...any) map[string]any { return map[string]any{"records": all} }

// wantProblem checks a problem's status, kind, and a word of what it says.
func wantProblem(t *testing.T, err error, status int, kind, detail string) {
	t.Helper()
	var p *rest.Problem
	if !errors.As(err, &p) || p.Status != status || p.Type != "/problems/"+kind || !strings.Contains(p.Error(), detail) || p.RequestID == "" {
		t.Errorf("got %v, want problem %s, status %d, that says %q", err, kind, status, detail)
	}
}

// snapshot is all that a tenant has, as text.
func snapshot(t *testing.T, c *rest.Client) string {
	t.Helper()
	var all []any
	for _, path := range []string{"/v1/collections", "/v1/collections/c/records/1", "/v1/plugins", "/v1/plugins/loop/versions"} {
		var out map[string]any
		do(t, c, http.MethodGet, path, nil, &out)
		all = append(all, out)
	}
	return fmt.Sprint(all...)
}

// TestGracefulStop: a request under way at SIGTERM is answered, the server ends
// with code 0 and leaves no cell.
func TestGracefulStop(t *testing.T) {
	t.Parallel()
	s := start(t, pgtest.DB(t))
	client := s.tenant(t, "acme")
	manifest := []byte(`{"abi":1,"name":"loop","capabilities":["rank"],"grants":["log"],"limits":{"wall_ms":1000}}`)
	if _, err := client.Upload(t.Context(), "/v1/plugins/loop/versions", manifest, vmhosttest.Guest(t, "loop"), nil); err != nil {
		t.Fatalf("upload: %v", err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := client.Do(t.Context(), http.MethodPost, "/v1/plugins/loop/invoke", map[string]any{"capability": "rank", "version": "1", "input": map[string]any{}}, nil)
		answered <- err
	}()
	busyCell(t, s.cmd.Process.Pid)
	children := descendants(s.cmd.Process.Pid)
	if err := s.stop(t); err != nil {
		t.Errorf("the server ended with %v, want code 0", err)
	}
	wantProblem(t, <-answered, 422, "plugin-failed", "deadline")
	if err := gone(children); err != nil {
		t.Error(err)
	}
}

// TestServeRefusesStrongRoles: a server whose role could pass row-level security
// does not start.
func TestServeRefusesStrongRoles(t *testing.T) {
	t.Parallel()
	d := pgtest.DB(t)
	strong := *d
	strong.AppURL = d.OwnerURL
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "serve")
	cmd.Env = serverEnv(&strong)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err == nil || !strings.Contains(stderr.String(), "superuser") {
		t.Errorf("serve as a superuser = %v, %q; want an error that says so", err, stderr.String())
	}
}
