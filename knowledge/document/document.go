// Package document turns documents of several formats into text, and text into
// passages.
//
// Both steps keep exact positions: what is quoted from a passage can be shown in
// the bytes that the tenant brought. Who keeps documents, and makes vectors of
// their passages, is knowledge/ingest.
package document

import (
	"cmp"
	"slices"
)

// Text is what a document says, in reading order. What [Parse] returns has passed
// [Text.Check].
type Text struct {
	Title string // as the document itself gives it; empty when it gives none
	// Text is all of it as UTF-8 without NUL. Of Markdown and plain text it is
	// the document itself, byte for byte, but for a byte order mark and for
	// what is no text of an encoding.
	Text     string
	Blocks   []Block   // in order, apart from each other; what lies between two is no text to be found
	Segments []Segment // in order of both: where the pieces of Text are from
}

// Block is a part of a text that a reader sees as one.
type Block struct {
	Kind       Kind
	Level      int // of a heading, 1 to 6
	Start, End int // bytes of Text.Text, on boundaries of characters
	Page       int // of a PDF, the first being 1; 0 elsewhere
}

// Kind is what a block is.
type Kind uint8

// The kinds of block. Headings open a section; the others are its content.
const (
	Paragraph Kind = iota
	Heading
	Item // of a list
	Code
	Table // a row of one
)

// Segment says that the Length bytes of Text.Text from Text on are those of the
// document from Source on, or, where Converted, that they stand for the
// SourceLength bytes there: an entity of HTML, a character of another encoding.
// What has no segment is not in the document as such; all of a PDF and of a DOCX
// has none.
type Segment struct {
	Text, Length         int
	Source, SourceLength int
	Converted            bool
}

// Passage is a piece of a text that is found as one.
type Passage struct {
	Start, End int      // bytes of Text.Text; what is quoted is exactly this
	Headings   []string // of the sections that it stands in, outermost first; white space runs are one space
	Page       int      // where it begins, of a PDF; else 0
}

// Source returns the range of the document's bytes that the range of the text is
// from, and false when no byte of it has a segment.
func (t Text) Source(start, end int) (from, to int, ok bool) {
	first, _ := slices.BinarySearchFunc(t.Segments, start, func(s Segment, at int) int {
		return cmp.Compare(s.Text+s.Length, at+1) // the first that ends after start
	})
	for _, s := range t.Segments[first:] {
		if s.Text >= end {
			break
		}
		begin, last := s.Source, s.Source+s.SourceLength
		if !s.Converted {
			begin += max(0, start-s.Text)
			last -= max(0, s.Text+s.Length-end)
		}
		if !ok {
			from, ok = begin, true
		}
		to = max(to, last)
	}
	return from, to, ok
}

// About is what a chunker is told of a document beside its text.
type About struct {
	ID, Collection string
	MediaType      string
	Metadata       map[string]any
}
