package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tars-project/tars/cmd/tars/rest"
	"github.com/tars-project/tars/knowledge/ledger"
	"github.com/tars-project/tars/migrations/pgtest"
	"github.com/tars-project/tars/vmhost/vmhosttest"
)

// oneCall is what a test looks at of a call.
type oneCall struct {
	ID, Plugin, Outcome, Tier, Grade string
	Fuel                             int64
	Input                            int64 `json:"input_bytes"`
	Output                           int64 `json:"output_bytes"`
}

// invokeEcho calls the plugin echo and returns the receipt.
func invokeEcho(t *testing.T, c *rest.Client) oneCall {
	t.Helper()
	var out struct{ Receipt oneCall }
	do(t, c, http.MethodPost, "/v1/plugins/echo/invoke", map[string]any{"capability": "rank", "input": map[string]any{"a": 1}}, &out)
	return out.Receipt
}

// usedBy are the sums of a tenant, by plugin.
func usedBy(t *testing.T, c *rest.Client) map[string]usageRow {
	t.Helper()
	var report struct{ Rows []usageRow }
	do(t, c, http.MethodGet, "/v1/usage?group_by=plugin", nil, &report)
	sums := map[string]usageRow{}
	for _, r := range report.Rows {
		sums[r.Plugin] = r
	}
	return sums
}

// TestUsage: what real guests are called for is found by the id of its receipt, in the
// list of its plugin's calls, and in the usage of the tenant; and what a stopped server
// did is all there.
func TestUsage(t *testing.T) {
	t.Parallel()
	d := pgtest.DB(t)
	s := start(t, d)
	client := s.tenant(t, "acme")
	upload(t, client, "echo", vmhosttest.Guest(t, "echo"))
	manifest := []byte(`{"abi":1,"name":"loop","capabilities":["rank"],"grants":["log"],"limits":{"wall_ms":2000}}`)
	if _, err := client.Upload(t.Context(), "/v1/plugins/loop/versions", manifest, vmhosttest.Guest(t, "loop"), nil); err != nil {
		t.Fatalf("upload: %v", err)
	}
	do(t, client, http.MethodPut, "/v1/collections/c", map[string]any{"dimension": 3}, nil)
	do(t, client, http.MethodPost, "/v1/collections/c/records", records(map[string]any{"id": "1", "vector": []float32{1, 0, 0}}, map[string]any{"id": "2", "vector": []float32{1, 1, 0}}), nil)

	receipt := invokeEcho(t, client)
	_, err := client.Do(t.Context(), http.MethodPost, "/v1/plugins/loop/invoke", map[string]any{"capability": "rank", "version": "1", "input": map[string]any{}}, nil)
	wantProblem(t, err, 422, "plugin-failed", "deadline")
	do(t, client, http.MethodPost, "/v1/collections/c/search", map[string]any{"vector": []float32{1, 0, 0}, "limit": 1}, nil)
	var answer struct{ Receipts []oneCall }
	do(t, client, http.MethodPost, "/v1/query", map[string]any{
		"text": "what", "legs": []any{map[string]any{"collection": "c", "vector": []float32{1, 0, 0}}},
		"plugins": []any{map[string]any{"name": "echo", "capability": "rank"}}, // whose answer is no ranking
	}, &answer)
	if len(answer.Receipts) != 1 {
		t.Fatalf("the query has the receipts %+v, want echo's", answer.Receipts)
	}

	got := eventually(t, client, receipt.ID)
	if receipt.Fuel == 0 || got.Plugin != "echo" || got.Outcome != "ok" || got.Fuel != receipt.Fuel || got.Grade != receipt.Grade || got.Tier != "process" || got.Input != 7 || got.Output != 7 {
		t.Errorf("the call of receipt %+v is %+v, want the same, with outcome ok and 7 bytes each way", receipt, got)
	}
	if got := eventually(t, client, answer.Receipts[0].ID); got.Outcome != "output" {
		t.Errorf("the query's call is %+v, want its outcome to be output", got)
	}
	var list struct{ Calls []oneCall }
	do(t, client, http.MethodGet, "/v1/plugins/echo/calls", nil, &list)
	if len(list.Calls) != 2 || list.Calls[0].ID != answer.Receipts[0].ID || list.Calls[1] != got {
		t.Errorf("calls of echo = %+v, want the query's and then the direct one", list.Calls)
	}
	do(t, client, http.MethodGet, "/v1/plugins/loop/calls?outcome=deadline", nil, &list)
	if len(list.Calls) != 1 {
		t.Errorf("calls of loop past their deadline = %+v, want one", list.Calls)
	}
	wantUse := func(what string, c *rest.Client, searches, calls int64) {
		t.Helper()
		sums := usedBy(t, c)
		reads, echo, loop := sums[""], sums["echo"], sums["loop"]
		if reads.Queries != 1 || reads.Searches != searches || reads.Rows != 2+searches || echo.Calls != calls || echo.Failed != 1 || echo.Fuel < calls*receipt.Fuel/2 || loop.Calls != 1 || loop.Failed != 1 || loop.VM < 50_000 || loop.Memory <= 0 {
			t.Errorf("usage %s = %+v, want a query, %d searches, %d calls of echo and one of loop", what, sums, searches, calls)
		}
	}
	wantUse("of the tenant", client, 1, 2)
	if sums := usedBy(t, s.tenant(t, "other")); len(sums) != 0 {
		t.Errorf("usage of another tenant = %+v, want none", sums)
	}

	var out strings.Builder
	args := []string{"usage", "--server", s.url, "--key", client.Token, "--by", "day,plugin"}
	if err := run(t.Context(), args, func(string) string { return "" }, strings.NewReader(""), &out, &out); err != nil {
		t.Fatalf("tars usage = %v", err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 5 || !strings.HasPrefix(lines[1], "day ") || strings.Join(strings.Fields(lines[2])[1:5], " ") != "- 1 1 3" || strings.Join(strings.Fields(lines[3])[1:8], " ") != "echo 0 0 0 0 0 2" {
		t.Errorf("tars usage printed\n%s\nwant a table of the three", out.String())
	}

	for range 5 {
		invokeEcho(t, client)
	}
	do(t, client, http.MethodPost, "/v1/collections/c/search", map[string]any{"vector": []float32{1, 0, 0}, "limit": 1}, nil)
	if err := s.stop(t); err != nil {
		t.Fatalf("stop = %v", err)
	}
	s = start(t, d)
	wantUse("after a stop", rest.New(s.url, client.Token), 2, 7)
}

// eventually waits for a call to be in the ledger.
func eventually(t *testing.T, c *rest.Client, id string) (call oneCall) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		_, err := c.Do(t.Context(), http.MethodGet, "/v1/calls/"+id, nil, &call)
		if err == nil {
			return call
		}
		if !rest.IsStatus(err, http.StatusNotFound) || time.Now().After(deadline) {
			t.Fatalf("call %q: %v", id, err)
		}
	}
}

// TestUsageSurvivesKill: kill -9 in the midst of calls loses nothing that was answered
// longer ago than the pause between two writes and a second for the write itself; nothing
// is counted that was not asked for, and the calls are those of the sums.
func TestUsageSurvivesKill(t *testing.T) {
	t.Parallel()
	const kills, allowed = 4, ledger.FlushPause + time.Second
	d := pgtest.DB(t)
	s := start(t, d)
	client := s.tenant(t, "acme")
	upload(t, client, "echo", vmhosttest.Guest(t, "echo"))
	var (
		mu       sync.Mutex
		sent     int64
		answered []time.Time
		safe     int64 // answered long enough before the kill that followed
	)
	for round := range kills {
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for {
					mu.Lock()
					sent++
					mu.Unlock()
					_, err := client.Do(t.Context(), http.MethodPost, "/v1/plugins/echo/invoke", map[string]any{"capability": "rank", "input": 1}, nil)
					if err != nil {
						return // killed
					}
					mu.Lock()
					answered = append(answered, time.Now())
					mu.Unlock()
					time.Sleep(5 * time.Millisecond) // so few that none are written before their time
				}
			})
		}
		time.Sleep(allowed + time.Second + rand.N(1200*time.Millisecond))
		killed := time.Now()
		s.kill()
		wg.Wait()
		recent := int64(0)
		for _, at := range answered {
			if at.Before(killed.Add(-allowed)) {
				safe++
			} else {
				recent++
			}
		}
		answered = nil
		s = start(t, d)
		client = rest.New(s.url, client.Token)
		used := usedBy(t, client)["echo"]
		if used.Calls < safe || used.Calls > sent {
			t.Errorf("after kill %d: %d calls are counted, want at least the %d that were answered %s before, and at most the %d that were sent", round+1, used.Calls, safe, allowed, sent)
		}
		var calls, fuel int64
		if err := d.OwnerPool(t).QueryRow(t.Context(), "SELECT count(*), sum(fuel)::bigint FROM tars.plugin_calls WHERE plugin = 'echo' AND outcome = 'ok'").Scan(&calls, &fuel); err != nil {
			t.Fatal(err)
		}
		if calls != used.Calls-used.Failed || fuel != used.Fuel {
			t.Errorf("after kill %d: %d calls of %d fuel are kept, and %d of %d counted", round+1, calls, fuel, used.Calls, used.Fuel)
		}
		t.Logf("kill %d: %d answered long before, %d just before, %d counted in all", round+1, safe, recent, used.Calls)
		safe = used.Calls // what has been counted stays so
	}
	if safe < 50 {
		t.Fatalf("%d calls were counted, want enough to mean something", safe)
	}
}

// TestSweepOfCalls: a server removes calls that are older than it keeps them, and leaves
// their sums.
func TestSweepOfCalls(t *testing.T) {
	t.Parallel()
	d := pgtest.DB(t)
	s := start(t, d)
	client := s.tenant(t, "acme")
	upload(t, client, "echo", vmhosttest.Guest(t, "echo"))
	old, fresh := invokeEcho(t, client), invokeEcho(t, client)
	if err := s.stop(t); err != nil {
		t.Fatalf("stop = %v", err)
	}
	if _, err := d.OwnerPool(t).Exec(t.Context(), "UPDATE tars.plugin_calls SET started_at = started_at - interval '2 h' WHERE call_id = $1", old.ID); err != nil {
		t.Fatal(err)
	}
	s = start(t, d, "TARS_CALLS_RETENTION=1h")
	client = rest.New(s.url, client.Token)
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		_, err := client.Do(t.Context(), http.MethodGet, "/v1/calls/"+old.ID, nil, nil)
		var p *rest.Problem
		if errors.As(err, &p) && p.Status == http.StatusNotFound {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the old call after %s: %v, want it gone", patience, err)
		}
	}
	if got := eventually(t, client, fresh.ID); got.Plugin != "echo" {
		t.Errorf("the fresh call = %+v, want it", got)
	}
	if used := usedBy(t, client)["echo"]; used.Calls != 2 {
		t.Errorf("usage = %s, want 2 calls", fmt.Sprint(used))
	}
}
