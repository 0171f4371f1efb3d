package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"time"

	"github.com/tars-project/tars/cmd/tars/rig"
)

// openClients are what the open loop may use: enough for it not to wait for one.
const openClients = 64

// openShare is the part of the closed loop's rate that the open loop offers.
const openShare = 0.7

// measure does all with one dataset.
func (b bench) measure(ctx context.Context, d *dataset, e effort, r *report, log io.Writer) error {
	scopes := []scope{everything}
	for _, below := range selectivities {
		scopes = append(scopes, scope{below: below})
	}
	start := time.Now()
	right := bruteForce(d, scopes...)
	fmt.Fprintf(log, "%-9s %d rows x %d, %d queries; what is right was found in %.1f s\n", d.name, d.len(), d.dim, d.count(), time.Since(start).Seconds())
	if err := b.ingestAll(ctx, d, e, r, log); err != nil {
		return err
	}
	t := table{d, "bench." + d.name}
	l, err := t.load(ctx, b.db.super, e.live)
	if err != nil {
		return fmt.Errorf("table: %w", err)
	}
	r.Loaded = append(r.Loaded, l)
	fmt.Fprintf(log, "%-9s COPY %.0f rows/s, with a live index %.0f rows/s; index built in %.1f s, in half precision %.1f s; %d MB, indexes %d MB\n",
		d.name, l.Copy, l.CopyLive, l.Build, l.BuildHalf, l.TableBytes>>20, l.IndexesBytes>>20)
	clients := twoSizes
	if d.name == datasetWords {
		clients = allClients
	}
	layers, err := b.layers(ctx, d, t, right, clients)
	if err != nil {
		return err
	}
	if d.name == datasetWords {
		tenants, rate, err := b.tenantsLayer(ctx, d, min(e.tenantRows, d.len()/2))
		if err != nil {
			return err
		}
		fmt.Fprintf(log, "%-9s %d tenants: %.0f rows/s one after the other\n", d.name, manyTenants, rate)
		layers = append(layers, tenants)
	}
	return b.measureLayers(ctx, d, e, layers, right[everything], r, log)
}

// ingestAll writes the dataset over REST: without an index in both codings, and
// into the collection that is searched.
func (b bench) ingestAll(ctx context.Context, d *dataset, e effort, r *report, log io.Writer) error {
	if d.name == datasetWords {
		for _, code := range []coding{asNumbers, asBase64} {
			i, err := ingest(ctx, b, "plain", d, code, indexNone, e.batch, log)
			if err != nil {
				return err
			}
			r.Ingest = append(r.Ingest, i)
			if _, err := b.client.Do(ctx, http.MethodDelete, "/v1/collections/plain", nil, nil); err != nil {
				return err
			}
		}
	}
	i, err := ingest(ctx, b, d.name, d, asBase64, indexHNSW, e.batch, log)
	r.Ingest = append(r.Ingest, i)
	return err
}

// measureLayers looks at the answers, and then makes the loads.
func (b bench) measureLayers(ctx context.Context, d *dataset, e effort, layers []*layer, right [][]neighbour, r *report, log io.Writer) error {
	for _, l := range layers {
		most := e.queries
		if l.slow {
			most = e.slow
		}
		if err := l.assess(ctx, most); err != nil {
			return err
		}
	}
	m := rounds{n: e.rounds, lasts: e.lasts, clocks: b.clocks(), cores: runtime.NumCPU(), log: log}
	rows, err := m.run(ctx, layers)
	if err != nil {
		return err
	}
	r.Rows = append(r.Rows, rows...)
	closed, err := find(rows, d.name, layerREST, "closed", headline)
	if err != nil {
		return err
	}
	for _, l := range layers {
		if l.name != layerREST {
			continue
		}
		found, err := m.openLoop(ctx, l, openClients, openShare*closed.Rate, e.open)
		if err != nil {
			return err
		}
		r.Rows = append(r.Rows, found)
	}
	if err := b.resident(r); err != nil {
		return err
	}
	for _, l := range layers {
		if err := l.shut(); err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
	}
	found, err := measurePeers(ctx, d, right, e.slow, m, log)
	r.Peers = append(r.Peers, found...)
	return err
}

// resident reads what server and database have in memory.
func (b bench) resident(r *report) error {
	server, err := rig.ResidentOf(b.server.cmd.Process.Pid)
	if err != nil {
		return err
	}
	postgres, err := rig.ResidentOf(b.db.pid)
	r.ServerMB, r.PostgresMB = rig.Round(float64(server)/(1<<20)), rig.Round(float64(postgres)/(1<<20))
	return err
}
