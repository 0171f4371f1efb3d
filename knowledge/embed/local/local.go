// Package local has the embedders that need nothing: no network, no configuration, no
// model file. English; other languages match by their exact words only.
//
// [Embedder] reads sentences, [Fast] counts words. A vector never depends on other
// texts, so it never changes as a collection grows.
package local

import (
	"context"
	_ "embed"
	"fmt"
	"math"
	"runtime"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/embed"
	"github.com/tars-project/tars/knowledge/embed/local/internal/encoder"
	"github.com/tars-project/tars/knowledge/embed/local/internal/gemm"
	"github.com/tars-project/tars/knowledge/embed/local/internal/pieces"
)

// What [Embedder.Info] says. Any change of the data or of the arithmetic makes other
// vectors and needs another Version.
const (
	ID        = "local"
	Version   = "use-glove-1"
	Dimension = 384
)

// FeatureSize is the length of a text's features: the sentences' block, and the two
// of [Fast].
const FeatureSize = encoder.Dimension + FastDimension

//go:generate go run ./internal/gen -out data
//go:generate go run ./internal/fit -out data/projection.bin

//go:embed data/encoder.bin
var encoderData string

//go:embed data/pieces.txt
var piecesData string

//go:embed data/projection.bin
var projectionData string

const (
	// maxPieces is how many pieces of a text the sentence encoder reads, some 1,500
	// words: the mean over more says less, and its time is bounded so. The other
	// blocks are of the whole text.
	maxPieces = 2048
	// perPass is how many pieces of several texts go through the encoder at once:
	// more gains nothing, and memory grows with them.
	perPass = 192
	// perTake is the most texts that one processor takes at once.
	perTake = 8
)

// Embedder turns texts into vectors of length 1, of three blocks: the mean of its
// sentences' vectors by the Universal Sentence Encoder Lite, and the two blocks of
// [Fast], brought to 384 numbers by a principal component analysis.
//
// Cosines run lower than those of other transformers: sentences that say the same in
// other words reach about 0.2 to 0.6, unrelated ones stay below 0.15. Negation is
// hardly seen. A text has the same vector in every batch and, on processors with the
// same instructions, on every machine; between kinds of processors vectors differ by
// about 1e-6.
//
// Make one with [New] and share it: it is safe for concurrent use, and all calls
// together use at most GOMAXPROCS processors and 4 MB of working memory for each.
type Embedder struct {
	fast       *Fast
	model      *encoder.Model
	pieces     *pieces.Vocabulary
	projection *gemm.Matrix
	desks      chan *desk // idle ones; holding one is the right to compute
}

// New returns the embedder that shares the word table of fast. It reads its 7 MB of
// weights where they are in the program; the pieces take about 3 ms and 2 MB.
func New(fast *Fast) (*Embedder, error) {
	e := &Embedder{fast: fast, desks: make(chan *desk, runtime.GOMAXPROCS(0))}
	var err error
	if e.model, err = encoder.Open(encoderData); err != nil {
		return nil, fmt.Errorf("local embedder: %w", err)
	}
	if e.pieces, err = pieces.Open(piecesData); err != nil {
		return nil, fmt.Errorf("local embedder: %w", err)
	}
	if n := e.pieces.Len(); n > encoder.Pieces {
		return nil, fmt.Errorf("local embedder: %d pieces, of which the encoder knows %d", n, encoder.Pieces)
	}
	var rest string
	if e.projection, rest, err = gemm.Decode(projectionData, FeatureSize, Dimension); err != nil || rest != "" {
		return nil, fmt.Errorf("local embedder: projection: %d bytes too many, %w", len(rest), err)
	}
	for range cap(e.desks) {
		e.desks <- &desk{Cutter: pieces.Cutter{Vocabulary: e.pieces}}
	}
	return e, nil
}

// Info implements [knowledge.Embedder].
func (e *Embedder) Info() knowledge.EmbedderInfo {
	return knowledge.EmbedderInfo{ID: ID, Version: Version, Dimension: Dimension}
}

// Embed implements [knowledge.Embedder]. Questions and documents are embedded alike,
// so kind does not matter. A text without anything that can be counted, such as one of
// control characters only, is refused like an empty one. It stops soon after ctx
// ends, inside a long text too.
func (e *Embedder) Embed(ctx context.Context, _ knowledge.EmbedKind, texts []string) ([][]float32, error) {
	return e.embed(ctx, texts, Dimension, e.project)
}

// Features returns what the vectors of texts are made of, [FeatureSize] numbers each:
// what the projection is fitted on. Errors are those of Embed.
func (e *Embedder) Features(ctx context.Context, texts []string) ([][]float32, error) {
	return e.embed(ctx, texts, FeatureSize, func(features, into []float32, _ *desk) { copy(into, features) })
}

// embed makes the features of texts and from each of them a vector of that size, some
// texts at a time.
func (e *Embedder) embed(ctx context.Context, texts []string, size int, finish func(features, into []float32, d *desk)) ([][]float32, error) {
	if err := embed.CheckTexts(texts); err != nil {
		return nil, err
	}
	vectors := make([][]float32, len(texts))
	// Few texts are spread over all processors, many go in groups.
	take := max(1, min(perTake, len(texts)/cap(e.desks)))
	err := inParallel(cap(e.desks), (len(texts)+take-1)/take, func(group int) error {
		if err := ctx.Err(); err != nil { // select would choose at random
			return err
		}
		var d *desk
		select {
		case <-ctx.Done():
			return ctx.Err()
		case d = <-e.desks:
		}
		defer func() { e.desks <- d }()
		first := group * take
		last := min(first+take, len(texts))
		features, err := e.features(ctx, d, first, texts[first:last])
		if err != nil {
			return err
		}
		for i := range texts[first:last] {
			vectors[first+i] = make([]float32, size)
			finish(features[i*FeatureSize:(i+1)*FeatureSize], vectors[first+i], d)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return vectors, nil
}

// project makes the vector of features.
func (e *Embedder) project(features, into []float32, d *desk) {
	e.projection.Multiply(1, features, into, &d.Scratch)
	toLength(into, 1)
}

// toLength brings a vector to that length, unless it is zero.
func toLength(vector []float32, want float64) {
	square := 0.0
	for _, x := range vector {
		square += float64(float64(x) * float64(x)) // not fused: the same everywhere
	}
	if square == 0 {
		return
	}
	scale := want / math.Sqrt(square)
	for i, x := range vector {
		vector[i] = float32(float64(x) * scale)
	}
}
