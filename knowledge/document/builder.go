package document

import (
	"strings"

	"github.com/tars-project/tars/knowledge"
)

// builder puts a text together, block by block. The first error stays, and ends all.
type builder struct {
	ended  func() error // tells the error of a call that is to end
	limits Limits
	err    error

	title    string
	text     strings.Builder
	blocks   []Block
	segments []Segment
	steps    int
}

// ok reports that there is no error, and looks whether the call has ended now and then.
func (b *builder) ok() bool {
	if b.steps++; b.steps%1024 == 0 && b.err == nil {
		b.err = b.ended()
	}
	return b.err == nil
}

// grow makes sure that n more bytes of text are allowed.
func (b *builder) grow(n int) bool {
	if b.text.Len()+n > b.limits.Text && b.err == nil {
		b.err = knowledge.Invalid("", "has more than %d bytes of text, which is the most", b.limits.Text)
	}
	return b.ok()
}

// copied adds bytes that the document has at that offset.
func (b *builder) copied(s string, source int) {
	if s == "" || !b.grow(len(s)) {
		return
	}
	if n := len(b.segments); n > 0 {
		last := &b.segments[n-1]
		if !last.Converted && last.Text+last.Length == b.text.Len() && last.Source+last.SourceLength == source {
			last.Length += len(s)
			last.SourceLength += len(s)
			b.text.WriteString(s)
			return
		}
	}
	b.segment(Segment{Text: b.text.Len(), Length: len(s), Source: source, SourceLength: len(s)})
	b.text.WriteString(s)
}

// converted adds text that stands for so many bytes of the document at that offset.
func (b *builder) converted(s string, source, length int) {
	if s == "" || !b.grow(len(s)) {
		return
	}
	b.segment(Segment{Text: b.text.Len(), Length: len(s), Source: source, SourceLength: length, Converted: true})
	b.text.WriteString(s)
}

func (b *builder) segment(s Segment) {
	if len(b.segments) >= b.limits.Segments && b.err == nil {
		b.err = knowledge.Invalid("", "is put together of more than %d pieces, which is the most", b.limits.Segments)
	}
	b.segments = append(b.segments, s)
}

// added adds text that the document does not have as such.
func (b *builder) added(s string) {
	if b.grow(len(s)) {
		b.text.WriteString(s)
	}
}

// block adds a block of what the text has from start on, without white space around
// it, if there is anything else.
func (b *builder) block(x Block) {
	text := b.text.String()[x.Start:]
	trimmed := strings.TrimSpace(text)
	if trimmed == "" {
		return
	}
	x.Start += strings.Index(text, trimmed)
	x.End = x.Start + len(trimmed)
	b.push(x)
}

// push adds a block as it is.
func (b *builder) push(x Block) {
	if len(b.blocks) >= b.limits.Blocks && b.err == nil {
		b.err = knowledge.Invalid("", "has more than %d blocks, which is the most", b.limits.Blocks)
	}
	if b.ok() {
		b.blocks = append(b.blocks, x)
	}
}

// apart separates what comes from the block before.
func (b *builder) apart() {
	if b.text.Len() > 0 {
		b.added("\n\n")
	}
}
