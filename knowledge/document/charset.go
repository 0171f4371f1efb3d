package document

import (
	"bytes"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/net/html/charset"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"

	"github.com/tars-project/tars/knowledge"
)

// readText reads the formats that are text themselves.
func (b *builder) readText(kind, encoding string, source []byte) error {
	if encoding == "" && kind == HTML && !utf8.Valid(source) {
		_, encoding, _ = charset.DetermineEncoding(source[:min(len(source), 1024)], "")
	}
	decoded, from, err := b.decode(encoding, source)
	if err != nil {
		return err
	}
	if i := strings.IndexByte(decoded, 0); i >= 0 {
		return knowledge.Invalid("", "is not text: byte %d is NUL", i)
	}
	inner := &builder{ended: b.ended, limits: b.limits}
	switch kind {
	case Plain:
		inner.readPlain(decoded)
	case Markdown:
		err = inner.readMarkdown(decoded)
	case HTML:
		err = inner.readHTML(decoded)
	}
	if err != nil || inner.err != nil {
		b.err = inner.err
		return err
	}
	b.title, b.text, b.blocks = inner.title, strings.Builder{}, inner.blocks
	b.text.WriteString(inner.text.String())
	b.segments = compose(inner.segments, from)
	if len(b.segments) > b.limits.Segments {
		return knowledge.Invalid("", "is put together of more than %d pieces, which is the most", b.limits.Segments)
	}
	return nil
}

// compose gives segments of a text that was made of another one, as segments of what
// that was made of. Both are in order.
func compose(outer, inner []Segment) []Segment {
	if len(inner) == 1 && inner[0].Source == 0 && !inner[0].Converted { // the same
		return outer
	}
	var all []Segment
	first := 0
	for _, o := range outer {
		for first < len(inner) && inner[first].Text+inner[first].Length <= o.Source {
			first++
		}
		if o.Converted { // stands for all that its source was made of
			from, to, ok := Text{Segments: inner[first:]}.Source(o.Source, o.Source+o.SourceLength)
			if ok {
				all = append(all, Segment{Text: o.Text, Length: o.Length, Source: from, SourceLength: to - from, Converted: true})
			}
			continue
		}
		for _, in := range inner[first:] {
			start, end := max(o.Source, in.Text), min(o.Source+o.Length, in.Text+in.Length)
			if start >= end {
				break
			}
			s := Segment{Text: o.Text + start - o.Source, Length: end - start, Source: in.Source, SourceLength: in.SourceLength, Converted: in.Converted}
			if !in.Converted {
				s.Source, s.SourceLength = in.Source+start-in.Text, end-start
			}
			all = append(all, s)
		}
	}
	return all
}

// decode returns a text as UTF-8, and where it is from.
func (b *builder) decode(encoding string, source []byte) (string, []Segment, error) {
	switch {
	case bytes.HasPrefix(source, []byte("\xef\xbb\xbf")):
		return b.decodeUTF8(source, 3)
	case bytes.HasPrefix(source, []byte("\xff\xfe")), bytes.HasPrefix(source, []byte("\xfe\xff")):
		return b.decodeUTF16(source, 2, source[0] == 0xfe)
	case encoding == "":
		return b.decodeUTF8(source, 0)
	}
	e, err := htmlindex.Get(encoding)
	if err != nil {
		return "", nil, knowledge.Invalid("", "has a charset that is not known")
	}
	name, err := htmlindex.Name(e)
	single, ok := e.(*charmap.Charmap)
	switch {
	case err != nil:
	case name == "utf-8":
		return b.decodeUTF8(source, 0)
	case name == "utf-16le", name == "utf-16be":
		return b.decodeUTF16(source, 0, name == "utf-16be")
	case ok:
		return b.decodeSingle(source, single)
	}
	return "", nil, knowledge.Invalid("", "has a charset that is not read; need UTF-8, UTF-16 or one with a byte for each character")
}

func (b *builder) decodeUTF8(source []byte, start int) (string, []Segment, error) {
	text := string(source[start:])
	if !utf8.ValidString(text) {
		i := strings.IndexRune(strings.ToValidUTF8(text, "\x00"), 0)
		return "", nil, knowledge.Invalid("", "is not valid UTF-8 about byte %d; give the charset that it has", start+max(i, 0))
	}
	return text, []Segment{{Length: len(text), Source: start, SourceLength: len(text)}}, nil
}

// decodeSingle reads an encoding with a byte for each character.
func (b *builder) decodeSingle(source []byte, e *charmap.Charmap) (string, []Segment, error) {
	d := &builder{ended: b.ended, limits: b.limits}
	start := 0
	for i, c := range source {
		if c < utf8.RuneSelf {
			continue
		}
		d.copied(string(source[start:i]), start)
		d.converted(string(e.DecodeByte(c)), i, 1)
		start = i + 1
	}
	d.copied(string(source[start:]), start)
	return d.text.String(), d.segments, d.err
}

// decodeUTF16 reads UTF-16; units that stand for nothing become U+FFFD.
func (b *builder) decodeUTF16(source []byte, start int, big bool) (string, []Segment, error) {
	if len(source)%2 != 0 {
		return "", nil, knowledge.Invalid("", "has %d bytes, which is no UTF-16", len(source))
	}
	unit := func(i int) rune {
		if i+1 >= len(source) {
			return 0
		}
		if big {
			return rune(source[i])<<8 | rune(source[i+1])
		}
		return rune(source[i+1])<<8 | rune(source[i])
	}
	d := &builder{ended: b.ended, limits: b.limits}
	for i := start; i < len(source); {
		r, size := unit(i), 2
		if utf16.IsSurrogate(r) {
			if pair := utf16.DecodeRune(r, unit(i+2)); pair != utf8.RuneError {
				r, size = pair, 4
			} else {
				r = utf8.RuneError
			}
		}
		d.converted(string(r), i, size)
		i += size
	}
	return d.text.String(), d.segments, d.err
}
