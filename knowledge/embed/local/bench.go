package local

import (
	"context"
	"math"

	"github.com/tars-project/tars/knowledge/embed/local/internal/lexicon"
	"github.com/tars-project/tars/knowledge/embed/local/internal/words"
)

// The blocks of a vector.
const (
	meaningSize = 100 // word vectors
	termSize    = 256 // codes of stems
)

const (
	// termWeight is the length of the term block while that of the meaning
	// block is 1, in [Fast]; in [Embedder] both have it, and the sentences 1. On the questions of testdata 0.7 and 1 do about as well;
	// at 0.5 recall@1 falls by 0.08, at 1.4 paraphrases and unrelated
	// sentences are no longer apart.
	termWeight = 0.7
	// termFloor, in nats, is taken from each word's inverse frequency, as the
	// most frequent words carry no topic: "the" then weighs nothing, "of" and
	// "and" next to nothing.
	termFloor = 4 * lexicon.IDFUnit
)

// Bounds that keep memory and the wait for a cancelled call small on texts of
// any length.
const (
	maxUnknown  = 1 << 14 // distinct unknown stems counted before they are added up
	checkPeriod = 1 << 12 // words between two looks at the context
)

// A bench is what one text is worked on at: counts of its words and sums of
// their vectors. Clean again after finish, or after an add that failed. Not
// safe for concurrent use.
type bench struct {
	lexicon  *lexicon.Lexicon
	masks    *signMasks
	splitter words.Splitter

	counts  []uint32 // by number of the word in the lexicon
	known   []int32  // numbers with a count above zero
	unknown map[uint64]uint32

	meaning [meaningSize]int64 // in 1/lexicon.ScaleUnit
	terms   termSum
}

func newBench(l *lexicon.Lexicon, masks *signMasks) *bench {
	return &bench{
		lexicon: l,
		masks:   masks,
		counts:  make([]uint32, l.Len()),
		unknown: make(map[uint64]uint32),
	}
}

// add counts the words of text. When ctx ends first it returns ctx's error.
func (b *bench) add(ctx context.Context, text string) error {
	var state struct { // one variable for the closure: one allocation
		words int
		err   error
	}
	b.splitter.Split(text, func(word []byte) bool {
		if state.words++; state.words%checkPeriod == 0 {
			if state.err = ctx.Err(); state.err != nil {
				return false
			}
		}
		b.count(word)
		return true
	})
	if state.err != nil {
		b.addUp()
		b.clear()
	}
	return state.err
}

func (b *bench) count(word []byte) {
	if number, ok := b.lexicon.Find(word); ok {
		if b.counts[number] == 0 {
			b.known = append(b.known, number)
		}
		b.counts[number]++
		return
	}
	b.unknown[lexicon.StemHash(words.Stem(string(word)))]++
	if len(b.unknown) == maxUnknown {
		b.addUp()
	}
}

// addUp adds the counted words to the sums and forgets the counts.
func (b *bench) addUp() {
	for _, number := range b.known {
		count := b.counts[number]
		b.counts[number] = 0
		b.addMeaning(b.lexicon.Vector(number), int64(count)*int64(b.lexicon.Scale(number)))
		b.terms.add(b.masks, b.lexicon.Stem(number), weigh(b.lexicon.IDF(number), count))
	}
	b.known = b.known[:0]
	for stem, count := range b.unknown {
		b.terms.add(b.masks, stem, weigh(b.lexicon.MaxIDF(), count))
	}
	clear(b.unknown)
	b.terms.fold()
}

func (b *bench) addMeaning(vector string, scale int64) {
	vector = vector[:meaningSize] // one bounds check instead of a hundred
	for i := range b.meaning {
		b.meaning[i] += scale * int64(int8(vector[i]))
	}
}

// weigh returns what a word that occurs count times adds to the terms, in
// 1/lexicon.IDFUnit: less for each further time, never twice as much.
func weigh(idf uint16, count uint32) uint32 {
	if idf <= termFloor {
		return 0
	}
	return uint32(uint64(idf-termFloor) * 2 * uint64(count) / (uint64(count) + 1))
}

// finish writes the vector of all that was added, with length 1, and cleans the
// bench. The meaning block has that length before, the term block termWeight. It
// returns false when there is nothing to make a vector of.
func (b *bench) finish(meaningWeight float64, vector []float32) bool {
	b.addUp()
	defer b.clear()
	meaning, terms := length(b.meaning[:]), length(b.terms.sums[:])
	square := 0.0
	if meaning > 0 {
		square += meaningWeight * meaningWeight
	}
	if terms > 0 {
		square += termWeight * termWeight
	}
	if square == 0 {
		return false
	}
	whole := math.Sqrt(square)
	if meaning > 0 {
		fill(vector[:meaningSize], b.meaning[:], meaningWeight/(meaning*whole))
	}
	if terms > 0 {
		fill(vector[meaningSize:], b.terms.sums[:], termWeight/(terms*whole))
	}
	return true
}

func (b *bench) clear() {
	b.meaning = [meaningSize]int64{}
	b.terms.sums = [termSize]int64{}
}

// length returns the Euclidean length. The conversion of the product keeps it
// from being fused with the addition, which would round differently on some
// processors.
func length(sums []int64) float64 {
	square := 0.0
	for _, sum := range sums {
		x := float64(sum)
		square += float64(x * x)
	}
	return math.Sqrt(square)
}

func fill(vector []float32, sums []int64, scale float64) {
	for i, sum := range sums {
		vector[i] = float32(float64(sum) * scale)
	}
}
