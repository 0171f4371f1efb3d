package document

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/ledongthuc/pdf"

	"github.com/tars-project/tars/knowledge"
)

// readPDF takes the text of a PDF: lines by the places of their letters, paragraphs by
// the space between lines, headings by the size of their letters. It has no segments:
// the bytes of the text are packed in the document's streams. Words that are cut at
// the end of a line stay cut.
func (b *builder) readPDF(source []byte) error {
	if !bytes.Contains(source[:min(len(source), 1024)], []byte("%PDF-")) {
		return knowledge.Invalid("", "is no PDF: it does not begin as one")
	}
	r, err := pdf.NewReader(bytes.NewReader(source), int64(len(source)))
	if err != nil {
		if strings.Contains(err.Error(), "password") || strings.Contains(err.Error(), "encrypt") {
			return knowledge.Invalid("", "is encrypted; need a PDF that opens without a password")
		}
		return broken(PDF, err.Error())
	}
	n := r.NumPage()
	if n > b.limits.Pages {
		return knowledge.Invalid("", "has %d pages; at most %d are read", n, b.limits.Pages)
	}
	b.title = r.Trailer().Key("Info").Key("Title").Text()
	var pages [][]line
	sizes := map[float64]int{} // letters of each size
	for i := 1; i <= n && b.ok(); i++ {
		page := r.Page(i)
		if page.V.IsNull() {
			pages = append(pages, nil)
			continue
		}
		lines := linesOf(page.Content().Text)
		for _, l := range lines {
			sizes[l.size] += len(l.text)
		}
		pages = append(pages, lines)
	}
	body := 0.0 // the size of most letters
	for size, letters := range sizes {
		if most := sizes[body]; letters > most || letters == most && size < body {
			body = size
		}
	}
	larger := []float64{} // sizes of headings, the largest first
	for size := range sizes {
		if size > 1.15*body {
			larger = append(larger, size)
		}
	}
	slices.SortFunc(larger, func(x, y float64) int { return cmp.Compare(y, x) })
	for i, lines := range pages {
		b.pageOf(lines, i+1, body, larger)
	}
	return nil
}

// line is a line of a page.
type line struct {
	text string
	y    float64 // of its base, upwards
	size float64 // of its largest letters, in half points
}

// linesOf puts letters together, as they come: a line ends where the next letter is
// on another base, or goes back. Words are apart by a quarter of the letters' size.
func linesOf(letters []pdf.Text) []line {
	var lines []line
	var now strings.Builder
	var last pdf.Text
	size := 0.0
	flush := func() {
		if text := strings.Join(strings.Fields(now.String()), " "); text != "" {
			lines = append(lines, line{text, last.Y, math.Round(2*size) / 2})
		}
		now.Reset()
		size = 0
	}
	for i, t := range letters {
		if t.S = strings.ReplaceAll(strings.ToValidUTF8(t.S, "�"), "\x00", ""); t.S == "" {
			continue
		}
		unit := max(t.FontSize, 1)
		if i > 0 && (math.Abs(t.Y-last.Y) > unit/3 || t.X < last.X-unit) {
			flush()
		} else if i > 0 && t.X > last.X+last.W+unit/4 {
			now.WriteByte(' ')
		}
		now.WriteString(t.S)
		if strings.TrimSpace(t.S) != "" {
			size = max(size, t.FontSize)
		}
		last = t
	}
	flush()
	return lines
}

// pageOf adds the lines of a page as blocks.
func (b *builder) pageOf(lines []line, number int, body float64, larger []float64) {
	level := func(l line) int {
		i := slices.Index(larger, l.size)
		if i < 0 || len(l.text) > 200 {
			return 0
		}
		return min(i+1, 6)
	}
	for i := 0; i < len(lines) && b.ok(); {
		end := i + 1
		for end < len(lines) && level(lines[end]) == level(lines[i]) && continues(lines[end-1], lines[end], body) {
			end++
		}
		b.apart()
		x := Block{Kind: Paragraph, Start: b.text.Len(), Page: number}
		if n := level(lines[i]); n > 0 {
			x.Kind, x.Level = Heading, n
		}
		for j, l := range lines[i:end] {
			if j > 0 {
				b.added("\n")
			}
			b.added(l.text)
		}
		b.block(x)
		i = end
	}
}

// continues reports that a line is of the same paragraph as the one before: right
// below it, and no new item of a list.
func continues(before, l line, body float64) bool {
	gap := before.y - l.y
	if gap < 0 || gap > 1.6*max(before.size, body) {
		return false
	}
	first, _, _ := strings.Cut(l.text, " ")
	return !slices.Contains([]string{"•", "-", "–", "*", "◦", "▪"}, first)
}
