package main

import (
	"fmt"
	"regexp"
	"strings"

	"golang.org/x/net/html"
)

// kind says how a block may be cut, and how it is joined to its neighbours.
type kind int

const (
	prose kind = iota // one line; may be cut between sentences
	item              // prose that is an item of a list
	term              // what the next block explains; stays with it
	row               // lines of a table's row, kept together
	code              // indented lines; may be cut between lines
)

// block is a piece of text between two others.
type block struct {
	kind kind
	text string
	term string // the term of a list of definitions that it explains; may be empty
	more bool   // goes on where the block before it was cut
}

// leads tells whether the block should not be the last of a passage, because
// the next one belongs to it.
func (b block) leads() bool {
	return b.kind == term || b.kind != code && strings.HasSuffix(b.text, ":")
}

// words counts the words of the text.
func (b block) words() int { return len(strings.Fields(b.text)) }

// builder turns HTML into blocks.
type builder struct {
	blocks []block
	mark   string // goes before the next prose, as "- " or "Note: "
	term   string
	loose  strings.Builder // text that stands between blocks, in no paragraph
}

// flush ends the loose text before the next block.
func (b *builder) flush() {
	if b.loose.Len() > 0 {
		text := squeeze(b.loose.String())
		b.loose.Reset()
		b.add(prose, text)
	}
}

func (b *builder) add(k kind, text string) {
	b.flush()
	if text == "" {
		return
	}
	if k == prose && b.mark != "" {
		text = b.mark + text
		if b.mark == "- " || b.mark[0] <= '9' {
			k = item
		}
		b.mark = ""
	}
	b.blocks = append(b.blocks, block{kind: k, text: text, term: b.term})
}

// node adds what an element, or a text between elements, holds.
func (b *builder) node(n *html.Node) {
	class := attr(n, "class")
	if n.Type == html.TextNode || n.Type == html.ElementNode && isInline(n) {
		text(&b.loose, n)
		return
	}
	b.flush()
	switch {
	case n.Type != html.ElementNode, navigation[class], isHeading(n):
	case n.Data == "pre", class == "cmdsynopsis", class == "literallayout":
		b.add(code, preformatted(n))
	case n.Data == "p":
		b.add(prose, inline(n)) // HTML ends a p at a list or code within it; what follows is loose
	case n.Data == "ul", n.Data == "ol":
		b.list(n)
	case n.Data == "dl":
		b.definitions(n)
	case n.Data == "table":
		b.table(n)
	case class == "note", class == "tip", class == "warning", class == "caution", class == "important":
		b.mark = strings.ToUpper(class[:1]) + class[1:] + ": "
		b.children(n)
		b.mark = ""
	default:
		b.children(n)
	}
}

func (b *builder) children(n *html.Node) {
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		b.node(c)
	}
	b.flush()
}

func (b *builder) list(n *html.Node) {
	count := 0
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if c.Type != html.ElementNode || c.Data != "li" {
			continue
		}
		count++
		b.mark = "- "
		if n.Data == "ol" {
			b.mark = fmt.Sprintf("%d. ", count)
		}
		b.children(c)
		b.mark = ""
	}
}

// definitions adds a dl: terms that share an explanation are joined by commas.
func (b *builder) definitions(n *html.Node) {
	outer, terms := b.term, []string(nil)
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		switch {
		case c.Type == html.ElementNode && c.Data == "dt":
			terms = append(terms, inline(c))
		case c.Type == html.ElementNode && c.Data == "dd":
			t := strings.Join(terms, ", ")
			if outer == "" { // the terms of a nested list belong to the outer term
				b.term = t
			}
			b.add(term, t)
			b.children(c)
			b.term, terms = outer, nil
		}
	}
}

// table adds a table row by row, the cells of one parted by bars.
func (b *builder) table(n *html.Node) {
	for tr := range n.Descendants() {
		if tr.Type != html.ElementNode || tr.Data != "tr" {
			continue
		}
		var cells []string
		for c := tr.FirstChild; c != nil; c = c.NextSibling {
			if c.Type == html.ElementNode && (c.Data == "td" || c.Data == "th") {
				cells = append(cells, cell(c))
			}
		}
		b.add(row, strings.Trim(strings.Join(cells, " | "), " |\n"))
	}
}

// cell returns the text of a table's cell, a line for each paragraph: the pages
// describe a function by its signature, a sentence, and examples.
func cell(n *html.Node) string {
	inner := &builder{}
	inner.children(n)
	parts := make([]string, 0, len(inner.blocks))
	for _, x := range inner.blocks {
		parts = append(parts, squeeze(x.text))
	}
	return strings.Join(parts, "\n")
}

func isInline(n *html.Node) bool {
	switch n.Data {
	case "a", "span", "code", "em", "strong", "sup", "sub", "acronym", "abbr", "br", "i", "b", "q", "var", "tt":
		return true
	}
	return false
}

// inline returns the text within n as one line.
func inline(n *html.Node) string {
	var w strings.Builder
	text(&w, n)
	return squeeze(w.String())
}

var blanks = regexp.MustCompile(`[\s\x{00A0}\x{200B}]+`)

// squeeze makes all white space one space, and none at the ends.
func squeeze(s string) string { return strings.TrimSpace(blanks.ReplaceAllString(s, " ")) }

// text writes the text within n, without navigation and footnote marks.
func text(w *strings.Builder, n *html.Node) {
	switch {
	case n.Type == html.TextNode:
		w.WriteString(n.Data)
	case n.Type == html.ElementNode && n.Data == "br":
		w.WriteByte('\n')
	case n.Type == html.ElementNode && n.Data == "sup":
		if !contains(n, func(n *html.Node) bool { return n.Data == "a" }) && !strings.HasPrefix(attr(n, "class"), "footnote") {
			w.WriteByte('^')
			children(w, n)
		}
	case n.Type == html.ElementNode && (navigation[attr(n, "class")] || strings.HasPrefix(attr(n, "class"), "footnote")):
	default:
		children(w, n)
	}
}

func children(w *strings.Builder, n *html.Node) {
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		text(w, c)
	}
}

// preformatted returns the lines within n, indented by four spaces.
func preformatted(n *html.Node) string {
	var w strings.Builder
	text(&w, n)
	all := strings.ReplaceAll(w.String(), "\u00A0", " ")
	if n.Data != "pre" && !contains(n, func(n *html.Node) bool { return n.Data == "br" }) {
		all = squeeze(all)
	}
	var lines []string
	for line := range strings.SplitSeq(strings.Trim(all, "\n"), "\n") {
		line = strings.TrimRight(strings.ReplaceAll(line, "\t", "    "), " \r")
		if line != "" {
			line = "    " + line
		}
		lines = append(lines, line)
	}
	joined := strings.Join(lines, "\n")
	if strings.TrimSpace(joined) == "" {
		return ""
	}
	return joined
}
