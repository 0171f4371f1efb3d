package document

import (
	"strings"

	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// readMarkdown takes a text as it is, and its blocks as CommonMark with tables has
// them. Front matter is no text, but may have the title.
func (b *builder) readMarkdown(source string) error {
	b.copied(source, 0)
	start := b.frontMatter(source)
	root := blockParser().Parse(text.NewReader([]byte(source[start:])))
	if !b.ok() {
		return nil
	}
	return ast.Walk(root, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		if !b.ok() {
			return ast.WalkStop, nil
		}
		x := Block{Kind: Paragraph}
		switch n := n.(type) {
		case *ast.Heading:
			x.Kind, x.Level = Heading, n.Level
		case *ast.Paragraph, *ast.TextBlock:
			if inItem(n) {
				x.Kind = Item
			}
		case *ast.CodeBlock, *ast.FencedCodeBlock:
			x.Kind = Code
		case *ast.HTMLBlock:
		case *extast.TableHeader, *extast.TableRow:
			x.Kind = Table
			first, last := cells(n)
			b.span(source, start, first, last, x)
			return ast.WalkSkipChildren, nil
		default:
			return ast.WalkContinue, nil
		}
		if lines := n.Lines(); lines != nil && lines.Len() > 0 {
			b.span(source, start, lines.At(0).Start, lines.At(lines.Len()-1).Stop, x)
		}
		return ast.WalkSkipChildren, nil
	})
}

// blockParser finds blocks alone: what stands inside of lines is not needed, and
// takes time that grows with the square of what is written for that.
func blockParser() parser.Parser {
	return parser.NewParser(
		parser.WithBlockParsers(parser.DefaultBlockParsers()...),
		parser.WithParagraphTransformers(util.Prioritized(extension.NewTableParagraphTransformer(), 200)),
	)
}

// span adds a block of what was parsed from start on. Blocks whose places cannot be
// told, or that lie in one before, are passed over.
func (b *builder) span(source string, start, from, to int, x Block) {
	from, to = start+from, start+to
	if n := len(b.blocks); from < 0 || to > len(source) || from >= to || n > 0 && from < b.blocks[n-1].End {
		return
	}
	b.blockOf(source, from, to, x)
}

// inItem reports that a block is in an item of a list.
func inItem(n ast.Node) bool {
	for p := n.Parent(); p != nil; p = p.Parent() {
		if p.Kind() == ast.KindListItem {
			return true
		}
	}
	return false
}

// cells is the range of a row's cells.
func cells(row ast.Node) (first, last int) {
	first, last = -1, -1
	for c := row.FirstChild(); c != nil; c = c.NextSibling() {
		lines := c.Lines()
		if lines == nil || lines.Len() == 0 {
			continue
		}
		if from := lines.At(0).Start; first < 0 || from < first {
			first = from
		}
		last = max(last, lines.At(lines.Len()-1).Stop)
	}
	return first, last
}

// frontMatter returns where the text after front matter begins, and takes the title
// from it.
func (b *builder) frontMatter(source string) int {
	first, rest, found := strings.Cut(source, "\n")
	if !found || strings.TrimRight(first, " \t\r") != "---" {
		return 0
	}
	at := len(first) + 1
	title := ""
	for rest != "" {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		at = min(len(source), at+len(line)+1)
		switch line = strings.TrimRight(line, " \t\r"); {
		case line == "---" || line == "...":
			b.title = title
			return at
		case strings.HasPrefix(line, "title:"):
			title = strings.Trim(strings.TrimSpace(strings.TrimPrefix(line, "title:")), `"'`)
		}
	}
	return 0 // it never ended: it is none
}
