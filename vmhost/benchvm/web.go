package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/tars-project/tars/vmhost/benchvm/internal/load"
)

const (
	connections = 32  // of the closed loop
	openShare   = 0.7 // of the closed loop's rate that the open loop offers
	openConns   = 512 // what the open loop may use: enough for it not to wait for one
)

// webRow is what one operation of the server did under one kind of load.
type webRow struct {
	Name      string  `json:"name"`
	Loop      string  `json:"loop"` // "closed" or "open"
	Offered   float64 `json:"offered_per_second,omitempty"`
	Rate      float64 `json:"requests_per_second"`
	P50       float64 `json:"p50_ms"`
	P95       float64 `json:"p95_ms"`
	P99       float64 `json:"p99_ms"`
	P9999     float64 `json:"p99_99_ms"`
	Samples   int     `json:"samples"`
	Errors    int     `json:"errors"`
	Late      int     `json:"late,omitempty"` // due and not sent
	ErrorRate float64 `json:"error_rate"`
	First     string  `json:"first_error,omitempty"`
	RSS       float64 `json:"peak_rss_mb"` // of the server and of each of its cells, together, since their start
}

// String is the row as it is printed.
func (r webRow) String() string {
	return fmt.Sprintf("%-22s %-6s %8.0f/s  p50 %7.2f p95 %7.2f p99 %7.2f p99.99 %7.2f ms  rss %6.1f MB  n %d errors %d (%.6f) %s",
		r.Name, r.Loop, r.Rate, r.P50, r.P95, r.P99, r.P9999, r.RSS, r.Samples, r.Errors+r.Late, r.ErrorRate, r.First)
}

// web measures the shipped server: without a plugin, and calling one.
type web struct {
	lasts time.Duration // of a loop on the plugin; the others take a quarter
	log   io.Writer
}

// Names of the rows.
const (
	webBare     = "server alone"        // GET /livez: router, limits, log, metrics
	webKey      = "server, key checked" // an operation that ends at the key: no database but for that
	webRestored = "invoke, restored"
	webNew      = "invoke, new instance"
)

// run starts the server, makes the loads and returns the rows, and the isolation
// that the calls had.
func (w web) run(ctx context.Context, j job) (rows []webRow, grade string, err error) {
	s, err := startServer(ctx, j.Executable)
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	for name, fresh := range map[string]bool{"restored": false, "new": true} {
		if err := s.push(ctx, name, j, fresh); err != nil {
			return nil, "", err
		}
	}
	if grade, err = s.grade(ctx); err != nil {
		return nil, "", err
	}
	addr := strings.TrimPrefix(s.url, "http://")
	invoke := func(name string) load.Request {
		return load.Request{
			Addr: addr, Method: http.MethodPost, Path: "/v1/plugins/" + name + "/invoke", Token: s.client.Token,
			Body: fmt.Appendf(nil, `{"capability":%q,"input":%s}`, j.Capability, j.Input), Want: []byte(`{"index":0,"score":500}`), Status: http.StatusOK,
		}
	}
	for _, o := range []struct {
		name    string
		request load.Request
		lasts   time.Duration
		open    bool
	}{
		{webBare, load.Request{Addr: addr, Method: http.MethodGet, Path: "/livez", Status: http.StatusOK}, w.lasts / 4, false},
		{webKey, load.Request{Addr: addr, Method: http.MethodGet, Path: "/v1/admin/tenants/x", Token: s.client.Token, Status: http.StatusForbidden}, w.lasts / 4, false},
		{webNew, invoke("new"), w.lasts / 2, false},
		{webRestored, invoke("restored"), w.lasts, true},
	} {
		if _, err := load.Closed(ctx, o.request, connections, w.lasts/10); err != nil { // to warm up
			return rows, grade, err
		}
		r, err := load.Closed(ctx, o.request, connections, o.lasts)
		if err != nil {
			return rows, grade, err
		}
		row, err := w.row(s, o.name, 0, r)
		if err != nil {
			return rows, grade, err
		}
		rows = append(rows, row)
		if !o.open {
			continue
		}
		offered := openShare * r.Rate()
		if r, err = load.Open(ctx, o.request, openConns, offered, o.lasts); err != nil {
			return rows, grade, err
		}
		if row, err = w.row(s, o.name, offered, r); err != nil {
			return rows, grade, err
		}
		rows = append(rows, row)
	}
	return rows, grade, nil
}

// row is what a load gave; offered is the rate of an open loop, else 0.
func (w web) row(s *server, name string, offered float64, r load.Result) (webRow, error) {
	ms := func(q float64) float64 { return round(milliseconds(quantile(r.Latencies, q))) }
	row := webRow{
		Name: name, Loop: "closed", Offered: round(offered), Rate: round(r.Rate()), P50: ms(0.5), P95: ms(0.95), P99: ms(0.99), P9999: ms(0.9999),
		Samples: len(r.Latencies), Errors: r.Errors, Late: r.Late, ErrorRate: r.ErrorRate(),
	}
	if offered > 0 {
		row.Loop = "open"
	}
	if r.First != nil {
		row.First = r.First.Error()
	}
	rss, err := peakRSSOf(s.cmd.Process.Pid)
	row.RSS = round(float64(rss) / (1 << 20))
	fmt.Fprintln(w.log, row)
	return row, err
}

// grade asks what isolates calls, of a call's own receipt.
func (s *server) grade(ctx context.Context) (string, error) {
	var called struct {
		Receipt struct {
			Tier  string `json:"tier"`
			Grade string `json:"grade"`
		} `json:"receipt"`
	}
	body := map[string]any{"capability": capability, "input": json.RawMessage(document)}
	if _, err := s.client.Do(ctx, http.MethodPost, "/v1/plugins/restored/invoke", body, &called); err != nil {
		return "", fmt.Errorf("invoke: %w", err)
	}
	return called.Receipt.Tier + " (" + called.Receipt.Grade + ")", nil
}

// findWeb returns a row.
func findWeb(rows []webRow, name, loop string) (webRow, error) {
	for _, r := range rows {
		if r.Name == name && r.Loop == loop {
			return r, nil
		}
	}
	return webRow{}, fmt.Errorf("no figures of %s, %s loop", name, loop)
}
