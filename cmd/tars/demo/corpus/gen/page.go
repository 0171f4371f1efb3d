package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/net/html"
)

// page is one file of the manual.
type page struct {
	name     string // of the file
	release  string // of PostgreSQL, as in "17.11"
	chapter  string // title of the chapter, or part, that it belongs to
	sections []section
}

// section is what stands under one heading, without its subsections.
type section struct {
	id     string   // anchor in the page; may be empty
	path   []string // headings from the chapter down to its own
	blocks []block
}

// sectionClasses are the classes of the elements that open a section.
var sectionClasses = map[string]bool{
	"part": true, "partintro": true, "chapter": true, "appendix": true, "preface": true, "reference": true,
	"sect1": true, "sect2": true, "sect3": true, "sect4": true, "sect5": true, "simplesect": true,
	"refentry": true, "refnamediv": true, "refsynopsisdiv": true, "refsect1": true, "refsect2": true, "refsect3": true,
	"glossary": true, "glossdiv": true,
}

// chapterClasses are the classes of the elements that open a chapter.
var chapterClasses = map[string]bool{"chapter": true, "appendix": true, "preface": true}

// navigation holds the classes of elements that are no part of the text.
var navigation = map[string]bool{
	"navheader": true, "navfooter": true, "toc": true, "indexterm": true, "id_link": true, "titlepage": true, "footnotes": true,
}

// number is what DocBook puts before a title, as in "Chapter 25. " or "25.3.5. ".
var number = regexp.MustCompile(`^((Part|Chapter|Appendix) )?([0-9IVXLC]+|[A-Z])(\.[0-9]+)*\.\s`)

func readPage(file string) (page, error) {
	f, err := os.Open(file)
	if err != nil {
		return page{}, err
	}
	defer f.Close()
	root, err := html.Parse(f)
	if err != nil {
		return page{}, err
	}
	p := page{name: filepath.Base(file)}
	p.readHeader(root)
	r := reader{page: &p}
	path := []string{}
	if p.chapter != "" {
		path = append(path, p.chapter)
	}
	r.section(find(root, func(n *html.Node) bool { return n.Data == "body" }), "", path)
	return p, nil
}

// readHeader takes chapter and release from the navigation, whose second row is
// `Prev Up <th>Chapter 25. Backup and Restore</th> Home Next`.
func (p *page) readHeader(root *html.Node) {
	header := find(root, func(n *html.Node) bool { return hasClass(n, "navheader") })
	if header == nil {
		return
	}
	if th := find(header, func(n *html.Node) bool { return n.Data == "th" && attr(n, "width") == "60%" }); th != nil {
		p.chapter = title(th)
	}
	home := find(header, func(n *html.Node) bool { return n.Data == "a" && attr(n, "accesskey") == "h" })
	if home != nil {
		p.release = strings.TrimSuffix(strings.TrimPrefix(attr(home, "title"), "PostgreSQL "), " Documentation")
	}
}

// reader collects the sections of a page.
type reader struct{ page *page }

// section reads an element that opens a section (or the body): what stands
// under its own heading first, then its subsections.
func (r *reader) section(n *html.Node, id string, path []string) {
	heading := headingOf(n)
	switch {
	case heading == "See Also", heading == "Author", heading == "Authors": // nothing but names
		return
	case chapterClasses[attr(n, "class")]: // the navigation names the part above it
		r.page.chapter, path = heading, []string{heading}
	case heading != "" && (len(path) == 0 || path[len(path)-1] != heading):
		path = append(path[:len(path):len(path)], heading)
	}
	at := len(r.page.sections)
	r.page.sections = append(r.page.sections, section{id: id, path: path})
	b := &builder{}
	var walk func(*html.Node)
	walk = func(n *html.Node) {
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			switch {
			case c.Type == html.ElementNode && isSection(c):
				sub := attr(c, "id")
				if sub == "" {
					sub = id
				}
				r.section(c, sub, path)
			case c.Type == html.ElementNode && c.Data == "div" && contains(c, isSection):
				walk(c)
			default:
				b.node(c)
			}
		}
	}
	walk(n)
	b.flush()
	r.page.sections[at].blocks = b.blocks
}

func isSection(n *html.Node) bool {
	return n.Type == html.ElementNode && n.Data == "div" && sectionClasses[attr(n, "class")]
}

// headingOf returns the title of a section: in its title page; or, in reference
// pages, an h2 or h3 of its own, or the name of the command.
func headingOf(n *html.Node) string {
	if hasClass(n, "refentry") {
		if names := find(n, func(n *html.Node) bool { return hasClass(n, "refnamediv") }); names != nil {
			return headingOf(names)
		}
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if hasClass(c, "titlepage") {
			if h := find(c, func(n *html.Node) bool { return isHeading(n) && hasClass(n, "title") }); h != nil {
				return title(h)
			}
		}
		if isHeading(c) {
			return title(c)
		}
	}
	return ""
}

func isHeading(n *html.Node) bool {
	return n.Type == html.ElementNode && len(n.Data) == 2 && n.Data[0] == 'h' && n.Data[1] >= '1' && n.Data[1] <= '6'
}

// title returns the text of a heading without its number.
func title(n *html.Node) string { return number.ReplaceAllString(inline(n), "") }

// find returns the first node that fits, in document order, or nil.
func find(n *html.Node, fits func(*html.Node) bool) *html.Node {
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && fits(d) {
			return d
		}
	}
	return nil
}

func contains(n *html.Node, fits func(*html.Node) bool) bool { return find(n, fits) != nil }

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func hasClass(n *html.Node, class string) bool {
	return n.Type == html.ElementNode && attr(n, "class") == class
}
