// Package local is the embedder that needs nothing: no network, no
// configuration, no model file. English; other languages match by their exact
// words only.
//
// A text is a bag of words. Its vector has two blocks: the sum of the words'
// GloVe vectors, weighted by smooth inverse frequency, which finds texts that
// say the same in other words; and signed random codes of the words' stems,
// weighted by inverse frequency, which finds exact terms, product codes and
// words that no table has. Neither depends on other texts, so a vector never
// changes as a collection grows. Word order and negation are not seen.
//
// All sums are of integers, and the last step rounds in a fixed order: a text
// has the same vector, bit for bit, on every machine.
//
// Cosines run lower than those of transformer models: sentences that say the
// same in other words reach about 0.25 to 0.7, unrelated ones stay below 0.2.
package local

import (
	"context"
	_ "embed"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/embed"
	"github.com/tars-project/tars/knowledge/embed/local/internal/lexicon"
)

// What [Embedder.Info] says. Any change of the data or of the arithmetic makes
// other vectors and needs another Version.
const (
	ID        = "local"
	Version   = "glove-sif-1"
	Dimension = meaningSize + termSize
)

//go:generate go run ./internal/gen -out data/lexicon.bin

//go:embed data/lexicon.bin
var lexiconData string

// Embedder turns texts into vectors of length 1. Make one with [New] and share
// it: it is safe for concurrent use, and all calls together use at most
// GOMAXPROCS processors and a megabyte of working memory for each.
type Embedder struct {
	lexicon *lexicon.Lexicon
	masks   *signMasks
	benches chan *bench // idle ones; holding one is the right to compute
}

// New loads the word table, which takes about 4 ms and, beside the program
// itself, 3 MB.
func New() (*Embedder, error) {
	words, err := lexicon.Open(lexiconData)
	if err != nil {
		return nil, fmt.Errorf("local embedder: %w", err)
	}
	if words.Dimension() != meaningSize {
		return nil, fmt.Errorf("local embedder: word vectors have %d dimensions, want %d", words.Dimension(), meaningSize)
	}
	e := &Embedder{
		lexicon: words,
		masks:   newSignMasks(),
		benches: make(chan *bench, runtime.GOMAXPROCS(0)),
	}
	for range cap(e.benches) {
		e.benches <- newBench(e.lexicon, e.masks)
	}
	return e, nil
}

// Info implements [knowledge.Embedder].
func (e *Embedder) Info() knowledge.EmbedderInfo {
	return knowledge.EmbedderInfo{ID: ID, Version: Version, Dimension: Dimension}
}

// Embed implements [knowledge.Embedder]. Questions and documents are embedded
// alike, so kind does not matter. A text without anything that can be counted,
// such as one of control characters only, is refused like an empty one. It
// stops soon after ctx ends, inside a long text too.
func (e *Embedder) Embed(ctx context.Context, _ knowledge.EmbedKind, texts []string) ([][]float32, error) {
	if err := embed.CheckTexts(texts); err != nil {
		return nil, err
	}
	vectors := make([][]float32, len(texts))
	errs := make([]error, len(texts))
	var next atomic.Int64
	var failed atomic.Bool
	work := func() {
		for !failed.Load() {
			i := int(next.Add(1) - 1)
			if i >= len(texts) {
				return
			}
			vectors[i], errs[i] = e.embed(ctx, i, texts[i])
			if errs[i] != nil {
				failed.Store(true)
			}
		}
	}
	var others sync.WaitGroup
	for range min(cap(e.benches), len(texts)) - 1 {
		others.Go(work)
	}
	work()
	others.Wait()
	// Texts are taken in order, so that each text before a failed one has
	// been worked through, and the first failure is the same in every run.
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return vectors, nil
}

// embed returns the vector of one text, once there is a bench for it.
func (e *Embedder) embed(ctx context.Context, i int, text string) ([]float32, error) {
	if err := ctx.Err(); err != nil { // select would choose at random
		return nil, err
	}
	var b *bench
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case b = <-e.benches:
	}
	defer func() { e.benches <- b }()
	if err := b.add(ctx, text); err != nil {
		return nil, err
	}
	vector := make([]float32, Dimension)
	if !b.finish(vector) {
		return nil, knowledge.Invalid(embed.TextField(i), "has no letter, digit, symbol or punctuation mark")
	}
	return vector, nil
}
