package document_test

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/tars-project/tars/knowledge/document"
)

func TestCodec(t *testing.T) {
	text := parse(t, document.HTML, read(t, "testdata/sql-vacuum.html"))
	got, err := document.Decode(text.Append(nil), document.Limits{})
	if err != nil || !reflect.DeepEqual(got, text) {
		t.Errorf("Decode = %v, want the same text", err)
	}
	rapid.Check(t, func(t *rapid.T) {
		text := randomText(t)
		if got, err := document.Decode(text.Append(nil), document.Limits{}); err != nil || !reflect.DeepEqual(got, text) {
			t.Fatalf("Decode = %+v, %v, want %+v", got, err, text)
		}
	})
}

func TestDecodeRefuses(t *testing.T) {
	good := parse(t, document.Markdown, "# A\n\nb ü\n")
	form := good.Append(nil)
	for i := range form {
		if _, err := document.Decode(form[:i], document.Limits{}); err == nil {
			t.Errorf("Decode of the first %d bytes = nil, want an error", i)
		}
	}
	for name, change := range map[string]func(t *document.Text){
		"heading of no level": func(t *document.Text) { t.Blocks[0].Level = 0 },
		"level of another":    func(t *document.Text) { t.Blocks[1].Level = 1 },
		"unknown kind":        func(t *document.Text) { t.Blocks[1].Kind = 9 },
		"beyond the end":      func(t *document.Text) { t.Blocks[1].End = len(t.Text) + 1 },
		"inside a character":  func(t *document.Text) { t.Blocks[1].End = len(t.Text) - 2 },
		"segment beyond":      func(t *document.Text) { t.Segments[0].Length++; t.Segments[0].SourceLength++ },
		"lengths differ":      func(t *document.Text) { t.Segments[0].SourceLength-- },
		"bad UTF-8":           func(t *document.Text) { t.Title = "\xff" },
		"NUL":                 func(t *document.Text) { t.Title = "\x00" },
	} {
		text, err := document.Decode(form, document.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		change(&text)
		if _, err := document.Decode(text.Append(nil), document.Limits{}); err == nil {
			t.Errorf("%s: Decode = nil, want an error", name)
		}
	}
	if _, err := document.Decode(append(form, 0), document.Limits{}); err == nil {
		t.Error("Decode with a byte more = nil, want an error")
	}
	if _, err := document.Decode(form, document.Limits{Text: 5}); err == nil {
		t.Error("Decode of more text than allowed = nil, want an error")
	}
}

// FuzzDecode: what comes from a jailed process is checked, whatever it is.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("TARSDOC1"))
	f.Add(document.Text{Text: "# A", Blocks: []document.Block{{Kind: document.Heading, Level: 1, Start: 2, End: 3}}, Segments: []document.Segment{{Length: 3, SourceLength: 3}}}.Append(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		text, err := document.Decode(data, document.Limits{})
		if err != nil {
			return
		}
		if err := text.Check(); err != nil {
			t.Fatalf("Decode gave what is wrong: %v", err)
		}
		for _, p := range document.Chunk(text, document.Options{Words: 3}) {
			_, _ = p.Embedded(text, text.Title)
			text.Source(p.Start, p.End)
		}
	})
}
