package document

import (
	"bytes"
	"errors"
	"html"
	"io"
	"slices"
	"strings"

	xhtml5 "golang.org/x/net/html"
)

// readHTML takes the text of a page: what a reader sees, without navigation.
func (b *builder) readHTML(source string) error {
	p := &page{builder: b}
	z := xhtml5.NewTokenizer(strings.NewReader(source))
	at := 0
	for b.ok() {
		kind := z.Next()
		raw := z.Raw() // all of them together are the source
		start := at
		at += len(raw)
		switch kind {
		case xhtml5.ErrorToken:
			p.flush()
			if err := z.Err(); !errors.Is(err, io.EOF) {
				return broken(HTML, err.Error())
			}
			return nil
		case xhtml5.TextToken:
			p.words(source[start:at], start)
		case xhtml5.StartTagToken, xhtml5.SelfClosingTagToken:
			p.open(z, kind == xhtml5.SelfClosingTagToken)
		case xhtml5.EndTagToken:
			name, _ := z.TagName()
			p.close(string(name))
		}
	}
	return nil
}

// page is a page under way.
type page struct {
	*builder
	stack []element // blocks that are open
	start int       // of the text since the last block ended
	in    Block     // kind and level of that text
	empty bool      // it has a space at its end, or nothing

	skipped string // element whose content is not read; empty: none
	depth   int    // elements of its name that are open
	inTitle bool
	titled  strings.Builder
}

type element struct {
	name  string
	kind  Kind
	level int
	boxed bool // it stands beside the text: headings in it are none of the text's
}

// maxOpen bounds the blocks that are remembered as open; those within are as if they
// were not there.
const maxOpen = 256

// unread are elements whose content is no text to be read.
var unread = []string{"script", "style", "template", "noscript", "nav", "svg", "math", "select", "button", "iframe", "object", "canvas", "textarea"}

// kinds are the elements that are blocks, and of what kind.
var kinds = map[string]Kind{
	"h1": Heading, "h2": Heading, "h3": Heading, "h4": Heading, "h5": Heading, "h6": Heading,
	"p": Paragraph, "div": Paragraph, "section": Paragraph, "article": Paragraph, "main": Paragraph, "blockquote": Paragraph,
	"body": Paragraph, "header": Paragraph, "footer": Paragraph, "aside": Paragraph, "figure": Paragraph, "figcaption": Paragraph,
	"ul": Paragraph, "ol": Paragraph, "dl": Paragraph, "table": Paragraph, "form": Paragraph, "fieldset": Paragraph, "details": Paragraph,
	"summary": Paragraph, "caption": Paragraph, "address": Paragraph, "hr": Paragraph,
	"li": Item, "dt": Item, "dd": Item, "pre": Code, "tr": Table,
}

// open takes a start tag.
func (p *page) open(z *xhtml5.Tokenizer, closed bool) {
	tag, more := z.TagName()
	name := string(tag)
	hidden, boxed := false, name == "aside" || name == "blockquote"
	for more {
		var key, value []byte
		key, value, more = z.TagAttr()
		hidden = hidden || hides(key, value)
		boxed = boxed || boxes(key, value)
	}
	switch {
	case p.skipped != "":
		if name == p.skipped && !closed {
			p.depth++
		}
	case name == "title":
		p.inTitle = !closed && p.titled.Len() == 0
	case (hidden || slices.Contains(unread, name)) && !closed && !void(name):
		p.skipped, p.depth = name, 1
	case name == "br":
		p.added("\n")
		p.empty = true
	case (name == "td" || name == "th") && p.text.Len() > p.start:
		p.added("\t")
		p.empty = true
	default:
		if kind, ok := kinds[name]; ok {
			p.flush()
			if !void(name) && !closed {
				p.enter(name, kind, boxed)
			}
		}
	}
}

// void reports an element that never has content.
func void(name string) bool {
	return slices.Contains([]string{"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}, name)
}

// hides reports an attribute that says that an element is not to be read: hidden, or
// navigation by its role or by its class, which begins with "nav".
func hides(key, value []byte) bool {
	switch string(key) {
	case "hidden":
		return true
	case "aria-hidden":
		return string(value) == "true"
	case "role":
		return string(value) == "navigation" || string(value) == "search"
	case "class":
		for class := range bytes.FieldsSeq(value) {
			if bytes.HasPrefix(class, []byte("nav")) {
				return true
			}
		}
	}
	return false
}

// boxes reports a class of notes and warnings, whose headings say no more than that.
func boxes(key, value []byte) bool {
	if string(key) != "class" {
		return false
	}
	for class := range bytes.FieldsSeq(value) {
		switch string(class) {
		case "note", "tip", "warning", "caution", "important", "admonition", "sidebar":
			return true
		}
	}
	return false
}

// enter opens a block. A paragraph in an item, in a row or in a piece of code is of
// their kind.
func (p *page) enter(name string, kind Kind, boxed bool) {
	if n := len(p.stack); n > 0 {
		boxed = boxed || p.stack[n-1].boxed
	}
	if kind == Heading && boxed {
		kind = Paragraph
	}
	e := element{name: name, kind: kind, boxed: boxed}
	if kind == Heading {
		e.level = int(name[1] - '0')
	}
	if n := len(p.stack); n > 0 && kind == Paragraph && name != "table" {
		e.kind, e.level = p.stack[n-1].kind, p.stack[n-1].level
	}
	// A paragraph, an item or a row ends where the next one begins.
	if n := len(p.stack); n > 0 && p.stack[n-1].name == name && (name == "p" || name == "li" || name == "tr" || name == "dt" || name == "dd") {
		p.stack = p.stack[:n-1]
	}
	if len(p.stack) < maxOpen {
		p.stack = append(p.stack, e)
	}
	p.begin()
}

// close takes an end tag: the innermost element of that name ends, and what is open
// in it.
func (p *page) close(name string) {
	switch {
	case p.skipped != "":
		if name == p.skipped {
			if p.depth--; p.depth == 0 {
				p.skipped = ""
			}
		}
		return
	case name == "title":
		if p.inTitle {
			p.title = p.titled.String()
		}
		p.inTitle = false
		return
	}
	if _, ok := kinds[name]; !ok {
		return
	}
	p.flush()
	for i := len(p.stack) - 1; i >= 0; i-- {
		if p.stack[i].name == name {
			p.stack = p.stack[:i]
			break
		}
	}
	p.begin()
}

// begin is where text of another block begins.
func (p *page) begin() {
	p.in = Block{}
	if n := len(p.stack); n > 0 {
		p.in.Kind, p.in.Level = p.stack[n-1].kind, p.stack[n-1].level
	}
}

// flush ends the block of the text so far.
func (p *page) flush() {
	if p.text.Len() > p.start {
		x := p.in
		x.Start = p.start
		before := len(p.blocks)
		p.block(x)
		if len(p.blocks) > before {
			p.apart()
		}
	}
	p.start, p.empty = p.text.Len(), true
}

// words takes a piece of text, as it stands in the source: entities become their
// characters, and outside of code a run of white space becomes a space.
func (p *page) words(raw string, at int) {
	if p.skipped != "" {
		return
	}
	if p.inTitle {
		p.titled.WriteString(html.UnescapeString(raw))
		return
	}
	for i := 0; i < len(raw) && p.ok(); {
		switch end := nextSpecial(raw, i); {
		case end > i:
			p.copied(strings.ReplaceAll(raw[i:end], "\x00", " "), at+i)
			p.empty = false
			i = end
		case raw[i] == '&':
			n := entity(raw[i:])
			if s := html.UnescapeString(raw[i : i+n]); s == raw[i:i+n] {
				p.copied(s, at+i)
			} else {
				p.converted(strings.ReplaceAll(s, "\x00", " "), at+i, n)
			}
			p.empty = false
			i += n
		default:
			end := i
			for end < len(raw) && isSpace(raw[end]) {
				end++
			}
			p.space(raw[i:end], at+i)
			i = end
		}
	}
}

// space takes a run of white space.
func (p *page) space(run string, at int) {
	switch {
	case p.in.Kind == Code:
		if p.text.Len() == p.start { // the first end of line after the tag is none
			run, at = strings.TrimPrefix(run, "\n"), at+len(run)-len(strings.TrimPrefix(run, "\n"))
		}
		p.copied(run, at)
	case p.empty || p.text.Len() == p.start:
	case run == " ":
		p.copied(run, at)
		p.empty = true
	default:
		p.converted(" ", at, len(run))
		p.empty = true
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f' }

// nextSpecial is where the next white space or entity is, from i on.
func nextSpecial(s string, i int) int {
	for ; i < len(s); i++ {
		if s[i] == '&' || isSpace(s[i]) {
			return i
		}
	}
	return i
}

// entity is the length of what may be an entity at the beginning of s, which begins
// with "&".
func entity(s string) int {
	const most = 40
	for i := 1; i < len(s) && i < most; i++ {
		c := s[i]
		switch {
		case c == ';':
			return i + 1
		case c == '#' && i == 1, 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		default:
			return i
		}
	}
	return min(len(s), most)
}
