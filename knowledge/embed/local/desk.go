package local

import (
	"context"
	"math"

	"github.com/tars-project/tars/knowledge/embed/local/internal/encoder"
	"github.com/tars-project/tars/knowledge/embed/local/internal/pieces"
)

// A desk is what some texts are worked on at. Not safe for concurrent use.
type desk struct {
	pieces.Cutter
	encoder.Workspace

	ids       []int32   // pieces of the sentences that wait to be encoded
	sentences [][]int32 // these, each a part of ids or of an older array of it
	owners    []int     // the text of each
	vectors   []float32 // what the encoder made of them
	features  []float32 // of the texts, FeatureSize numbers each
}

// features returns the features of texts, of which the first is number first of the
// caller's, one after the other; they are valid until the desk is used again.
func (e *Embedder) features(ctx context.Context, d *desk, first int, texts []string) ([]float32, error) {
	d.features = append(d.features[:0], make([]float32, len(texts)*FeatureSize)...)
	d.clear()
	for i, text := range texts {
		block := d.features[i*FeatureSize : (i+1)*FeatureSize]
		// The meaning block as long as the term block; together they are shorter
		// than the sentences' by so much.
		if err := e.fast.fill(ctx, first+i, text, termWeight, block[encoder.Dimension:]); err != nil {
			return nil, err
		}
		if err := e.read(ctx, d, i, text); err != nil {
			return nil, err
		}
	}
	if err := e.encode(ctx, d); err != nil {
		return nil, err
	}
	for i := range texts {
		block := d.features[i*FeatureSize : (i+1)*FeatureSize]
		toLength(block[:encoder.Dimension], 1)
		toLength(block[encoder.Dimension:], blocksLength(block[encoder.Dimension:]))
		toLength(block, 1)
	}
	return d.features, nil
}

// blocksLength is how long the two blocks of words are together beside one of length
// 1 of the sentences: each termWeight, unless it is empty.
func blocksLength(blocks []float32) float64 {
	square := 0.0
	for _, block := range [][]float32{blocks[:meaningSize], blocks[meaningSize:]} {
		for _, x := range block {
			if x != 0 {
				square += termWeight * termWeight
				break
			}
		}
	}
	return math.Sqrt(square)
}

// read cuts a text into sentences and these into pieces, and encodes whenever there
// are enough of them.
func (e *Embedder) read(ctx context.Context, d *desk, owner int, text string) error {
	left := maxPieces
	for text != "" && left > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		var sentence string
		sentence, text = nextSentence(text)
		start := len(d.ids)
		d.ids = d.Cut(sentence, d.ids)
		cut := d.ids[start:min(len(d.ids), start+left)]
		left -= len(cut)
		for len(cut) > 0 {
			n := min(len(cut), encoder.MaxPieces)
			if known(cut[:n]) {
				d.sentences, d.owners = append(d.sentences, cut[:n]), append(d.owners, owner)
			}
			cut = cut[n:]
		}
		if len(d.ids) >= perPass {
			if err := e.encode(ctx, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// known reports that the encoder knows most of a sentence. What it makes of others,
// such as any sentence in Chinese, is nearly the same.
func known(ids []int32) bool {
	unknown := 0
	for _, id := range ids {
		if id == pieces.Unknown {
			unknown++
		}
	}
	return 4*unknown <= len(ids)
}

// encode adds the vectors of the sentences that wait to the features of their texts.
func (e *Embedder) encode(ctx context.Context, d *desk) error {
	for done := 0; done < len(d.sentences); {
		last, size := done, 0
		for last < len(d.sentences) && (last == done || size+len(d.sentences[last]) <= perPass) {
			size += len(d.sentences[last])
			last++
		}
		var err error
		if d.vectors, err = e.model.Encode(ctx, d.sentences[done:last], d.vectors[:0], &d.Workspace); err != nil {
			return err
		}
		for i, owner := range d.owners[done:last] {
			block := d.features[owner*FeatureSize:][:encoder.Dimension]
			for j, x := range d.vectors[i*encoder.Dimension : (i+1)*encoder.Dimension] {
				block[j] += x
			}
		}
		done = last
	}
	d.clear()
	return nil
}

// clear forgets what waits.
func (d *desk) clear() {
	d.ids, d.sentences, d.owners = d.ids[:0], d.sentences[:0], d.owners[:0]
}
