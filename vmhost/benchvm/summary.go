package main

import (
	"context"
	"fmt"
)

// summary is the last line: one figure for each thing that is promised.
type summary struct {
	RatioCExtism   float64 `json:"ratio_c_vs_extism"`
	RatioGoExtism  float64 `json:"ratio_go_vs_extism"`
	RatioCWazero   float64 `json:"ratio_c_vs_wazero"`
	RatioCWasmtime float64 `json:"ratio_c_vs_wasmtime"`

	CVM    float64 `json:"c_vm_us"`
	GoVM   float64 `json:"go_vm_us"`
	CCall  float64 `json:"c_call_us"`
	GoCall float64 `json:"go_call_us"`

	HTTPRate   float64 `json:"http_rps"`
	HTTPP99    float64 `json:"http_p99_ms"`
	HTTPErrors float64 `json:"http_error_rate"` // of both loops

	Cold       float64            `json:"cold_first_call_ms"`
	ColdGo     float64            `json:"cold_first_call_go_ms"`
	Spawn      float64            `json:"cell_spawn_ms"`
	Restore    float64            `json:"vm_restore_us"`
	HostCall   float64            `json:"host_call_p50_us"`
	Efficiency float64            `json:"cpu_efficiency"`
	IdleVM     float64            `json:"idle_vm_kb"`
	IdleCell   float64            `json:"idle_cell_mb"`
	IdleCellGo float64            `json:"idle_cell_go_mb"`
	Meter      map[string]float64 `json:"meter_overhead"`

	RatioGoWazero   float64 `json:"ratio_go_vs_wazero"`
	RatioGoWasmtime float64 `json:"ratio_go_vs_wasmtime"`
	OpenP99         float64 `json:"http_open_p99_ms"` // at 70 % of http_rps
	BareRate        float64 `json:"http_bare_rps"`
	IdleVMGuest     float64 `json:"idle_vm_guest_kb"` // of idle_vm_kb, what lies in guests' memory
	HostCallP99     float64 `json:"host_call_p99_us"`
	Samples         int     `json:"samples"` // calls that were compared
	Errors          int     `json:"errors"`  // of them
	HTTPSamples     int     `json:"http_samples"`
	Isolation       string  `json:"isolation"`
	Commit          string  `json:"commit"`
}

// summarise takes what it can from the figures and measures the rest.
func summarise(ctx context.Context, r *report, jobs map[string]job, e effort) (s summary, err error) {
	s.Isolation, s.Commit = r.Machine.Isolation, r.Machine.Commit
	if err := s.fromCalls(r.Calls); err != nil {
		return s, err
	}
	if err := s.fromHTTP(r.HTTP); err != nil {
		return s, err
	}
	return s, s.measure(ctx, jobs, e)
}

func (s *summary) fromCalls(rows []row) (err error) {
	for _, x := range []struct {
		to             *float64
		language, peer string
	}{
		{&s.RatioCExtism, langC, extismSDK},
		{&s.RatioGoExtism, langGo, extismSDK},
		{&s.RatioCWazero, langC, plainWazero},
		{&s.RatioGoWazero, langGo, plainWazero},
		{&s.RatioCWasmtime, langC, wasmtimeEpochs},
		{&s.RatioGoWasmtime, langGo, wasmtimeEpochs},
	} {
		if *x.to, err = ratio(rows, x.language, x.peer); err != nil {
			return err
		}
	}
	c, err := find(rows, langC, oursRestored)
	if err != nil {
		return err
	}
	g, err := find(rows, langGo, oursRestored)
	if err != nil {
		return err
	}
	s.CVM, s.GoVM, s.CCall, s.GoCall = c.Inner.P50, g.Inner.P50, c.Outer.P50, g.Outer.P50
	s.Restore = c.Restore.P50
	for _, r := range rows {
		s.Samples += r.Samples
		s.Errors += r.Errors
	}
	return nil
}

func (s *summary) fromHTTP(rows []webRow) error {
	closed, err := findWeb(rows, webRestored, "closed")
	if err != nil {
		return err
	}
	open, err := findWeb(rows, webRestored, "open")
	if err != nil {
		return err
	}
	bare, err := findWeb(rows, webBare, "closed")
	if err != nil {
		return err
	}
	s.HTTPRate, s.HTTPP99, s.OpenP99, s.BareRate = closed.Rate, closed.P99, open.P99, bare.Rate
	bad := closed.Errors + open.Errors + open.Late
	s.HTTPSamples = closed.Samples + open.Samples + bad
	s.HTTPErrors = float64(bad) / float64(max(s.HTTPSamples, 1))
	return nil
}

// measure does what the comparison does not show.
func (s *summary) measure(ctx context.Context, jobs map[string]job, e effort) error {
	executable := jobs[langC].Executable
	for _, x := range []struct {
		to *float64
		j  job
		n  int
	}{{&s.Cold, jobs[langC], e.cold}, {&s.ColdGo, jobs[langGo], e.coldGo}} {
		d, err := coldFirstCall(ctx, x.j, x.n)
		if err != nil {
			return fmt.Errorf("cold first call: %w", err)
		}
		*x.to = round(milliseconds(d))
	}
	spawn, err := cellSpawn(ctx, executable, e.spawns)
	if err != nil {
		return fmt.Errorf("start a cell: %w", err)
	}
	s.Spawn = round(milliseconds(spawn))
	calls, err := hostCall(ctx, executable, e.hostCalls)
	if err != nil {
		return err
	}
	s.HostCall, s.HostCallP99 = round(microseconds(quantile(calls, 0.5))), round(microseconds(quantile(calls, 0.99)))
	share, _, err := cpuEfficiency(ctx, executable, e.efficiency)
	if err != nil {
		return fmt.Errorf("processor efficiency: %w", err)
	}
	s.Efficiency = round(share)
	err = withCompany(ctx, jobs[langC], func() error { return s.measureIdle(ctx, jobs, e.idles) })
	if err != nil {
		return fmt.Errorf("idle memory: %w", err)
	}
	s.Meter = make(map[string]float64)
	for _, language := range languages {
		if s.Meter[language], err = meterOverhead(ctx, heavier(jobs[language]), e.rounds, e.meter); err != nil {
			return fmt.Errorf("plugin in %s: %w", language, err)
		}
	}
	return nil
}

// idleVMs is how many VMs rest together when what each keeps is measured: many,
// because what the worker itself keeps changes from one measurement to the next.
const idleVMs = 64

func (s *summary) measureIdle(ctx context.Context, jobs map[string]job, n int) error {
	var cells, vms, guests, goCells []float64
	for range n {
		m, err := idle(ctx, jobs[langC], idleVMs)
		if err != nil {
			return err
		}
		vms, guests = append(vms, float64(m.vm)), append(guests, float64(m.guest))
		if m, err = idle(ctx, jobs[langC], 1); err != nil {
			return err
		}
		cells = append(cells, float64(m.cell)/1024)
		if m, err = idle(ctx, jobs[langGo], 1); err != nil {
			return err
		}
		goCells = append(goCells, float64(m.cell)/1024)
	}
	s.IdleVM, s.IdleVMGuest = round(median(vms)), round(median(guests))
	s.IdleCell, s.IdleCellGo = round(median(cells)), round(median(goCells))
	return nil
}
