package local

import (
	"context"
	_ "embed"
	"fmt"
	"runtime"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/embed"
	"github.com/tars-project/tars/knowledge/embed/local/internal/lexicon"
)

// What [Fast.Info] says. Any change of the data or of the arithmetic makes other
// vectors and needs another version.
const (
	FastID        = "local-fast"
	FastVersion   = "glove-sif-1"
	FastDimension = meaningSize + termSize
)

//go:embed data/lexicon.bin
var lexiconData string

// Fast is the embedder without the sentence encoder, for bulk loads: some 20,000
// texts a second and core. A text is a bag of words. Its vector has two blocks: the
// sum of the words' GloVe vectors, weighted by smooth inverse frequency, which finds
// texts that say the same in other words; and signed random codes of the words'
// stems, weighted by inverse frequency, which finds exact terms, product codes and
// words that no table has. Word order and negation are not seen.
//
// All sums are of integers, and the last step rounds in a fixed order: a text has the
// same vector, bit for bit, on every machine. Sentences that say the same in other
// words reach cosines of about 0.25 to 0.7, unrelated ones stay below 0.2.
//
// Make one with [NewFast] and share it: it is safe for concurrent use, and all calls
// together use at most GOMAXPROCS processors and a megabyte of working memory for
// each.
type Fast struct {
	lexicon *lexicon.Lexicon
	masks   *signMasks
	benches chan *bench // idle ones; holding one is the right to compute
}

// NewFast loads the word table, which takes about 4 ms and, beside the program itself,
// 3 MB.
func NewFast() (*Fast, error) {
	words, err := lexicon.Open(lexiconData)
	if err != nil {
		return nil, fmt.Errorf("local embedder: %w", err)
	}
	if words.Dimension() != meaningSize {
		return nil, fmt.Errorf("local embedder: word vectors have %d dimensions, want %d", words.Dimension(), meaningSize)
	}
	e := &Fast{
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
func (e *Fast) Info() knowledge.EmbedderInfo {
	return knowledge.EmbedderInfo{ID: FastID, Version: FastVersion, Dimension: FastDimension}
}

// Embed implements [knowledge.Embedder]. Questions and documents are embedded
// alike, so kind does not matter. A text without anything that can be counted,
// such as one of control characters only, is refused like an empty one. It
// stops soon after ctx ends, inside a long text too.
func (e *Fast) Embed(ctx context.Context, _ knowledge.EmbedKind, texts []string) ([][]float32, error) {
	if err := embed.CheckTexts(texts); err != nil {
		return nil, err
	}
	vectors := make([][]float32, len(texts))
	return vectors, inParallel(cap(e.benches), len(texts), func(i int) (err error) {
		vectors[i], err = e.embed(ctx, i, texts[i])
		return err
	})
}

// embed returns the vector of one text, once there is a bench for it.
func (e *Fast) embed(ctx context.Context, i int, text string) ([]float32, error) {
	vector := make([]float32, FastDimension)
	return vector, e.fill(ctx, i, text, 1, vector)
}

// fill writes the two blocks of a text, of which the meaning has that weight beside
// termWeight, brought to length 1 together.
func (e *Fast) fill(ctx context.Context, i int, text string, meaningWeight float64, vector []float32) error {
	if err := ctx.Err(); err != nil { // select would choose at random
		return err
	}
	var b *bench
	select {
	case <-ctx.Done():
		return ctx.Err()
	case b = <-e.benches:
	}
	defer func() { e.benches <- b }()
	if err := b.add(ctx, text); err != nil {
		return err
	}
	if !b.finish(meaningWeight, vector) {
		return knowledge.Invalid(embed.TextField(i), "has no letter, digit, symbol or punctuation mark")
	}
	return nil
}
