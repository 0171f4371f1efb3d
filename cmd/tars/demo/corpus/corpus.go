// Package corpus is the text of the demo: the PostgreSQL manual in passages of
// about 60 to 180 words, cut at its headings, compressed in the binary. It is
// under the PostgreSQL licence (LICENSE.PostgreSQL). The package reads it;
// package gen, beside it, makes it from the manual's pages.
package corpus

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
)

// The pages are those of Debian's package postgresql-doc-17; PGDOC names their
// folder (see gen).
//go:generate go run ./gen -out .

// packed is the corpus: lines of JSON, compressed by gzip. It never changes.
//
//go:embed corpus.jsonl.gz
var packed []byte

// License is the licence of the manual's text, with its copyright notice.
//
//go:embed LICENSE.PostgreSQL
var License string

// Passage is a piece of the manual.
type Passage struct {
	ID       string   `json:"id"`   // page, section and number: "continuous-archiving#BACKUP-PITR-RECOVERY/2"
	Text     string   `json:"text"` // the headings above it, joined by " > ", a blank line, and the words
	Metadata Metadata `json:"metadata"`
}

// Metadata says where a passage stands.
type Metadata struct {
	Page    string `json:"page"`    // file name: "continuous-archiving.html"
	Heading string `json:"heading"` // the nearest above it
	Chapter string `json:"chapter"` // its title, without its number
	URL     string `json:"url"`     // of the section, in the manual's latest edition of the release
}

// Passages yields all passages in the order of the manual's pages, read one by
// one, so that they need not be in memory at once. An error ends the sequence.
// It may be used at once from anywhere.
func Passages() iter.Seq2[Passage, error] { return read(bytes.NewReader(packed)) }

// read yields the passages of a compressed corpus.
func read(r io.Reader) iter.Seq2[Passage, error] {
	return func(yield func(Passage, error) bool) {
		lines, err := gzip.NewReader(r)
		if err != nil {
			yield(Passage{}, fmt.Errorf("corpus: %w", err))
			return
		}
		d := json.NewDecoder(lines)
		for n := 1; ; n++ {
			var p Passage
			err := d.Decode(&p)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(Passage{}, fmt.Errorf("corpus: passage %d: %w", n, err))
				return
			}
			if !yield(p, nil) {
				return
			}
		}
	}
}
