package document_test

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/document"
)

// makePDF writes a PDF of these objects, the first being its catalogue; those that
// begin with "stream " are streams, packed.
func makePDF(trailer string, objects ...string) string {
	var b strings.Builder
	b.WriteString("%PDF-1.4\n")
	var at []int
	for i, o := range objects {
		at = append(at, b.Len())
		if content, ok := strings.CutPrefix(o, "stream "); ok {
			var packed bytes.Buffer
			w := zlib.NewWriter(&packed)
			_, _ = w.Write([]byte(content)) // into memory
			_ = w.Close()
			o = fmt.Sprintf("<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream", packed.Len(), packed.String())
		}
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, o)
	}
	xref := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(objects)+1)
	for _, offset := range at {
		fmt.Fprintf(&b, "%010d 00000 n \n", offset)
	}
	fmt.Fprintf(&b, "trailer\n<< /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF\n", len(objects)+1, trailer, xref)
	return b.String()
}

// pump is a PDF of two pages with a heading, paragraphs, a list, text in a form, and a
// font with codes of two bytes.
func pump() string {
	return makePDF("/Info << /Title (Pump 7) >>",
		"<< /Type /Catalog /Pages 2 0 R >>",
		"<< /Type /Pages /Kids [3 0 R 4 0 R] /Count 2 >>",
		"<< /Type /Page /Parent 2 0 R /Resources << /Font << /F1 5 0 R /F2 6 0 R >> >> /Contents 9 0 R >>",
		"<< /Type /Page /Parent 2 0 R /Resources << /Font << /F1 5 0 R >> /XObject << /X1 11 0 R >> >> /Contents 10 0 R >>",
		"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding /FirstChar 32 /LastChar 32 /Widths [250] >>",
		"<< /Type /Font /Subtype /Type0 /BaseFont /Wide /Encoding /Identity-H /DescendantFonts [7 0 R] /ToUnicode 8 0 R >>",
		"<< /Type /Font /Subtype /CIDFontType2 /DW 1000 /W [1 [500 500]] >>",
		"stream /CIDInit /ProcSet findresource begin 12 dict begin begincmap 1 begincodespacerange <0000> <FFFF> endcodespacerange 2 beginbfchar <0001> <00D6> <0002> <006C> endbfchar endcmap end end",
		`stream BT /F1 20 Tf 50 700 Td (Care of the pump) Tj /F1 10 Tf 0 -40 Td (Oil it once ) Tj [(a) -600 (year,)] TJ 0 -12 Td (and never twice.) Tj 0 -40 Td (\225 valves) Tj 0 -12 Td (\225 gaskets) Tj 0 -40 Td /F2 10 Tf <00010002> Tj ET`,
		`stream q 1 0 0 1 50 700 cm BT /F1 10 Tf (Second page.) Tj ET Q /X1 Do`,
		"<< /Type /XObject /Subtype /Form /Length 44 /Resources << /Font << /F1 5 0 R >> >> >>\nstream\nBT /F1 10 Tf 50 600 Td (Inside a form.) Tj ET\nendstream",
	)
}

func TestPDF(t *testing.T) {
	text := parse(t, document.PDF, pump())
	want := []string{
		"heading1:Care of the pump", "paragraph:Oil it once a year,\nand never twice.", "paragraph:• valves", "paragraph:• gaskets",
		"paragraph:Öl", "paragraph:Second page.", "paragraph:Inside a form.",
	}
	if got := blocks(text); !slices.Equal(got, want) {
		t.Errorf("blocks = %q, want %q", got, want)
	}
	pages := make([]int, len(text.Blocks))
	for i, b := range text.Blocks {
		pages[i] = b.Page
	}
	if text.Title != "Pump 7" || !slices.Equal(pages, []int{1, 1, 1, 1, 1, 2, 2}) || len(text.Segments) != 0 {
		t.Errorf("title %q, pages %v, %d segments, want Pump 7, two pages, none", text.Title, pages, len(text.Segments))
	}
	last := document.Chunk(text, document.Options{Words: 3})
	if p := last[len(last)-1]; p.Page != 2 || !slices.Equal(p.Headings, []string{"Care of the pump"}) {
		t.Errorf("last passage = %+v, want it on page 2 below the heading", p)
	}
}

// TestHostilePDF: whatever is in a PDF, it is read or refused.
func TestHostilePDF(t *testing.T) {
	page := func(content string) string {
		return makePDF("", "<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
			"<< /Type /Page /Parent 2 0 R /Resources << /Font << /F1 4 0 R >> /XObject << /X 6 0 R >> >> /Contents 5 0 R >>",
			"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>", "stream "+content,
			"<< /Type /XObject /Subtype /Form /Length 5 /Resources << /XObject << /X 6 0 R >> >> >>\nstream\n/X Do\nendstream")
	}
	good := pump()
	for name, source := range map[string]string{
		"pages in a circle":    makePDF("", "<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [2 0 R] /Count 1 >>"),
		"a million pages":      makePDF("", "<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [] /Count 1000000 >>"),
		"no pages":             makePDF("", "<< /Type /Catalog >>"),
		"encrypted":            makePDF("/Encrypt << /Filter /Standard /V 2 /R 3 /O (x) /U (y) /P -4 >> /ID [(a) (b)]", "<< /Type /Catalog >>"),
		"form in itself":       page("/X Do"),
		"text that never ends": page(strings.Repeat("BT /F1 1 Tf (xxxxxxxxxxxxxxxx) Tj ", 200_000)),
		"operands alone":       page(strings.Repeat("1 ", 100_000)),
		"states that pile up":  page(strings.Repeat("q ", 100_000)),
		"arrays in arrays":     page(strings.Repeat("[", 100_000)),
		"no numbers":           page("BT /F1 Tf Td Tm TJ Tj ' \" Do cm (x) Tj ET"),
		"nothing on it":        page(""),
	} {
		text, err := document.Parse(t.Context(), document.PDF, []byte(source), document.Limits{Text: 1 << 20})
		if err != nil && !errors.Is(err, knowledge.ErrInvalid) {
			t.Errorf("%s: Parse = %v, want text or an InvalidError", name, err)
		}
		if err == nil && text.Check() != nil {
			t.Errorf("%s: Parse gave a text that is wrong: %v", name, text.Check())
		}
	}
	for i := 0; i < len(good); i += 7 { // cut, and with a byte changed
		for _, source := range []string{good[:i], good[:i] + "0" + good[i+1:]} {
			if _, err := document.Parse(t.Context(), document.PDF, []byte(source), document.Limits{}); err != nil && !errors.Is(err, knowledge.ErrInvalid) {
				t.Errorf("byte %d: Parse = %v, want text or an InvalidError", i, err)
			}
		}
	}
}
