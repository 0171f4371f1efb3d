package document_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/tars-project/tars/knowledge/document"
)

func TestChunk(t *testing.T) {
	text := parse(t, document.Markdown, `# Pump 7

It is old.

## Care

Oil it once a year. Use the red can.

- valves
- gaskets

## Empty

# Index
`)
	var got []string
	for _, p := range document.Chunk(text, document.Options{}) {
		embedded, prefix := p.Embedded(text, "Pump 7")
		if embedded[prefix:] != text.Text[p.Start:p.End] {
			t.Errorf("Embedded = %q with a prefix of %d, want the passage %q after it", embedded, prefix, text.Text[p.Start:p.End])
		}
		got = append(got, embedded)
	}
	want := []string{
		"Pump 7\n\nIt is old.",
		"Pump 7 › Care\n\nOil it once a year. Use the red can.\n\n- valves\n- gaskets",
		"Pump 7\n\nEmpty",
		"Pump 7\n\nIndex",
	}
	if !slices.Equal(got, want) {
		t.Errorf("passages %q, want %q", got, want)
	}
}

// TestChunkSizes: sentences are packed up to the number of words, the last one is
// repeated, and a short rest is joined.
func TestChunkSizes(t *testing.T) {
	sentence := func(i int) string { return fmt.Sprintf("Sentence %d has just these words in it.", i) } // 8
	var all []string
	for i := range 41 {
		all = append(all, sentence(i))
	}
	text := parse(t, document.Plain, strings.Join(all, " "))
	passages := document.Chunk(text, document.Options{Words: 80})
	var got []int
	for i, p := range passages {
		got = append(got, strings.Count(text.Text[p.Start:p.End], "Sentence"))
		if i > 0 && !strings.HasPrefix(text.Text[p.Start:p.End], sentence(9*i)) {
			t.Errorf("passage %d begins with %.20q, want the last sentence of the one before", i, text.Text[p.Start:p.End])
		}
	}
	if want := []int{10, 10, 10, 10, 5}; !slices.Equal(got, want) {
		t.Errorf("sentences of the passages = %v, want %v", got, want)
	}
	for name, source := range map[string]string{
		"one word":  strings.Repeat("a", 100_000),
		"no spaces": strings.Repeat("数据库复制需要两台服务器", 3000),
		"one line":  strings.Repeat("word ", 100_000),
	} {
		text := parse(t, document.Plain, source)
		for _, p := range document.Chunk(text, document.Options{}) {
			if p.End-p.Start > 5000 {
				t.Errorf("%s: a passage has %d bytes, want at most 5000", name, p.End-p.Start)
			}
		}
	}
}

// TestTermsStayWithTheirDefinitions: a short item does not end a passage.
func TestTermsStayWithTheirDefinitions(t *testing.T) {
	var html strings.Builder
	for i := range 20 {
		fmt.Fprintf(&html, "<dt>Term%d</dt><dd>%s</dd>", i, strings.Repeat("Some words that say what it is. ", 3))
	}
	text := parse(t, document.HTML, "<dl>"+html.String()+"</dl>")
	passages := document.Chunk(text, document.Options{})
	for i, p := range passages {
		if s := text.Text[p.Start:p.End]; len(passages) < 3 || !strings.HasPrefix(s, "Term") || !strings.HasSuffix(s, ".") {
			t.Errorf("passage %d of %d is %.20q … %q, want it to begin with a term and to end with a definition", i, len(passages), s, s[max(0, len(s)-10):])
		}
	}
}

// TestChunkCovers: whatever the text, passages are in order, on boundaries of
// characters, and have every character of every block that is no white space, but
// headings with something below.
func TestChunkCovers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := randomText(t)
		if err := text.Check(); err != nil {
			t.Fatalf("the generator is wrong: %v", err)
		}
		options := document.Options{Words: rapid.IntRange(1, 40).Draw(t, "words"), Overlap: rapid.IntRange(-1, 3).Draw(t, "overlap")}
		covered := make([]bool, len(text.Text))
		last := 0
		for _, p := range document.Chunk(text, options) {
			if p.Start < last || p.End <= p.Start || p.End > len(text.Text) || !boundary(text.Text, p.Start) || !boundary(text.Text, p.End) {
				t.Fatalf("passage %+v after one that begins at %d, of %d bytes", p, last, len(text.Text))
			}
			last = p.Start
			for i := p.Start; i < p.End; i++ {
				covered[i] = true
			}
		}
		for i, b := range text.Blocks {
			if b.Kind == document.Heading && i+1 < len(text.Blocks) {
				continue
			}
			for j, r := range text.Text[b.Start:b.End] {
				if !unicode.IsSpace(r) && !covered[b.Start+j] {
					t.Fatalf("byte %d of block %d (%+v) is in no passage: %q", j, i, b, text.Text[b.Start:b.End])
				}
			}
		}
	})
}

func boundary(s string, i int) bool { return i == len(s) || utf8.RuneStart(s[i]) }

// randomText draws a text of blocks of all kinds.
func randomText(t *rapid.T) document.Text {
	var all document.Text
	var text strings.Builder
	for i := range rapid.IntRange(1, 12).Draw(t, "blocks") {
		text.WriteString(rapid.SampledFrom([]string{"", "\n\n", " - "}).Draw(t, "between"))
		b := document.Block{Kind: document.Kind(rapid.IntRange(0, 4).Draw(t, "kind")), Start: text.Len()}
		if b.Kind == document.Heading {
			b.Level = rapid.IntRange(1, 6).Draw(t, "level")
		}
		word := rapid.SampledFrom([]string{"a", "Ärger ", "word ", "end. ", "数据", "\n", "👍🏽 ", "x-1! ", "  ", "e\u0301", "… "})
		text.WriteString("." + strings.Join(rapid.SliceOfN(word, 0, 60).Draw(t, fmt.Sprint("words of ", i)), ""))
		b.End = text.Len()
		all.Blocks = append(all.Blocks, b)
	}
	all.Text = text.String()
	return all
}

func BenchmarkChunk(b *testing.B) {
	text := parse(b, document.HTML, read(b, "testdata/sql-vacuum.html"))
	b.SetBytes(int64(len(text.Text)))
	for b.Loop() {
		document.Chunk(text, document.Options{})
	}
}
