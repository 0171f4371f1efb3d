package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/coder/hnsw"
	"github.com/philippgille/chromem-go"

	"github.com/tars-project/tars/cmd/tars/rig"
	"github.com/tars-project/tars/cmd/tars/rig/load"
)

// peer is an index inside a Go process: what leaving PostgreSQL would buy. It has
// no tenants, no durability and no network.
type peer struct {
	Dataset string  `json:"dataset"`
	Name    string  `json:"name"`
	Build   float64 `json:"build_seconds"`
	Heap    float64 `json:"heap_mb"` // more than before it was built
	Rows    []row   `json:"rows"`
}

// Names of the peers.
const (
	peerChromem = "chromem-go" // compares all
	peerHNSW    = "coder/hnsw"
)

// measurePeers builds each peer, searches it and lets it go.
func measurePeers(ctx context.Context, d *dataset, right [][]neighbour, most int, m rounds, log io.Writer) ([]peer, error) {
	var all []peer
	for _, x := range []struct {
		name  string
		build func(context.Context, *dataset) (searcher, error)
	}{{peerHNSW, buildHNSW}, {peerChromem, buildChromem}} {
		before := heap()
		start := time.Now()
		s, err := x.build(ctx, d)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", x.name, err)
		}
		p := peer{Dataset: d.name, Name: x.name, Build: rig.Round(time.Since(start).Seconds()), Heap: rig.Round((heap() - before) / (1 << 20))}
		fmt.Fprintf(log, "%-9s %s: built in %.1f s, %.0f MB\n", d.name, x.name, p.Build, p.Heap)
		l := &layer{
			name: x.name, data: d, clients: []int{1, headline}, scopes: []scope{everything}, right: right,
			connect: func(context.Context) (searcher, error) { return s, nil },
		}
		if err := l.assess(ctx, most); err != nil {
			return nil, err
		}
		if p.Rows, err = m.run(ctx, []*layer{l}); err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// heap is what lives, in bytes.
func heap() float64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// coder/hnsw stops as soon as a step does not bring it nearer, whatever its ef, and
// so finds 0.13 of the ten nearest of 19,000 words with the settings of the other
// layers. With twice the edges, asked for 400 to keep the best ten of, it finds
// 0.61; asked for 1,000, 0.74.
const (
	peerM     = 32
	peerAsked = 400
)

type hnswPeer struct {
	graph *hnsw.Graph[int32]
	data  *dataset
}

func buildHNSW(ctx context.Context, d *dataset) (searcher, error) {
	g := hnsw.NewGraph[int32]()
	g.M, g.EfSearch, g.Distance = peerM, hnswEfConstruction, hnsw.CosineDistance // it builds with the ef of its searches
	for row := range d.len() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		g.Add(hnsw.MakeNode(int32(row), d.row(row)))
	}
	g.EfSearch = peerAsked
	return hnswPeer{g, d}, nil
}

// Ask implements load.Client.
func (p hnswPeer) Ask(n int) error {
	_, err := p.Rows(n)
	return err
}

// Rows implements searcher.
func (p hnswPeer) Rows(n int) ([]int32, error) {
	query := p.data.query(n)
	found := nearest{k: topK}
	for _, x := range p.graph.Search(query, peerAsked) {
		found.offer(neighbour{x.Key, cosine(query, x.Value)})
	}
	return found.rows(), nil
}

// Close implements load.Client.
func (hnswPeer) Close() error { return nil }

type chromemPeer struct {
	collection *chromem.Collection
	data       *dataset
}

func buildChromem(ctx context.Context, d *dataset) (searcher, error) {
	never := func(context.Context, string) ([]float32, error) { return nil, fmt.Errorf("no text is embedded here") }
	c, err := chromem.NewDB().CreateCollection(d.name, nil, never)
	if err != nil {
		return nil, err
	}
	documents := make([]chromem.Document, d.len())
	for row := range documents {
		documents[row] = chromem.Document{
			ID: strconv.Itoa(row), Content: string(appendText(nil, d, row)), Embedding: d.row(row),
			Metadata: map[string]string{"bucket": strconv.Itoa(int(d.bucket[row]))},
		}
	}
	return chromemPeer{c, d}, c.AddDocuments(ctx, documents, runtime.NumCPU())
}

// Ask implements load.Client.
func (p chromemPeer) Ask(n int) error {
	_, err := p.Rows(n)
	return err
}

// Rows implements searcher.
func (p chromemPeer) Rows(n int) ([]int32, error) {
	found, err := p.collection.QueryEmbedding(context.Background(), p.data.query(n), topK, nil, nil)
	if err != nil {
		return nil, err
	}
	rows := make([]int32, len(found))
	for i, x := range found {
		row, err := strconv.ParseInt(x.ID, 10, 32)
		if err != nil {
			return nil, err
		}
		rows[i] = int32(row)
	}
	return rows, nil
}

// Close implements load.Client.
func (chromemPeer) Close() error { return nil }

var _ load.Client = hnswPeer{}
