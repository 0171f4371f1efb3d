package main

import (
	"io"
	"regexp"
	"strings"

	"golang.org/x/net/html"
)

// section is what stands under one heading, up to the next of any level.
type section struct{ heading, text string }

// aside are the classes of elements that are no part of a page's text, in the three
// manuals.
var aside = map[string]bool{
	"navheader": true, "navfooter": true, "toc": true, "indexterm": true, "id_link": true, // PostgreSQL
	"related": true, "sphinxsidebar": true, "footer": true, "headerlink": true, "contents": true, // Python
	"menu": true, "mobilemenu": true, "tagline": true, "searchmenu": true, "fancy_toc": true, "rightsidebar": true, // SQLite
}

// unread are the elements that hold no text for readers.
var unread = map[string]bool{"head": true, "script": true, "style": true, "nav": true, "form": true, "svg": true, "noscript": true}

// number is what stands before a title, as in "Chapter 25. ", "25.3.5. " and "1. ".
var number = regexp.MustCompile(`^((Part|Chapter|Appendix) )?([0-9IVXLC]+|[A-Z])(\.[0-9]+)*\.\s`)

// readSections cuts a page at its headings. What stands before the first is left
// out, and so are headings under which nothing stands.
func readSections(r io.Reader) ([]section, error) {
	root, err := html.Parse(r)
	if err != nil {
		return nil, err
	}
	var p parts
	p.node(root)
	p.end()
	return p.sections, nil
}

// parts collects the sections of a page.
type parts struct {
	sections []section
	heading  string // of the section that is being read; empty before the first
	text     strings.Builder
}

func (p *parts) node(n *html.Node) {
	switch {
	case n.Type == html.TextNode:
		p.text.WriteString(n.Data)
	case n.Type == html.ElementNode && (unread[n.Data] || isAside(n)):
	case n.Type == html.ElementNode && isHeading(n):
		p.end()
		p.heading = number.ReplaceAllString(textOf(n), "")
	default:
		for c := range n.ChildNodes() {
			p.node(c)
		}
		if n.Type == html.ElementNode && !inline[n.Data] {
			p.text.WriteByte(' ')
		}
	}
}

// end ends a section.
func (p *parts) end() {
	text := squeeze(p.text.String())
	p.text.Reset()
	if p.heading != "" && text != "" {
		p.sections = append(p.sections, section{p.heading, text})
	}
}

// inline are the elements within a word or a sentence.
var inline = map[string]bool{
	"a": true, "abbr": true, "acronym": true, "b": true, "code": true, "em": true, "i": true, "q": true, "span": true,
	"strong": true, "sub": true, "sup": true, "tt": true, "u": true, "var": true,
}

// isHeading knows SQLite's titles too, which are in no heading.
func isHeading(n *html.Node) bool {
	return len(n.Data) == 2 && n.Data[0] == 'h' && n.Data[1] >= '1' && n.Data[1] <= '6' || hasClass(n, map[string]bool{"fancy_title": true})
}

func isAside(n *html.Node) bool { return hasClass(n, aside) }

// hasClass reports that one of the element's classes is among these.
func hasClass(n *html.Node, classes map[string]bool) bool {
	for _, a := range n.Attr {
		if a.Key != "class" {
			continue
		}
		for class := range strings.FieldsSeq(a.Val) {
			if classes[class] {
				return true
			}
		}
	}
	return false
}

// textOf is the text within an element as one line.
func textOf(n *html.Node) string {
	p := parts{}
	for c := range n.ChildNodes() {
		p.node(c)
	}
	return squeeze(p.text.String())
}

// squeeze makes all white space one space, and none at the ends.
func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }
