package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/api/body"
	"github.com/tars-project/tars/cmd/tars/rig"
)

// TestEncodedBodies: what is sent is what the server's own decoder takes, and means
// the same in both codings.
func TestEncodedBodies(t *testing.T) {
	d := newDataset("x", 8, 10, clustered(100, 8))
	for _, code := range []coding{asNumbers, asBase64} {
		var batch body.RecordBatch
		if err := body.Decode(strings.NewReader(string(code.records(nil, d, 3, 7))), &batch); err != nil {
			t.Fatalf("%s: Decode(records) = %v, want nil", code, err)
		}
		if len(batch.Records) != 4 || batch.Records[0].ID != "3" || !slices.Equal(batch.Records[3].Vector, d.row(6)) ||
			batch.Records[1].Metadata["bucket"] != float64(d.bucket[4]) {
			t.Errorf("%s: records 3 to 6 became %+v", code, batch.Records)
		}
		var search body.SearchRequest
		if err := body.Decode(strings.NewReader(string(code.search(d, 5, 100, scope{below: 10}, false))), &search); err != nil {
			t.Fatalf("%s: Decode(search) = %v, want nil", code, err)
		}
		if !slices.Equal(search.Vector, d.query(5)) || search.Limit != topK || search.Ef != 100 || search.Exact || search.Filter.Field != "bucket" {
			t.Errorf("%s: search 5 became %+v", code, search)
		}
	}
}

// TestHTTPClient: requests arrive whole, in turn; an answer that is not right is an
// error, and the client goes on after it, and after one that breaks off.
func TestHTTPClient(t *testing.T) {
	var got []string
	answers := []func(w http.ResponseWriter){
		func(w http.ResponseWriter) {
			io.WriteString(w, `{"matches":[{"id":"7","score":1},{"id":"3","score":0.5}]}`)
		},
		func(w http.ResponseWriter) { io.WriteString(w, `{"matches":[{"id":"7","score":1}]}`) },
		func(w http.ResponseWriter) { w.WriteHeader(http.StatusTeapot) },
		func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		func(w http.ResponseWriter) { // in chunks
			io.WriteString(w, `{"matches":[{"id":"1","score":1},`)
			http.NewResponseController(w).Flush()
			io.WriteString(w, `{"id":"2","score":0.5}]}`)
		},
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got = append(got, r.Header.Get("Authorization")+" "+r.URL.Path+" "+string(b))
		answers[len(got)-1](w)
	}))
	defer s.Close()
	addr := strings.TrimPrefix(s.URL, "http://")
	c, err := dialRows(t.Context(), addr, []rig.Request{rig.NewRequest(addr, "/a", "t", []byte("1"), 2), rig.NewRequest(addr, "/b", "t", []byte("22"), 2)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if rows, err := c.Rows(0); err != nil || !slices.Equal(rows, []int32{7, 3}) {
		t.Errorf("Rows(0) = %v, %v, want 7 and 3", rows, err)
	}
	for n := 1; n < 4; n++ {
		if err := c.Ask(n); err == nil {
			t.Errorf("Ask(%d) = nil, want an error", n)
		}
	}
	if rows, err := c.Rows(4); err != nil || !slices.Equal(rows, []int32{1, 2}) {
		t.Errorf("Rows(4) = %v, %v, want 1 and 2", rows, err)
	}
	if want := []string{"Bearer t /a 1", "Bearer t /b 22", "Bearer t /a 1", "Bearer t /b 22", "Bearer t /a 1"}; !slices.Equal(got, want) {
		t.Errorf("the server got %q, want %q", got, want)
	}
}

// TestRounds: layers take turns, each round beginning with another, and the ratio
// is that of rounds.
func TestRounds(t *testing.T) {
	d := newDataset("x", 4, 10, clustered(40, 4))
	var order []string
	layers := make([]*layer, 3)
	for i, name := range []string{"a", "b", "c"} {
		layers[i] = &layer{name: name, data: d, clients: []int{2}, connect: func(context.Context) (searcher, error) {
			return &bruteClient{data: d}, nil
		}}
		connect := layers[i].connect
		layers[i].connect = func(ctx context.Context) (searcher, error) {
			order = append(order, name)
			return connect(ctx)
		}
	}
	m := rounds{n: 3, lasts: time.Millisecond, clocks: rig.Clocks{Server: os.Getpid(), Postgres: os.Getpid()}, cores: 1, log: io.Discard}
	rows, err := m.run(t.Context(), layers)
	if err != nil || len(rows) != 3 {
		t.Fatalf("run = %d rows, %v, want 3", len(rows), err)
	}
	for _, r := range rows {
		if len(r.Rounds) != 3 || r.Samples == 0 || r.Errors != 0 {
			t.Errorf("layer %s has %d rounds, %d samples, %d errors (%s), want 3 rounds of right answers", r.Layer, len(r.Rounds), r.Samples, r.Errors, r.First)
		}
	}
	if want := []string{"a", "a", "b", "b", "c", "c"}; !slices.Equal(order, want) {
		t.Errorf("clients were opened for %v, want %v: once, and kept", order, want)
	}
	if got := ratio(row{Rounds: []float64{1, 30, 2}}, row{Rounds: []float64{2, 3, 4}}); got != 0.5 {
		t.Errorf("ratio = %v, want 0.5, the median of 0.5, 10 and 0.5", got)
	}
}

// TestReadPgbench reads what pgbench says and logs.
func TestReadPgbench(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"log.1": "0 1 900 0 1 2\n1 1 1100 0 1 3\n", "log.1.1": "0 1 500 0 1 2\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, err := readPgbench(dir, "number of failed transactions: 2 (0.1%)\ntps = 1500.000000 (without initial connection time)\n")
	want := []time.Duration{500 * time.Microsecond, 900 * time.Microsecond, 1100 * time.Microsecond}
	if err != nil || !slices.Equal(r.Latencies, want) || r.Errors != 2 || r.Rate() < 1499 || r.Rate() > 1501 {
		t.Errorf("readPgbench = %+v (%.1f/s), %v, want %v, 2 errors, 1500/s", r, r.Rate(), err, want)
	}
	if _, err := readPgbench(t.TempDir(), "nothing"); err == nil {
		t.Error("readPgbench of nothing = nil, want an error")
	}
}

// TestSummaryHasTheKeys that are read elsewhere.
func TestSummaryHasTheKeys(t *testing.T) {
	b, err := json.Marshal(summary{})
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]any
	if err := json.Unmarshal(b, &keys); err != nil {
		t.Fatal(err)
	}
	for _, key := range strings.Fields("recall_at_10 short_rate qps_rest qps_pgx qps_pgbench ratio_rest_vs_pgx p95_ms p99_ms filtered_1pct_recall filtered_1pct_ratio ingest_rows_per_s errors") {
		if _, ok := keys[key]; !ok {
			t.Errorf("the last line has no %s", key)
		}
	}
}
