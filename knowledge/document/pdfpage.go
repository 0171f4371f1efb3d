package document

import (
	"errors"
	"regexp"

	"github.com/ledongthuc/pdf"
)

// The library gives the text of a page too, but finds the font of each letter anew in
// the file: 73 s for a manual of 300 pages, where this takes some.

// letters are what a page shows, string by string, as they are drawn.
type letters struct {
	file  *pdfFile
	all   []pdf.Text
	state drawing
	stack []drawing
	steps int
}

// pdfFile remembers the fonts of a document.
type pdfFile struct {
	*builder
	fonts map[string]*pdfFont
	pages []pdfPage
	nodes int // of the tree of pages that were looked at
}

// pdfPage is a page, with what it draws with.
type pdfPage struct{ content, resources pdf.Value }

// Bounds of the tree of pages: the library's own way through it follows circles
// without end.
const (
	maxTree  = 64 // nodes above each other
	maxNodes = 100_000
)

// walk finds the pages below a node, in order.
func (f *pdfFile) walk(node, resources pdf.Value, depth int) {
	if f.nodes++; f.nodes > maxNodes || depth > maxTree || len(f.pages) > f.limits.Pages || !f.ok() {
		return
	}
	if own := node.Key("Resources"); own.Kind() == pdf.Dict {
		resources = own
	}
	kids := node.Key("Kids")
	if kids.Kind() != pdf.Array {
		if node.Kind() == pdf.Dict {
			f.pages = append(f.pages, pdfPage{node.Key("Contents"), resources})
		}
		return
	}
	for i := range kids.Len() {
		f.walk(kids.Index(i), resources, depth+1)
	}
}

// pdfFont is a font: what its codes stand for, and how wide they are.
type pdfFont struct {
	encoding pdf.TextEncoding
	wide     bool           // codes have two bytes
	texts    map[int]string // of the codes that were met
	widths   map[int]float64
	usual    float64 // width of codes that have none
}

// drawing is the graphics state, as far as it says where letters are.
type drawing struct {
	font                                *pdfFont
	size, charSpace, wordSpace, leading float64
	stretch, rise                       float64
	line, text, page                    matrix
}

// matrix is [a b 0; c d 0; e f 1], as a PDF has it.
type matrix struct{ a, b, c, d, e, f float64 }

var identity = matrix{a: 1, d: 1}

// times is m, then n.
func (m matrix) times(n matrix) matrix {
	return matrix{
		m.a*n.a + m.b*n.c, m.a*n.b + m.b*n.d,
		m.c*n.a + m.d*n.c, m.c*n.b + m.d*n.d,
		m.e*n.a + m.f*n.c + n.e, m.e*n.b + m.f*n.d + n.f,
	}
}

func (m matrix) moved(x, y float64) matrix { return matrix{1, 0, 0, 1, x, y}.times(m) }

// Bounds on what is drawn.
const (
	maxForms    = 8         // forms in each other
	maxDrawings = 5_000_000 // operators of a page
	maxSaved    = 256       // states that are saved
)

var errPage = errors.New("the page does not end")

// of reads a page. What cannot be read of it is left out.
func (f *pdfFile) of(page pdfPage) (all []pdf.Text, err error) {
	l := &letters{file: f, state: drawing{stretch: 1, page: identity, line: identity, text: identity}}
	defer func() {
		if v := recover(); v != nil {
			all, err = l.all, errPage
		}
	}()
	l.draw(page.content, page.resources, 0)
	return l.all, nil
}

// draw carries out what draws text.
func (l *letters) draw(content, resources pdf.Value, depth int) {
	if content.Kind() != pdf.Stream && content.Kind() != pdf.Array {
		return
	}
	fonts := resources.Key("Font")
	references := referencesIn(fonts.String())
	pdf.Interpret(content, func(stack *pdf.Stack, op string) {
		if l.steps++; l.steps > maxDrawings || !l.file.ok() {
			panic(errPage)
		}
		var args []pdf.Value
		for n := stack.Len(); n > 0; n-- {
			args = append(args, stack.Pop())
		}
		number := func(i int) float64 { // from the last
			if i >= len(args) {
				return 0
			}
			return args[i].Float64()
		}
		six := func() matrix { return matrix{number(5), number(4), number(3), number(2), number(1), number(0)} }
		s := &l.state
		switch op {
		case "q":
			if len(l.stack) < maxSaved {
				l.stack = append(l.stack, *s)
			}
		case "Q":
			if n := len(l.stack); n > 0 {
				l.state, l.stack = l.stack[n-1], l.stack[:n-1]
			}
		case "cm":
			s.page = six().times(s.page)
		case "BT":
			s.line, s.text = identity, identity
		case "Tc":
			s.charSpace = number(0)
		case "Tw":
			s.wordSpace = number(0)
		case "Tz":
			s.stretch = number(0) / 100
		case "TL":
			s.leading = number(0)
		case "Ts":
			s.rise = number(0)
		case "Tf":
			s.size = number(0)
			if len(args) > 1 {
				name := args[1].Name()
				s.font = l.file.font(references[name], fonts.Key(name))
			}
		case "Tm":
			s.line = six()
			s.text = s.line
		case "TD":
			s.leading = -number(0)
			l.move(number(1), number(0))
		case "Td":
			l.move(number(1), number(0))
		case "T*":
			l.move(0, -s.leading)
		case "'", "\"":
			if op == "\"" {
				s.wordSpace, s.charSpace = number(2), number(1)
			}
			l.move(0, -s.leading)
			l.show(argument(args).RawString())
		case "Tj":
			l.show(argument(args).RawString())
		case "TJ":
			parts := argument(args)
			for i := range parts.Len() {
				if part := parts.Index(i); part.Kind() == pdf.String {
					l.show(part.RawString())
				} else {
					s.text = s.text.moved(-part.Float64()/1000*s.size*s.stretch, 0)
				}
			}
		case "Do":
			l.form(resources.Key("XObject").Key(argument(args).Name()), resources, depth)
		}
	})
}

// argument is the last of an operator.
func argument(args []pdf.Value) pdf.Value {
	if len(args) == 0 {
		return pdf.Value{}
	}
	return args[0]
}

// form draws what is kept as an object of its own.
func (l *letters) form(x, resources pdf.Value, depth int) {
	if x.Key("Subtype").Name() != "Form" || depth >= maxForms {
		return
	}
	before, saved := l.state, l.stack
	if m := x.Key("Matrix"); m.Len() == 6 {
		at := func(i int) float64 { return m.Index(i).Float64() }
		l.state.page = matrix{at(0), at(1), at(2), at(3), at(4), at(5)}.times(l.state.page)
	}
	if own := x.Key("Resources"); own.Kind() == pdf.Dict {
		resources = own
	}
	l.stack = nil
	l.draw(x, resources, depth+1)
	l.state, l.stack = before, saved
}

// move goes to another line.
func (l *letters) move(x, y float64) {
	l.state.line = l.state.line.moved(x, y)
	l.state.text = l.state.line
}

// show draws a string.
func (l *letters) show(codes string) {
	s := &l.state
	if s.font == nil || codes == "" {
		return
	}
	step := 1
	if s.font.wide {
		step = 2
	}
	at := matrix{s.size * s.stretch, 0, 0, s.size, 0, s.rise}.times(s.text).times(s.page)
	text, width := "", 0.0
	for i := 0; i+step <= len(codes); i += step {
		code := int(codes[i])
		if s.font.wide {
			code = code<<8 | int(codes[i+1])
		}
		text += s.font.textOf(code, codes[i:i+step])
		w := s.font.widthOf(code)/1000*s.size + s.charSpace
		if code == ' ' && step == 1 {
			w += s.wordSpace
		}
		width += w * s.stretch
	}
	end := s.text.moved(width, 0).times(s.page)
	if text != "" && l.file.grow(len(text)) {
		l.all = append(l.all, pdf.Text{FontSize: size(at), X: at.e, Y: at.f, W: end.e - s.text.times(s.page).e, S: text})
	}
	s.text = s.text.moved(width, 0)
}

// size is the height of letters on the page.
func size(m matrix) float64 {
	if m.d != 0 {
		return max(m.d, -m.d)
	}
	return max(m.a, -m.a, m.b, -m.b)
}

var reference = regexp.MustCompile(`/([^\s/<>\[\]()]+) (\d+ \d+) R`)

// referencesIn are the objects that a dictionary refers to, by name, read of its text:
// to look them up costs much.
func referencesIn(dictionary string) map[string]string {
	all := map[string]string{}
	for _, m := range reference.FindAllStringSubmatch(dictionary, -1) {
		all[m[1]] = m[2]
	}
	return all
}

// font reads a font, once for each object.
func (f *pdfFile) font(object string, v pdf.Value) *pdfFont {
	if known, ok := f.fonts[object]; ok && object != "" {
		return known
	}
	if v.Kind() != pdf.Dict {
		return nil
	}
	font := pdf.Font{V: v}
	made := &pdfFont{encoding: font.Encoder(), texts: map[int]string{}, widths: map[int]float64{}}
	if v.Key("Subtype").Name() == "Type0" {
		made.wide = true
		made.composite(v.Key("DescendantFonts").Index(0))
	} else {
		first := font.FirstChar()
		for i, w := range font.Widths() {
			made.widths[first+i] = w
		}
		if made.usual = v.Key("FontDescriptor").Key("MissingWidth").Float64(); made.usual == 0 {
			made.usual = 500
		}
	}
	if object != "" {
		f.fonts[object] = made
	}
	return made
}

// composite reads the widths of a font with codes of two bytes: "first [w…]" and
// "first last w".
func (f *pdfFont) composite(v pdf.Value) {
	f.usual = 1000
	if w := v.Key("DW"); !w.IsNull() {
		f.usual = w.Float64()
	}
	w := v.Key("W")
	for i := 0; i+1 < w.Len() && len(f.widths) < 1<<16; {
		first := int(w.Index(i).Int64())
		if list := w.Index(i + 1); list.Kind() == pdf.Array {
			for j := range list.Len() {
				f.widths[first+j] = list.Index(j).Float64()
			}
			i += 2
			continue
		}
		last := min(int(w.Index(i+1).Int64()), 1<<16)
		for code := first; code <= last; code++ {
			f.widths[code] = w.Index(i + 2).Float64()
		}
		i += 3
	}
}

func (f *pdfFont) widthOf(code int) float64 {
	if w, ok := f.widths[code]; ok {
		return w
	}
	return f.usual
}

// textOf is what a code stands for; control characters stand for nothing.
func (f *pdfFont) textOf(code int, raw string) string {
	if s, ok := f.texts[code]; ok {
		return s
	}
	s := ""
	for _, r := range f.encoding.Decode(raw) {
		if r >= ' ' || r == '\t' {
			s += string(r)
		}
	}
	f.texts[code] = s
	return s
}
