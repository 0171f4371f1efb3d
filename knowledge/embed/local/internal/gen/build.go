package main

import (
	"fmt"
	"math"
	"unicode"
	"unicode/utf8"

	"github.com/tars-project/tars/knowledge/embed/local/internal/lexicon"
	"github.com/tars-project/tars/knowledge/embed/local/internal/words"
)

const (
	// sifA is the constant a of smooth inverse frequency, a/(a+p) (Arora et
	// al., 2017, "A simple but tough-to-beat baseline").
	sifA = 1e-4
	// zipfShift is the q of Zipf and Mandelbrot's p(rank) ~ 1/(rank+q). The
	// package has no counts, but its words are in order of frequency.
	zipfShift = 2.7
	// removed is how many principal components are taken out: they carry
	// frequency and syntax rather than meaning.
	removed = 2
)

// build makes the table's entries of the most frequent count words that a text
// can hold as one word: vectors centred, common components removed, weighted by
// smooth inverse frequency, and cut to 8 bits.
func build(v *wordVectors, count int) ([]lexicon.Entry, error) {
	centre(v.rows)
	for range removed {
		component, err := principalComponent(v.rows)
		if err != nil {
			return nil, err
		}
		project(v.rows, component)
	}
	total := 0.0
	for rank := range v.words {
		total += 1 / (float64(rank) + zipfShift)
	}
	entries := make([]lexicon.Entry, 0, count)
	for rank := range v.rows {
		word := v.words[rank]
		if !isWord(word) {
			continue
		}
		p := 1 / (float64(rank) + zipfShift) / total
		entry, err := quantise(&v.rows[rank], sifA/(sifA+p))
		if err != nil {
			return nil, fmt.Errorf("%q: %w", word, err)
		}
		entry.Word, entry.Stem = word, words.Stem(word)
		entry.IDF = uint16(math.Round(math.Log(1/p) * lexicon.IDFUnit))
		if entries = append(entries, entry); len(entries) == count {
			return entries, nil
		}
	}
	return nil, fmt.Errorf("only %d of the first %d words can be used, want %d", len(entries), fitted, count)
}

// isWord reports whether the splitter yields word, as it stands, for word. Lone
// punctuation does not count, though the splitter falls back on it.
func isWord(word string) bool {
	if first, _ := utf8.DecodeRuneInString(word); unicode.IsPunct(first) || unicode.IsSymbol(first) {
		return false
	}
	same, n := false, 0
	var s words.Splitter
	s.Split(word, func(got []byte) bool {
		n++
		same = string(got) == word
		return n < 2
	})
	return same && n == 1
}

// quantise returns an entry with row times weight as 8-bit components and a
// scale that makes the largest of them 127.
func quantise(row *[dimension]float32, weight float64) (lexicon.Entry, error) {
	largest := 0.0
	for _, x := range row {
		largest = max(largest, math.Abs(float64(x)))
	}
	scale := math.Round(largest * weight / 127 * lexicon.ScaleUnit)
	if scale < 1 || scale > math.MaxUint32 {
		return lexicon.Entry{}, fmt.Errorf("scale %g is out of range", scale)
	}
	entry := lexicon.Entry{Scale: uint32(scale), Vector: make([]int8, dimension)}
	for i, x := range row {
		entry.Vector[i] = int8(math.RoundToEven(float64(x) / largest * 127))
	}
	return entry, nil
}
