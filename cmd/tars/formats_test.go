package main

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/tars-project/tars/cmd/tars/rest"
	"github.com/tars-project/tars/knowledge/document"
	"github.com/tars-project/tars/migrations/pgtest"
)

// docx is a document with these paragraphs, and with so many zeros in a file beside.
func docx(t *testing.T, zeros int64, paragraphs ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	add := func(name string, content io.Reader) {
		w, err := z.Create(name)
		if err == nil {
			_, err = io.Copy(w, content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var body strings.Builder
	body.WriteString(`<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>`)
	for _, p := range paragraphs {
		fmt.Fprintf(&body, `<w:p><w:r><w:t>%s</w:t></w:r></w:p>`, p)
	}
	// The zeros are white space of the document itself, so that who reads it unpacks them.
	add("word/document.xml", io.MultiReader(strings.NewReader(body.String()), io.LimitReader(blank{}, zeros), strings.NewReader(`</w:body></w:document>`)))
	add("[Content_Types].xml", strings.NewReader(`<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>`))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// blank is white space without an end.
type blank struct{}

func (blank) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// pdf is a document of one page with a line of text.
func pdf(line string) []byte {
	content := "BT /F1 12 Tf 72 720 Td (" + line + ") Tj ET"
	objects := []string{
		"<< /Type /Catalog /Pages 2 0 R >>",
		"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
		"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
		fmt.Sprintf("<< /Length %d >>\nstream\n%s\nendstream", len(content), content),
		"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
	}
	var b bytes.Buffer
	b.WriteString("%PDF-1.4\n")
	var at []int
	for i, o := range objects {
		at = append(at, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, o)
	}
	xref := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(objects)+1)
	for _, offset := range at {
		fmt.Fprintf(&b, "%010d 00000 n \n", offset)
	}
	fmt.Fprintf(&b, "trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", len(objects)+1, xref)
	return b.Bytes()
}

// TestDocumentFormats: documents of every format are read in the shipped binary, by
// its cells where they must be, and what they say is found and led back to them.
func TestDocumentFormats(t *testing.T) {
	t.Parallel()
	s := start(t, pgtest.DB(t))
	client := s.tenant(t, "acme")
	do(t, client, http.MethodPut, "/v1/collections/c", map[string]any{"embedder": "local"}, nil)
	manual, err := os.ReadFile("../../knowledge/document/testdata/sql-vacuum.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		id, mediaType string
		source        []byte
		query, quote  string
		inSource      string // what stands in the document for the quote; empty: nothing as such
	}{
		{"plain.txt", "text/plain", []byte("The valve is closed at night.\n"), "closed valve", "valve is closed", "valve is closed"},
		{"latin.txt", "text/plain; charset=iso-8859-1", []byte("The caf\xe9 opens at nine.\n"), "café opens", "café opens", ""},
		{"notes.md", "text/markdown", []byte("# Filter\n\nThe *filter* is changed monthly.\n"), "filter changed", "changed monthly", "changed monthly"},
		{"page.html", "text/html", []byte("<html><head><title>Pumps</title></head><body><p>Pumps &amp; pipes are   greased.</p></body></html>"), "greased pipes", "Pumps & pipes are greased", "Pumps &amp; pipes are   greased"},
		{"manual.html", "text/html", manual, "VACUUM reclaims storage occupied by dead tuples", "dead tuples", "dead tuples"},
		{"letter.docx", document.DOCX, docx(t, 0, "Dear customer,", "the crane was inspected in Rotterdam."), "crane inspected", "inspected in Rotterdam", ""},
		{"sheet.pdf", document.PDF, pdf("The turbine runs at nine bar."), "turbine bar", "turbine runs at nine bar", ""},
	} {
		t.Run(c.id, func(t *testing.T) {
			path := "/v1/collections/c/documents/" + c.id
			var put struct{ Document struct{ Passages int } }
			if err := client.Put(t.Context(), path, http.Header{"Content-Type": {c.mediaType}}, c.source, &put); err != nil {
				t.Fatalf("PUT: %v", err)
			}
			var found struct {
				Matches []struct {
					Text     string
					Version  int64
					Metadata struct{ Passage, Page int }
				}
			}
			do(t, client, http.MethodPost, "/v1/collections/c/search", map[string]any{
				"text": c.query, "mode": "lexical", "limit": 20, "filter": map[string]any{"field": "document", "eq": c.id},
			}, &found)
			at, passage := -1, 0
			for _, m := range found.Matches {
				if at = strings.Index(m.Text, c.quote); at >= 0 {
					passage = m.Metadata.Passage
					if (m.Metadata.Page == 1) != (c.mediaType == document.PDF) {
						t.Errorf("the passage has page %d, want 1 of a PDF alone", m.Metadata.Page)
					}
					break
				}
			}
			if at < 0 {
				t.Fatalf("search = %+v, want a passage with %q", found.Matches, c.quote)
			}
			var place struct {
				Text   struct{ Quote string }
				Source *struct {
					Start, End int
					Quote      string
				}
			}
			do(t, client, http.MethodGet, fmt.Sprintf("%s/locate?passage=%d&start=%d&end=%d", path, passage, at, at+len(c.quote)), nil, &place)
			switch {
			case place.Text.Quote != c.quote:
				t.Errorf("locate = %+v, want the text %q", place, c.quote)
			case c.inSource != "" && (place.Source == nil || place.Source.Quote != c.inSource || string(c.source[place.Source.Start:place.Source.End]) != c.inSource):
				t.Errorf("locate = %+v, want the source %q", place.Source, c.inSource)
			case c.mediaType == document.PDF && place.Source != nil:
				t.Errorf("locate = %+v, want no source", place.Source)
			}
			if got := download(t, client, path+"/source"); !bytes.Equal(got, c.source) {
				t.Errorf("the source has %d bytes, want the %d that were sent", len(got), len(c.source))
			}
		})
	}
}

// TestHostileDocuments: what is made to break who reads it is refused in words, leaves
// nothing, and no cell.
func TestHostileDocuments(t *testing.T) {
	t.Parallel()
	s := start(t, pgtest.DB(t), "TARS_PLUGIN_BLANKS=0")
	client := s.tenant(t, "acme")
	do(t, client, http.MethodPut, "/v1/collections/c", map[string]any{"embedder": "local"}, nil)
	bomb := docx(t, 1<<30, "a bomb")
	if len(bomb) > 4<<20 {
		t.Fatalf("the bomb has %d bytes, want few", len(bomb))
	}
	whole := pdf("The turbine runs at nine bar.")
	for what, c := range map[string]struct {
		mediaType string
		source    []byte
	}{
		"a zip bomb":                {document.DOCX, bomb},
		"a DOCX without text":       {document.DOCX, docx(t, 0)},
		"half a DOCX":               {document.DOCX, bomb[:len(bomb)/2]},
		"half a PDF":                {document.PDF, whole[:len(whole)/2]},
		"HTML as PDF":               {document.PDF, []byte("<html><p>Words.</p></html>")},
		"PDF as text":               {document.Plain, append(whole, 0, 1, 2)},
		"HTML without text":         {document.HTML, []byte("<html><script>alert(1)</script></html>")},
		"a hundred thousand levels": {document.HTML, bytes.Repeat([]byte("<div>"), 100_000)},
	} {
		t.Run(what, func(t *testing.T) {
			err := client.Put(t.Context(), "/v1/collections/c/documents/new", http.Header{"Content-Type": {c.mediaType}}, c.source, &struct{}{})
			wantProblem(t, err, 400, "invalid", "source: ")
		})
	}
	var collection struct{ Records int }
	var list struct{ Documents []any }
	do(t, client, http.MethodGet, "/v1/collections/c", nil, &collection)
	do(t, client, http.MethodGet, "/v1/collections/c/documents", nil, &list)
	if collection.Records != 0 || len(list.Documents) != 0 {
		t.Errorf("after the refusals there are %d records and %d documents, want none", collection.Records, len(list.Documents))
	}
	if err := gone(descendants(s.cmd.Process.Pid)); err != nil {
		t.Errorf("cells after the refusals: %v", err)
	}
}

// download is the body of an answer.
func download(t *testing.T, c *rest.Client, path string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	body, err := c.Get(ctx, (&url.URL{Path: path}).String())
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
