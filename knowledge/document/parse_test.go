package document_test

import (
	"context"
	"errors"
	"fmt"
	"html"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/document"
)

func read(t testing.TB, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func parse(t testing.TB, mediaType, source string) document.Text {
	t.Helper()
	text, err := document.Parse(t.Context(), mediaType, []byte(source), document.Limits{})
	if err != nil {
		t.Fatalf("Parse(%s, %.50q) = %v, want nil", mediaType, source, err)
	}
	return text
}

// blocks are a text's blocks, such as "heading1:Care".
func blocks(t document.Text) []string {
	var all []string
	for _, b := range t.Blocks {
		level := ""
		if b.Level > 0 {
			level = fmt.Sprint(b.Level)
		}
		all = append(all, b.Kind.String()+level+":"+t.Text[b.Start:b.End])
	}
	return all
}

func TestParseText(t *testing.T) {
	for _, test := range []struct {
		name, mediaType, source, title string
		want                           []string
	}{
		{"paragraphs", "text/plain; charset=utf-8", " one\ntwo \n\n \t\nthree", "", []string{"paragraph:one\ntwo", "paragraph:three"}},
		{"byte order mark", document.Plain, "\ufeffone", "", []string{"paragraph:one"}},
		{"Latin 1", "text/plain; charset=iso-8859-1", "Gr\xf6\xdfe", "", []string{"paragraph:Größe"}},
		{"UTF-16", document.Plain, "\xff\xfeG\x00r\x00\xf6\x00=\xd8M\xdc", "", []string{"paragraph:Grö👍"}},
		{"UTF-16 by name", "text/plain; charset=utf-16be", "\x00G\x00r\x00\xf6", "", []string{"paragraph:Grö"}},
		{"headings", document.Markdown, "# A\n\nsome *text*\n\nB\n---\n### C ###\n", "", []string{"heading1:A", "paragraph:some *text*", "heading2:B", "heading3:C"}},
		{"front matter", document.Markdown, "---\ntitle: \"The pump\"\ntags: [a]\n---\ntext\n", "The pump", []string{"paragraph:text"}},
		{"no front matter", document.Markdown, "---\ntitle: x\n", "", []string{"paragraph:title: x"}},
		{"lists", document.Markdown, "- one\n- two\n  more\n\n  1. three\n", "", []string{"item:one", "item:two\n  more", "item:three"}},
		{"code", document.Markdown, "a\n\n```go\nx := 1\n\ny()\n```\n\n    indented\n", "", []string{"paragraph:a", "code:x := 1\n\ny()", "code:indented"}},
		{"table", document.Markdown, "| a | b |\n|---|---|\n| 1 | 2 |\n", "", []string{"table:a | b", "table:1 | 2"}},
		{"quote", document.Markdown, "> said\n> so\n", "", []string{"paragraph:said\n> so"}},
		{"page", document.HTML, "<title>T &amp; U</title><body><nav>skip</nav><h1>A\n b</h1><p>one<br>two <b>three</b>&nbsp;four<p>five</body>", "T & U", []string{"heading1:A b", "paragraph:one\ntwo three\u00a0four", "paragraph:five"}},
		{"hidden", document.HTML, "<div class='x navheader'>no<div>no</div></div><p hidden>no</p><script>no</script><p>yes</p>", "", []string{"paragraph:yes"}},
		{"boxes", document.HTML, "<h1>A</h1><div class='note'><h3>Note</h3><p>n</p></div><p>a<aside><h2>B</h2></aside>", "", []string{"heading1:A", "paragraph:Note", "paragraph:n", "paragraph:a", "paragraph:B"}},
		{"items", document.HTML, "<ul><li>one<li><p>two</p></ul><dl><dt>t<dd>d</dl>", "", []string{"item:one", "item:two", "item:t", "item:d"}},
		{"preformatted", document.HTML, "<pre>\n a  b\n\tc</pre>", "", []string{"code:a  b\n\tc"}},
		{"rows", document.HTML, "<table><tr><th>a<th>b<tr><td>1</td><td>2</td></table>", "", []string{"table:a\tb", "table:1\t2"}},
		{"entities", document.HTML, "<p>a&lt;b &copy;&#169;&#x2014; &unknown; &", "", []string{"paragraph:a<b ©©— &unknown; &"}},
		{"declared charset", document.HTML, "<meta charset=windows-1252><p>\x93Gr\xf6\xdfe\x94", "", []string{"paragraph:“Größe”"}},
		{"never closed", document.HTML, "<div><h2>A<p>b", "", []string{"heading2:A", "heading2:b"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := parse(t, test.mediaType, test.source)
			if got := blocks(text); !slices.Equal(got, test.want) {
				t.Errorf("blocks = %q, want %q", got, test.want)
			}
			if text.Title != test.title {
				t.Errorf("title = %q, want %q", text.Title, test.title)
			}
			same(t, text, []byte(test.source))
		})
	}
}

// same fails when a segment is not what the source has there.
func same(t testing.TB, text document.Text, source []byte) {
	t.Helper()
	if err := text.Check(); err != nil {
		t.Errorf("Check = %v, want nil", err)
	}
	for _, s := range text.Segments {
		if s.Source+s.SourceLength > len(source) {
			t.Fatalf("segment %+v is beyond the source of %d bytes", s, len(source))
		}
		if has, is := string(source[s.Source:s.Source+s.SourceLength]), text.Text[s.Text:s.Text+s.Length]; !s.Converted && has != is {
			t.Fatalf("segment %+v is %q in the source and %q in the text", s, has, is)
		}
	}
}

// TestManualPage: every range of a page's blocks leads to the bytes that a reader
// would look for.
func TestManualPage(t *testing.T) {
	source := read(t, "testdata/sql-vacuum.html")
	text := parse(t, document.HTML, source)
	same(t, text, []byte(source))
	if text.Title != "VACUUM" || len(text.Blocks) < 50 || strings.Contains(text.Text, "Prev") {
		t.Errorf("title %q, %d blocks, navigation %t, want VACUUM, at least 50, none", text.Title, len(text.Blocks), strings.Contains(text.Text, "Prev"))
	}
	for _, quote := range []string{"reclaims storage occupied by dead tuples", "VACUUM ANALYZE performs a VACUUM", "it's necessary to do VACUUM periodically"} {
		start := strings.Index(text.Text, quote)
		from, to, ok := text.Source(start, start+len(quote))
		if start < 0 || !ok {
			t.Errorf("%q is at %d, with a source %t", quote, start, ok)
			continue
		}
		var plain strings.Builder
		inTag := false
		for _, r := range source[from:to] {
			if r == '<' || r == '>' {
				inTag = r == '<'
			} else if !inTag {
				plain.WriteRune(r)
			}
		}
		if got := strings.Join(strings.Fields(html.UnescapeString(plain.String())), " "); got != quote {
			t.Errorf("the source of %q is %q", quote, source[from:to])
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, test := range []struct{ name, mediaType, source, want string }{
		{"another type", "image/png", "x", "need one of text/plain"},
		{"no type", "", "x", "need one of"},
		{"empty", document.Plain, "", "is empty"},
		{"white space", document.Plain, " \n\t\n", "has no text"},
		{"only tags", document.HTML, "<p></p><script>x</script>", "has no text"},
		{"only front matter", document.Markdown, "---\ntitle: x\n---\n", "has no text"},
		{"bad UTF-8", document.Plain, "ab\xffc", "not valid UTF-8 about byte 2"},
		{"unknown charset", "text/plain; charset=klingon", "x", "charset that is not known"},
		{"charset that is not read", "text/plain; charset=shift_jis", "x", "charset that is not read"},
		{"odd UTF-16", document.Plain, "\xff\xfea", "no UTF-16"},
		{"binary as text", document.Plain, "%PDF-1.4\x00", "byte 8 is NUL"},
		{"text as PDF", document.PDF, "hello", "no PDF"},
		{"cut PDF", document.PDF, "%PDF-1.4\n1 0 obj\n<<", "cannot be read"},
		{"text as DOCX", document.DOCX, "hello", "cannot be read"},
	} {
		_, err := document.Parse(t.Context(), test.mediaType, []byte(test.source), document.Limits{})
		var invalid *knowledge.InvalidError
		if !errors.As(err, &invalid) || !strings.Contains(invalid.Detail, test.want) {
			t.Errorf("%s: Parse = %v, want an InvalidError with %q", test.name, err, test.want)
		}
	}
}

func TestParseIsBounded(t *testing.T) {
	long := strings.Repeat("word ", 1000)
	for _, test := range []struct {
		name, mediaType, source string
		limits                  document.Limits
		want                    string
	}{
		{"source", document.Plain, long, document.Limits{Source: 4999}, "has 5000 bytes; at most 4999"},
		{"text", document.Plain, long, document.Limits{Text: 4999}, "more than 4999 bytes of text"},
		{"blocks", document.Plain, strings.Repeat("a\n\n", 11), document.Limits{Blocks: 10}, "more than 10 blocks"},
		{"segments", document.HTML, "<p>" + strings.Repeat("a<b>b</b>  ", 11), document.Limits{Segments: 10}, "more than 10 pieces"},
	} {
		_, err := document.Parse(t.Context(), test.mediaType, []byte(test.source), test.limits)
		var invalid *knowledge.InvalidError
		if !errors.As(err, &invalid) || !strings.Contains(invalid.Detail, test.want) {
			t.Errorf("%s: Parse = %v, want an InvalidError with %q", test.name, err, test.want)
		}
	}
	for name, source := range map[string]string{
		"nested tags":     strings.Repeat("<div>", 100_000) + "x",
		"nested quotes":   strings.Repeat("> ", 10_000) + "x",
		"nested lists":    strings.Repeat("- ", 10_000) + "x",
		"open brackets":   strings.Repeat("[", 100_000),
		"open tags":       strings.Repeat("<", 100_000) + "x",
		"emphasis":        strings.Repeat("*a_ ", 100_000),
		"one long line":   strings.Repeat("x", 10<<20),
		"many attributes": "<p " + strings.Repeat("a=b ", 100_000) + ">x",
	} {
		for _, mediaType := range []string{document.Markdown, document.HTML} {
			if text, err := document.Parse(t.Context(), mediaType, []byte(source), document.Limits{}); err == nil {
				same(t, text, []byte(source))
			} else if !errors.Is(err, knowledge.ErrInvalid) {
				t.Errorf("%s as %s: Parse = %v, want text or an InvalidError", name, mediaType, err)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := document.Parse(ctx, document.HTML, []byte(strings.Repeat("<p>a", 10_000)), document.Limits{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Parse(cancelled) = %v, want context.Canceled", err)
	}
}

func TestMediaTypes(t *testing.T) {
	for name, want := range map[string]string{
		"a.md": document.Markdown, "A.HTM": document.HTML, "x/y.txt": document.Plain, "z.PDF": document.PDF, "w.docx": document.DOCX, "a.exe": "", "README": "",
	} {
		if got, ok := document.MediaTypeOf(name); got != want || ok != (want != "") {
			t.Errorf("MediaTypeOf(%s) = %q, %t, want %q", name, got, ok, want)
		}
	}
	if got, _, err := document.MediaType("Application/XHTML+xml; charset=UTF-8"); got != document.HTML || err != nil {
		t.Errorf("MediaType of XHTML = %q, %v, want text/html", got, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(uint8(0), "one\n\ntwo")
	f.Add(uint8(1), "---\ntitle: x\n---\n# A\n| a |\n|---|\n- b\n> c")
	f.Add(uint8(2), "<title>a</title><div class=nav>x</div><pre>\n a</pre><p>&amp;&#0;\x00<td>x")
	f.Add(uint8(2), "\ufeff<p>ü&nbsp; \t b")
	f.Add(uint8(4), "%PDF-1.4\n")
	types := document.Supported()
	f.Fuzz(func(t *testing.T, kind uint8, source string) {
		text, err := document.Parse(t.Context(), types[int(kind)%len(types)], []byte(source), document.Limits{Text: 1 << 20})
		if err != nil {
			if !errors.Is(err, knowledge.ErrInvalid) {
				t.Fatalf("Parse(%q) = %v, want text or an InvalidError", source, err)
			}
			return
		}
		same(t, text, []byte(source))
		for _, p := range document.Chunk(text, document.Options{Words: 5}) {
			if p.End <= p.Start || !boundary(text.Text, p.Start) || !boundary(text.Text, p.End) {
				t.Fatalf("passage %+v of %q", p, text.Text)
			}
		}
		if again, err := document.Decode(text.Append(nil), document.Limits{}); err != nil || again.Text != text.Text || len(again.Segments) != len(text.Segments) {
			t.Fatalf("Decode of what Append wrote = %v", err)
		}
	})
}

func BenchmarkParseHTML(b *testing.B) {
	source := read(b, "testdata/sql-vacuum.html")
	b.SetBytes(int64(len(source)))
	for b.Loop() {
		parse(b, document.HTML, source)
	}
}
