package document

import "strings"

// readPlain takes a text as it is: its paragraphs are apart by empty lines.
func (b *builder) readPlain(text string) {
	b.copied(text, 0)
	start := 0
	for at := 0; at < len(text) && b.ok(); {
		line, _, found := strings.Cut(text[at:], "\n")
		end := at + len(line)
		if strings.TrimSpace(line) == "" {
			b.blockOf(text, start, at, Block{})
			start = end
		}
		if at = end; found {
			at++
		}
	}
	b.blockOf(text, start, len(text), Block{})
}

// blockOf adds a block of text[start:end], without the white space around it, if
// there is anything else.
func (b *builder) blockOf(text string, start, end int, x Block) {
	part := text[start:end]
	left := len(part) - len(strings.TrimLeft(part, " \t\r\n\f\v\u00a0\u2003"))
	trimmed := strings.TrimRight(part[left:], " \t\r\n\f\v\u00a0\u2003")
	if strings.TrimSpace(trimmed) == "" {
		return
	}
	x.Start, x.End = start+left, start+left+len(trimmed)
	b.push(x)
}
