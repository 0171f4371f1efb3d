package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tars-project/tars/cmd/tars/rig"
)

// manyTenants are small tenants in shared places, their sizes and how often each
// searches as Zipf has it: the n-th has 1/n of what the first has.
const manyTenants = 100

// zipf cuts rows from 0 on into parts.
func zipf(parts, rows int) []scope {
	sum := 0.0
	for i := range parts {
		sum += 1 / float64(i+1)
	}
	scopes := make([]scope, parts)
	at := 0
	for i := range scopes {
		n := max(1, int(float64(rows)/sum/float64(i+1)))
		scopes[i] = scope{below: buckets, rows: [2]int32{int32(at), int32(at + n)}}
		at += n
	}
	return scopes
}

// tenantsLayer makes the tenants, each with a collection of a part of d, and
// returns their searches as a layer.
func (b bench) tenantsLayer(ctx context.Context, d *dataset, rows int) (*layer, float64, error) {
	parts := zipf(manyTenants, rows)
	tokens := make([]string, len(parts))
	took := time.Duration(0)
	for i, part := range parts {
		c, err := b.server.makeTenant(ctx, fmt.Sprintf("tenant-%d", i))
		if err != nil {
			return nil, 0, err
		}
		if err := makeCollection(ctx, c, "part", d, indexNone); err != nil {
			return nil, 0, err
		}
		start := time.Now()
		if _, err := write(ctx, c, b.server.addr(), "part", d, asBase64, int(part.rows[0]), int(part.rows[1]), 1000, 1); err != nil {
			return nil, 0, err
		}
		took += time.Since(start)
		tokens[i] = c.Token
	}
	random := rand.New(rand.NewPCG(seed, 2))
	draw := rand.NewZipf(random, 1.001, 1, manyTenants-1)
	l := &layer{name: layerTenants, data: d, clients: oneSize, scopes: make([]scope, d.count())}
	requests := make([]rig.Request, d.count())
	for n := range requests {
		i := draw.Uint64()
		l.scopes[n] = parts[i]
		wants := min(topK, int(parts[i].rows[1]-parts[i].rows[0]))
		requests[n] = rig.NewRequest(b.server.addr(), "/v1/collections/part/search", tokens[i], asNumbers.search(d, n, 0, everything, false), wants)
	}
	l.right = bruteForceEach(d, l.scopes)
	l.connect = func(ctx context.Context) (searcher, error) { return dialRows(ctx, b.server.addr(), requests) }
	return l, rig.Round(float64(rows) / took.Seconds()), nil
}
