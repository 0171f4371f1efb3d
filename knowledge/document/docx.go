package document

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/tars-project/tars/knowledge"
)

const (
	maxFiles = 10_000 // in the archive
	maxDepth = 256    // of elements
)

// readDOCX takes the text of a Word document (ECMA-376): paragraphs, headings by their
// styles, items of lists, rows of tables, then the notes; what was deleted is none. It
// has no segments: the bytes of the text are packed.
func (b *builder) readDOCX(source []byte) error {
	z, err := zip.NewReader(bytes.NewReader(source), int64(len(source)))
	if err != nil {
		return broken(DOCX, err.Error())
	}
	if len(z.File) > maxFiles {
		return knowledge.Invalid("", "packs %d files; at most %d are allowed", len(z.File), maxFiles)
	}
	a := archive{b, z, 4 * b.limits.Text}
	text, err := a.read("word/document.xml")
	if err != nil {
		return err
	}
	if text == nil {
		return knowledge.Invalid("", "is no Word document: it packs no word/document.xml")
	}
	styles, err := a.styles()
	if err != nil {
		return err
	}
	if core, err := a.read("docProps/core.xml"); err == nil && core != nil {
		b.title = titleIn(core)
	}
	if err := b.readWords(text, styles); err != nil {
		return err
	}
	for _, notes := range []string{"word/footnotes.xml", "word/endnotes.xml"} {
		text, err := a.read(notes)
		if err == nil && text != nil {
			err = b.readWords(text, styles)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// archive is what a document packs.
type archive struct {
	*builder
	*zip.Reader
	left int // bytes that may still be unpacked
}

// read unpacks a file, and never more of it than is left; nil when there is none.
func (a *archive) read(name string) ([]byte, error) {
	for _, f := range a.File {
		if f.Name != name {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return nil, broken(DOCX, err.Error())
		}
		defer r.Close()
		data, err := io.ReadAll(io.LimitReader(r, int64(a.left)+1))
		if len(data) > a.left {
			return nil, knowledge.Invalid("", "packs more than %d bytes of text, which is the most", 4*a.limits.Text)
		}
		if err != nil {
			return nil, broken(DOCX, err.Error())
		}
		a.left -= len(data)
		return data, nil
	}
	return nil, nil
}

// token is a start or an end tag of WordprocessingML by its local name, or text.
type token struct {
	start, end string
	attributes []xml.Attr
	text       string
}

// tokens calls do with each token of an XML file.
func (b *builder) tokens(data []byte, do func(token)) error {
	d := xml.NewDecoder(bytes.NewReader(data))
	depth := 0
	for b.ok() {
		t, err := d.RawToken() // no name spaces, no entities of its own
		if errors.Is(err, io.EOF) {
			if depth != 0 {
				return broken(DOCX, "XML ends too early")
			}
			return nil
		}
		if err != nil {
			return broken(DOCX, err.Error())
		}
		switch t := t.(type) {
		case xml.StartElement:
			if depth++; depth > maxDepth {
				return broken(DOCX, fmt.Sprintf("more than %d elements in each other", maxDepth))
			}
			do(token{start: t.Name.Local, attributes: t.Attr})
		case xml.EndElement:
			depth--
			do(token{end: t.Name.Local})
		case xml.CharData:
			do(token{text: string(t)})
		}
	}
	return nil
}

// value is the attribute of that name.
func (t token) value(name string) string {
	for _, a := range t.attributes {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// titleIn is the title of the document's properties.
func titleIn(data []byte) string {
	var core struct {
		Title string `xml:"title"`
	}
	if xml.Unmarshal(data, &core) != nil {
		return ""
	}
	return core.Title
}

// styles are the levels of headings by ids of styles.
func (a *archive) styles() (map[string]int, error) {
	data, err := a.read("word/styles.xml")
	if err != nil || data == nil {
		return nil, err
	}
	levels := map[string]int{}
	id := ""
	return levels, a.tokens(data, func(t token) {
		switch t.start {
		case "style":
			id = t.value("styleId")
		case "name":
			if n, ok := strings.CutPrefix(strings.ToLower(t.value("val")), "heading "); ok && len(n) == 1 && '1' <= n[0] && n[0] <= '9' {
				levels[id] = min(6, int(n[0]-'0'))
			} else if strings.EqualFold(t.value("val"), "title") {
				levels[id] = 1
			}
		case "outlineLvl":
			if n, err := strconv.Atoi(t.value("val")); err == nil && 0 <= n && n < 9 && id != "" {
				levels[id] = min(6, n+1)
			}
		}
	})
}

// paragraphs is a text under way.
type paragraphs struct {
	*builder
	levels map[string]int
	start  int
	in     Block
	rows   int  // that are open, in each other
	reads  bool // inside of w:t
	gone   int  // deletions that are open
}

// readWords takes the text of a file.
func (b *builder) readWords(data []byte, levels map[string]int) error {
	p := &paragraphs{builder: b, levels: levels}
	p.next()
	if err := b.tokens(data, p.take); err != nil {
		return err
	}
	p.flush()
	return nil
}

// take goes on with a token.
func (p *paragraphs) take(t token) {
	switch t.start {
	case "p":
		if p.rows == 0 {
			p.flush()
		}
	case "pStyle":
		if level := p.levels[t.value("val")]; level > 0 && p.rows == 0 {
			p.in.Kind, p.in.Level = Heading, level
		}
	case "outlineLvl":
		if n, err := strconv.Atoi(t.value("val")); err == nil && 0 <= n && n < 9 && p.rows == 0 {
			p.in.Kind, p.in.Level = Heading, min(6, n+1)
		}
	case "numPr":
		if p.in.Kind == Paragraph {
			p.in.Kind = Item
		}
	case "tr":
		if p.rows++; p.rows == 1 {
			p.flush()
			p.in.Kind = Table
		}
	case "del", "moveFrom":
		p.gone++
	case "t":
		p.reads = true
	case "tab", "br", "cr":
		if p.gone == 0 && p.text.Len() > p.start {
			p.added(map[string]string{"tab": "\t", "br": "\n", "cr": "\n"}[t.start])
		}
	}
	switch t.end {
	case "t":
		p.reads = false
	case "del", "moveFrom":
		p.gone--
	case "p":
		if p.rows == 0 {
			p.flush()
		} else if p.text.Len() > p.start {
			p.added(" ")
		}
	case "tc":
		if p.text.Len() > p.start {
			p.added("\t")
		}
	case "tr":
		if p.rows--; p.rows == 0 {
			p.flush()
		}
	}
	if t.text != "" && p.reads && p.gone <= 0 {
		p.added(strings.ReplaceAll(strings.ToValidUTF8(t.text, "�"), "\x00", ""))
	}
}

// flush ends a block.
func (p *paragraphs) flush() {
	p.in.Start = p.start
	p.block(p.in)
	p.next()
}

// next begins one.
func (p *paragraphs) next() {
	p.apart()
	p.start, p.in = p.text.Len(), Block{}
}
