package document

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

const magic = "TARSDOC1"

// Append appends the form that [Decode] reads: magic; then, as unsigned varints, the
// lengths of title and text, each before its bytes; the number of blocks, and of each
// kind, level, distance from the end of the one before, length and page; the number of
// segments, and of each the distance from the end of the one before in the text,
// length, the same in the source, and 1 if it is converted.
func (t Text) Append(data []byte) []byte {
	put := func(numbers ...int) {
		for _, n := range numbers {
			data = binary.AppendUvarint(data, uint64(n))
		}
	}
	data = append(data, magic...)
	put(len(t.Title))
	data = append(data, t.Title...)
	put(len(t.Text))
	data = append(data, t.Text...)
	put(len(t.Blocks))
	at := 0
	for _, b := range t.Blocks {
		put(int(b.Kind), b.Level, b.Start-at, b.End-b.Start, b.Page)
		at = b.End
	}
	put(len(t.Segments))
	at, from := 0, 0
	for _, s := range t.Segments {
		converted := 0
		if s.Converted {
			converted = 1
		}
		put(s.Text-at, s.Length, s.Source-from, s.SourceLength, converted)
		at, from = s.Text+s.Length, s.Source+s.SourceLength
	}
	return data
}

// Decode reads what Append wrote, from a place that is not trusted: what it returns
// has passed Check, and the limits of text, blocks and segments.
func Decode(data []byte, limits Limits) (Text, error) {
	limits = limits.withDefaults()
	r := reader{data: data}
	if !strings.HasPrefix(string(data[:min(len(data), len(magic))]), magic) {
		return Text{}, errors.New("document: not the form of a text")
	}
	r.data = data[len(magic):]
	t := Text{Title: r.text(limits.Text), Text: r.text(limits.Text)}
	if n := r.count(limits.Blocks, 5); n > 0 {
		t.Blocks = make([]Block, n)
	}
	at := 0
	for i := range t.Blocks {
		kind, level, gap, length, page := r.number(), r.number(), r.number(), r.number(), r.number()
		t.Blocks[i] = Block{Kind: Kind(min(kind, 255)), Level: level, Start: at + gap, End: at + gap + length, Page: page}
		at += gap + length
	}
	if n := r.count(limits.Segments, 5); n > 0 {
		t.Segments = make([]Segment, n)
	}
	at, from := 0, 0
	for i := range t.Segments {
		s := Segment{Text: at + r.number(), Length: r.number(), Source: from + r.number(), SourceLength: r.number()}
		s.Converted = r.number() == 1
		t.Segments[i] = s
		at, from = s.Text+s.Length, s.Source+s.SourceLength
	}
	if r.err == nil && len(r.data) > 0 {
		r.err = errors.New("there is more after the end")
	}
	if r.err == nil {
		r.err = t.Check()
	}
	if r.err != nil {
		return Text{}, fmt.Errorf("document: %w", r.err)
	}
	return t, nil
}

// reader takes numbers and texts; after an error, nothing.
type reader struct {
	data []byte
	err  error
}

// largest is the largest number that has a meaning: sums of some fit in an int.
const largest = 1 << 31

func (r *reader) number() int {
	if r.err != nil {
		return 0
	}
	n, size := binary.Uvarint(r.data)
	if size <= 0 || n > largest {
		r.err = errors.New("a number is cut or too large")
		return 0
	}
	r.data = r.data[size:]
	return int(n)
}

func (r *reader) text(most int) string {
	n := r.number()
	if n > most || n > len(r.data) {
		r.err = errors.Join(r.err, errors.New("a text is cut or too long"))
		return ""
	}
	text := string(r.data[:n])
	r.data = r.data[n:]
	return text
}

// count is the number of things of so many bytes at least that follow.
func (r *reader) count(most, bytes int) int {
	n := r.number()
	if n > most || n > len(r.data)/bytes {
		r.err = errors.Join(r.err, errors.New("there are too many parts"))
		return 0
	}
	return n
}

// Check returns an error unless the text is UTF-8 without NUL, and its blocks and
// segments are in order, apart from each other, and within it on boundaries of
// characters.
func (t Text) Check() error {
	for _, s := range []string{t.Title, t.Text} {
		if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
			return errors.New("a text is not UTF-8, or has NUL")
		}
	}
	boundary := func(i int) bool { return i == len(t.Text) || i < len(t.Text) && utf8.RuneStart(t.Text[i]) }
	at := 0
	for i, b := range t.Blocks {
		switch {
		case b.Kind > Table, b.Kind == Heading && (b.Level < 1 || b.Level > 6), b.Kind != Heading && b.Level != 0, b.Page < 0:
			return fmt.Errorf("block %d is of no kind or level", i)
		case b.Start < at || b.End <= b.Start || b.End > len(t.Text) || !boundary(b.Start) || !boundary(b.End):
			return fmt.Errorf("block %d is no range of the text, or out of order", i)
		}
		at = b.End
	}
	at, from := 0, 0
	for i, s := range t.Segments {
		switch {
		case s.Length < 1 || s.SourceLength < 0 || !s.Converted && s.SourceLength != s.Length,
			s.Text < at || s.Source < from || s.Text+s.Length > len(t.Text) || s.Source+s.SourceLength > largest:
			return fmt.Errorf("segment %d is no range, or out of order", i)
		}
		at, from = s.Text+s.Length, s.Source+s.SourceLength
	}
	return nil
}
