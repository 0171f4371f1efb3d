package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tars-project/tars/cmd/tars/rest"
	"github.com/tars-project/tars/cmd/tars/rig"
)

// ingested says what writing rows over REST cost.
type ingested struct {
	Dataset    string  `json:"dataset"`
	Index      string  `json:"index"`  // of the collection
	Coding     coding  `json:"coding"` // of the vectors
	Rows       int     `json:"rows"`
	Batch      int     `json:"batch"`
	Clients    int     `json:"clients"`
	Rate       float64 `json:"rows_per_second"` // acknowledged
	Ready      float64 `json:"ready_seconds"`   // from the first row to an index over all of them
	ClientCPU  float64 `json:"client_cpu_seconds"`
	ServerCPU  float64 `json:"server_cpu_seconds"`
	DBCPU      float64 `json:"postgres_cpu_seconds"`
	Errors     int     `json:"errors"`      // batches
	BytesTable int64   `json:"table_bytes"` // of the collection's own place; 0 in a shared one
	BytesIndex int64   `json:"index_bytes"` // the key's too
	First      string  `json:"first_error,omitempty"`
}

// String is the line that is printed.
func (i ingested) String() string {
	return fmt.Sprintf("%-9s ingest over REST, %s, index %s, batches of %d, %d clients: %.0f rows/s, ready after %.1f s; cpu s: client %.1f server %.1f postgres %.1f; errors %d %s",
		i.Dataset, i.Coding, i.Index, i.Batch, i.Clients, i.Rate, i.Ready, i.ClientCPU, i.ServerCPU, i.DBCPU, i.Errors, i.First)
}

// writers are how many connections write at once.
const writers = 4

// write puts rows from the first up to but without the second into a collection,
// over several connections, and returns how many batches failed.
func write(ctx context.Context, c *rest.Client, addr, collection string, d *dataset, code coding, from, to, batch, clients int) (failed int, first error) {
	var next, bad atomic.Int64
	errs := make([]error, clients)
	var group sync.WaitGroup
	for i := range clients {
		group.Go(func() {
			conn, err := rig.DialHTTP(ctx, addr, nil)
			if err != nil {
				errs[i] = err
				bad.Add(1)
				return
			}
			var body []byte
			for ctx.Err() == nil {
				start := from + int(next.Add(1)-1)*batch
				if start >= to {
					break
				}
				body = code.records(body, d, start, min(start+batch, to))
				r := rig.NewRequest(addr, "/v1/collections/"+collection+"/records", c.Token, body, 0)
				if err := conn.Send(r); err != nil {
					bad.Add(1)
					errs[i] = errors.Join(errs[i], err)
				}
			}
			errs[i] = errors.Join(errs[i], conn.Close())
		})
	}
	group.Wait()
	return int(bad.Load()), errors.Join(append(errs, ctx.Err())...)
}

// ingest measures writing all rows of a dataset into a new collection.
func ingest(ctx context.Context, b bench, collection string, d *dataset, code coding, index string, batch int, log io.Writer) (ingested, error) {
	s, db, c := b.server, b.db, b.client
	i := ingested{Dataset: d.name, Index: index, Coding: code, Rows: d.len(), Batch: batch, Clients: writers}
	if err := makeCollection(ctx, c, collection, d, index); err != nil {
		return i, err
	}
	before, err := b.clocks().Start()
	if err != nil {
		return i, err
	}
	start := time.Now()
	failed, first := write(ctx, c, s.addr(), collection, d, code, 0, d.len(), batch, writers)
	written := max(0, d.len()-failed*batch)
	i.Rate = rig.Round(float64(written) / time.Since(start).Seconds())
	if first != nil {
		i.Errors, i.First = failed, first.Error()
	}
	if err := waitReady(ctx, c, collection, index, written); err != nil {
		return i, err
	}
	i.Ready = rig.Round(time.Since(start).Seconds())
	u, err := b.clocks().Stop(before)
	if err != nil {
		return i, err
	}
	i.ClientCPU, i.ServerCPU, i.DBCPU = rig.Round(u.Client.Seconds()), rig.Round(u.Server.Seconds()), rig.Round(u.Postgres.Seconds())
	if i.BytesTable, i.BytesIndex, err = db.bytesOf(ctx, collection); err != nil {
		return i, err
	}
	fmt.Fprintln(log, i)
	return i, nil
}

// waitReady waits until a collection has all rows and serves them as it is defined
// to: with an index, until they are carried over to it and no job is under way. It
// asks once a second, for counting them takes the database some 60 ms.
func waitReady(ctx context.Context, c *rest.Client, collection, index string, rows int) error {
	for {
		var is struct {
			Tier    string `json:"tier"`
			Records int    `json:"records"`
			Waiting int    `json:"waiting"`
		}
		if _, err := c.Do(ctx, http.MethodGet, "/v1/collections/"+collection+"/health", nil, &is); err != nil {
			return err
		}
		var jobs struct {
			Jobs []any `json:"jobs"`
		}
		if _, err := c.Do(ctx, http.MethodGet, "/v1/jobs?kind=index&state=running", nil, &jobs); err != nil {
			return err
		}
		if is.Records >= rows && (index == indexNone || is.Tier == "own" && is.Waiting < max(rows/50, 1) && len(jobs.Jobs) == 0) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// bytesOf is the size of a collection's own place.
func (db *database) bytesOf(ctx context.Context, collection string) (table, index int64, err error) {
	const sql = `
SELECT coalesce(sum(pg_table_size(to_regclass('tars.records_' || c.main))), 0), coalesce(sum(pg_indexes_size(to_regclass('tars.records_' || c.main))), 0)
FROM tars.collections c
WHERE c.name = $1`
	err = db.super.QueryRow(ctx, sql, collection).Scan(&table, &index)
	return table, index, err
}
