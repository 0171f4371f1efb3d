package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/tars-project/tars/cmd/tars/rest"
	"github.com/tars-project/tars/cmd/tars/rig"
	"github.com/tars-project/tars/cmd/tars/rig/load"
)

// Names of the layers.
const (
	layerBrute     = "brute force in Go"
	layerPgbench   = "pgbench -M prepared"
	layerPgx       = "pgx"
	layerPgxHalf   = "pgx, half precision"
	layerREST      = "REST"
	layerRESTBytes = "REST, base64"
	layerExact     = "REST, exact"
	layerHybrid    = "REST, hybrid"
	layerBatch     = "REST, batches of 10"
	layerTenants   = "REST, 100 tenants"
)

// layerFiltered names the layer of a selectivity.
func layerFiltered(below int32) string {
	return fmt.Sprintf("REST, filter %g %%", 100*float64(below)/buckets)
}

// selectivities of the filters: buckets below these.
var selectivities = []int32{1, 10, 100, 500}

var (
	allClients = []int{1, 2, 4, 8, 16} // for the words
	twoSizes   = []int{1, headline}    // for the other datasets
	oneSize    = []int{headline}
)

// headline is the number of clients that the last line speaks of: twice the cores
// of a small machine, where every layer is saturated and none yet queues for long.
const headline = 4

// bench is what the layers of a run share.
type bench struct {
	db     *database
	server *server
	client *rest.Client // of the tenant that has the large collections
	dir    string
}

func (b bench) clocks() rig.Clocks {
	return rig.Clocks{Server: b.server.cmd.Process.Pid, Postgres: b.db.pid}
}

// layers are the ways to search a dataset whose collection has its name.
func (b bench) layers(ctx context.Context, d *dataset, t table, right truth, clients []int) ([]*layer, error) {
	all := []*layer{{
		name: layerBrute, clients: oneSize,
		connect: func(context.Context) (searcher, error) { return &bruteClient{data: d}, nil },
	}}
	program, err := b.db.program("pgbench")
	if err != nil {
		return nil, fmt.Errorf("pgbench: %w", err)
	}
	for _, x := range []struct {
		name, sql string
		byNumber  bool
		outside   func(context.Context, int, time.Duration) (load.Result, error)
	}{
		{layerPgbench, pgbenchOfPgx, true, (&pgbench{program, b.db, t, b.dir, map[int]float64{}}).run},
		{layerPgx, selectSQL, false, nil},
		{layerPgxHalf, selectHalfSQL, false, nil},
	} {
		size := slices.Max(clients)
		if x.outside != nil {
			size = 1 // for its answers alone
		}
		pool, err := b.db.open(ctx, size, d.ef)
		if err != nil {
			return nil, err
		}
		all = append(all, &layer{
			name: x.name, clients: clients, outside: x.outside, close: pool.Close,
			connect: func(context.Context) (searcher, error) {
				return &pgxClient{pool: pool, sql: t.sql(x.sql), data: d, byNumber: x.byNumber}, nil
			},
		})
	}
	all = append(all,
		b.rest(layerREST, d, asNumbers, everything, false, clients),
		b.rest(layerRESTBytes, d, asBase64, everything, false, clients),
		b.rest(layerExact, d, asNumbers, everything, true, oneSize),
	)
	for _, below := range selectivities {
		all = append(all, b.rest(layerFiltered(below), d, asNumbers, scope{below: below}, false, oneSize))
	}
	all = append(all, b.hybrid(d), b.batch(d))
	for _, l := range all {
		l.data = d
		if l.scopes == nil {
			l.scopes = []scope{everything}
		}
		if l.right == nil {
			l.right = right[l.scopes[0]]
		}
	}
	return all, nil
}

// rest is a layer of searches over REST.
func (b bench) rest(name string, d *dataset, code coding, s scope, exact bool, clients []int) *layer {
	requests := make([]rig.Request, d.count())
	wants := topK
	if s != everything {
		wants = 0 // how many there are, and how many were found, is looked at apart
	}
	for n := range requests {
		ef := d.ef
		if exact || s != everything {
			ef = 0 // what a filter needs is for the server to see
		}
		requests[n] = rig.NewRequest(b.server.addr(), "/v1/collections/"+d.name+"/search", b.client.Token, code.search(d, n, ef, s, exact), wants)
	}
	return &layer{
		name: name, clients: clients, scopes: []scope{s}, slow: exact || s != everything,
		connect: func(ctx context.Context) (searcher, error) { return dialRows(ctx, b.server.addr(), requests) },
	}
}

// hybrid is a layer of searches by vector and by words: one that is in every text, and
// one that is in a single one. What is right is not known: nothing is compared.
func (b bench) hybrid(d *dataset) *layer {
	requests := make([]rig.Request, d.count())
	for n := range requests {
		body := asNumbers.search(d, n, d.ef, everything, false)
		body = append(body[:len(body)-1], `,"mode":"hybrid","text":"row `...)
		body = strconv.AppendInt(body, int64(n*7919%d.len()), 10)
		body = append(body, `"}`...)
		requests[n] = rig.NewRequest(b.server.addr(), "/v1/collections/"+d.name+"/search", b.client.Token, body, topK)
	}
	return &layer{
		name: layerHybrid, clients: oneSize, slow: true, right: make([][]neighbour, d.count()),
		connect: func(ctx context.Context) (searcher, error) { return dialRows(ctx, b.server.addr(), requests) },
	}
}

// perBatch is how many searches a batch has.
const perBatch = 10

// batch is a layer of batches: the n-th has the n-th query and those after it. Its rate
// is that of batches.
func (b bench) batch(d *dataset) *layer {
	requests := make([]rig.Request, d.count())
	for n := range requests {
		body := []byte(`{"searches":[`)
		for i := range perBatch {
			if i > 0 {
				body = append(body, ',')
			}
			body = append(body, asNumbers.search(d, (n+i)%d.count(), d.ef, everything, false)...)
		}
		requests[n] = rig.NewRequest(b.server.addr(), "/v1/collections/"+d.name+"/search/batch", b.client.Token, append(body, "]}"...), perBatch*topK)
	}
	return &layer{
		name: layerBatch, clients: oneSize, slow: true,
		connect: func(ctx context.Context) (searcher, error) {
			c, err := rig.DialHTTP(ctx, b.server.addr(), requests)
			return &batchClient{c}, err
		},
	}
}

// batchClient sends batches; its rows are those of the first search of each.
type batchClient struct{ *rig.HTTPClient }

// Rows implements searcher.
func (c *batchClient) Rows(n int) ([]int32, error) {
	if err := c.Ask(n); err != nil && !errors.Is(err, rig.ErrAnswer) {
		return nil, err
	}
	var answer struct {
		Results []struct {
			Result json.RawMessage `json:"result"`
		} `json:"results"`
	}
	if err := json.Unmarshal(c.Body, &answer); err != nil || len(answer.Results) != perBatch {
		return nil, fmt.Errorf("answer: %d results, %w: %.300s", len(answer.Results), err, c.Body)
	}
	return rowsOf(answer.Results[0].Result)
}

// bruteClient compares all rows, on one core. It implements searcher.
type bruteClient struct{ data *dataset }

// Ask implements load.Client.
func (c *bruteClient) Ask(n int) error {
	_, err := c.Rows(n)
	return err
}

// Rows implements searcher.
func (c *bruteClient) Rows(n int) ([]int32, error) {
	found := compare(c.data, c.data.query(n), []scope{everything})
	return found[0].rows(), nil
}

// Close implements load.Client.
func (*bruteClient) Close() error { return nil }
