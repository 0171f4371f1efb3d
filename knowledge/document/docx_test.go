package document_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/document"
)

// pack makes an archive of files, a name and a content each in turn.
func pack(t testing.TB, files ...string) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		w, err := z.Create(files[i])
		if err == nil {
			_, err = w.Write([]byte(files[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const (
	wordHead = `<?xml version="1.0"?><w:document xmlns:w="x"><w:body>`
	wordTail = `</w:body></w:document>`
)

func word(t testing.TB, body string) string {
	return pack(t, "word/document.xml", wordHead+body+wordTail)
}

func TestDOCX(t *testing.T) {
	body := `<w:p><w:pPr><w:pStyle w:val="Kop1"/></w:pPr><w:r><w:t>Care &amp; oil</w:t></w:r></w:p>
<w:p><w:r><w:t xml:space="preserve">Once a </w:t></w:r><w:del><w:r><w:t>month</w:t></w:r></w:del><w:ins><w:r><w:t>year</w:t></w:r></w:ins><w:r><w:tab/><w:t>.</w:t></w:r></w:p>
<w:p><w:pPr><w:numPr/></w:pPr><w:r><w:t>valves</w:t></w:r></w:p>
<w:p><w:pPr><w:outlineLvl w:val="1"/></w:pPr><w:r><w:t>Parts</w:t></w:r></w:p>
<w:tbl><w:tr><w:tc><w:p><w:r><w:t>no</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>name</w:t></w:r></w:p></w:tc></w:tr></w:tbl>
<w:p><w:r><w:instrText>PAGE</w:instrText></w:r></w:p>`
	source := pack(t,
		"word/document.xml", wordHead+body+wordTail,
		"word/styles.xml", `<w:styles><w:style w:styleId="Kop1"><w:name w:val="heading 1"/></w:style></w:styles>`,
		"docProps/core.xml", `<cp:coreProperties xmlns:cp="c" xmlns:dc="d"><dc:title>Pump 7</dc:title></cp:coreProperties>`,
		"word/footnotes.xml", `<w:footnotes><w:footnote><w:p><w:r><w:t>A note.</w:t></w:r></w:p></w:footnote></w:footnotes>`,
	)
	text := parse(t, document.DOCX, source)
	want := []string{"heading1:Care & oil", "paragraph:Once a year\t.", "item:valves", "heading2:Parts", "table:no \tname", "paragraph:A note."}
	if got := blocks(text); !slices.Equal(got, want) {
		t.Errorf("blocks = %q, want %q", got, want)
	}
	if text.Title != "Pump 7" || len(text.Segments) != 0 {
		t.Errorf("title %q, %d segments, want Pump 7 and none", text.Title, len(text.Segments))
	}
}

func TestDOCXRefuses(t *testing.T) {
	good := word(t, "<w:p><w:r><w:t>x</w:t></w:r></w:p>")
	for name, test := range map[string]struct{ source, want string }{
		"bomb":             {word(t, strings.Repeat("<w:p><!-- bomb --></w:p>", 5_000_000)), "packs more than"},
		"another archive":  {pack(t, "a.txt", "x"), "packs no word/document.xml"},
		"many files":       {pack(t, slices.Repeat([]string{"a", ""}, 10_001)...), "10001 files"},
		"nested":           {word(t, strings.Repeat("<w:p>", 1000)), "in each other"},
		"cut XML":          {word(t, "<w:p><w:r>"), "cannot be read"},
		"entities":         {pack(t, "word/document.xml", `<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;">]><a>&c;</a>`), "cannot be read"},
		"cut archive":      {good[:len(good)-10], "cannot be read"},
		"nothing":          {word(t, "<w:p/>"), "has no text"},
		"too much text":    {word(t, strings.Repeat("<w:p><w:r><w:t>"+strings.Repeat("x", 100_000)+"</w:t></w:r></w:p>", 170)), "more than 16777216 bytes of text"},
		"damaged contents": {strings.Replace(good, "\x00\x00word", "\x01\x01word", 1)[:40] + strings.Repeat("\xff", 50) + good[90:], "cannot be read"},
	} {
		_, err := document.Parse(t.Context(), document.DOCX, []byte(test.source), document.Limits{Source: 64 << 20})
		var invalid *knowledge.InvalidError
		if !errors.As(err, &invalid) || !strings.Contains(invalid.Detail, test.want) {
			t.Errorf("%s: Parse = %v, want an InvalidError with %q", name, err, test.want)
		}
	}
}
