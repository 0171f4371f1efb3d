package plugins_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/document"
	"github.com/tars-project/tars/knowledge/query"
	"github.com/tars-project/tars/plugins"
	"github.com/tars-project/tars/vmhost/vmhosttest"
	"github.com/tars-project/tars/vmhost/wazerovm"
)

// care is a document of 31 bytes, of which "ö" has two, with a page break in it.
var care = document.Text{
	Title: "Pump 7",
	Text:  "# Care\n\nÖl it.\n\n## When\n\nYearly.",
	Blocks: []document.Block{
		{Kind: document.Heading, Level: 1, Start: 2, End: 6, Page: 1},
		{Kind: document.Paragraph, Start: 8, End: 15, Page: 1},
		{Kind: document.Heading, Level: 2, Start: 20, End: 24, Page: 2},
		{Kind: document.Paragraph, Start: 26, End: 33, Page: 2},
	},
}

func TestDecodeChunk(t *testing.T) {
	good := `{"passages":[{"start":8,"end":15,"headings":["Care"]},{"start":8,"end":33},{"start":26,"end":33}]}`
	want := []document.Passage{{Start: 8, End: 15, Headings: []string{"Care"}, Page: 1}, {Start: 8, End: 33, Page: 1}, {Start: 26, End: 33, Page: 2}}
	if got, err := plugins.DecodeChunk([]byte(good), care); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("DecodeChunk = %+v, %v, want %+v", got, err, want)
	}
	heading := func(h string) string { return fmt.Sprintf(`{"passages":[{"start":0,"end":4,"headings":[%q]}]}`, h) }
	bad := notDocuments()
	for name, output := range map[string]string{
		"none":                 `{"passages":[]}`,
		"too many":             `{"passages":[` + strings.Repeat(`{"start":0,"end":4},`, 10_000) + `{"start":0,"end":4}]}`,
		"unknown member":       `{"passages":[{"start":0,"end":4,"text":"x"}]}`,
		"no end":               `{"passages":[{"start":0}]}`,
		"negative":             `{"passages":[{"start":-1,"end":4}]}`,
		"fraction":             `{"passages":[{"start":0.5,"end":4}]}`,
		"backwards":            `{"passages":[{"start":4,"end":4}]}`,
		"beyond the end":       `{"passages":[{"start":0,"end":34}]}`,
		"inside a character":   `{"passages":[{"start":9,"end":15}]}`,
		"ends in a character":  `{"passages":[{"start":0,"end":9}]}`,
		"out of order":         `{"passages":[{"start":8,"end":15},{"start":0,"end":4}]}`,
		"white space":          `{"passages":[{"start":6,"end":8}]}`,
		"empty heading":        heading(" "),
		"long heading":         heading(strings.Repeat("é", 501)),
		"heading with NUL":     `{"passages":[{"start":0,"end":4,"headings":["a\u0000"]}]}`,
		"heading of bad UTF-8": "{\"passages\":[{\"start\":0,\"end\":4,\"headings\":[\"\xff\"]}]}",
		"too many headings":    `{"passages":[{"start":0,"end":4,"headings":["a"` + strings.Repeat(`,"a"`, 16) + `]}]}`,
	} {
		bad[name] = output
	}
	for name, output := range bad {
		if got, err := plugins.DecodeChunk([]byte(output), care); err == nil {
			t.Errorf("%s: DecodeChunk = %+v, want an error", name, got)
		}
	}
}

// TestParagraphs: a real chunk plugin cuts a document, and may not be called for
// anything else.
func TestParagraphs(t *testing.T) {
	n := newNode(t, wazerovm.New(nil), 4)
	m := manifest("paragraphs")
	m.Capabilities, m.Grants = []plugins.Capability{plugins.Chunk}, nil
	v := n.upload(t, alice, m, vmhosttest.Guest(t, "paragraphs"))
	call, about := query.PluginCall{Name: "paragraphs"}, document.About{ID: "pump.md", Collection: string(manual), MediaType: "text/markdown"}
	got, receipt, err := n.runner.Chunk(t.Context(), alice, call, about, care)
	want := []document.Passage{{Start: 8, End: 15, Headings: []string{"Care"}, Page: 1}, {Start: 26, End: 33, Headings: []string{"Care", "When"}, Page: 2}}
	if err != nil || !reflect.DeepEqual(got, want) || receipt.Plugin != "paragraphs" || receipt.Capability != query.Capability(plugins.Chunk) {
		t.Errorf("Chunk = %+v, %+v, %v, want %+v and a receipt", got, receipt, err, want)
	}
	if pin, err := n.runner.Pin(t.Context(), alice, call); err != nil || pin != v.Digest.String() {
		t.Errorf("Pin = %s, %v, want %s", pin, err, v.Digest)
	}
	var fault *query.PluginError
	if _, _, err := n.runner.Chunk(t.Context(), alice, call, about, document.Text{Text: "# Care", Blocks: care.Blocks[:1]}); !errors.As(err, &fault) || fault.Reason != "error" {
		t.Errorf("Chunk of headings alone = %v, want the plugin's own error", err)
	}
	if _, _, err := n.runner.Chunk(t.Context(), bob, call, about, care); !errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("Chunk of another tenant = %v, want ErrNotFound", err)
	}
	if _, err := n.runner.Pin(t.Context(), bob, call); !errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("Pin of another tenant = %v, want ErrNotFound", err)
	}
	if _, _, err := n.runner.Chunk(t.Context(), alice, call, about, document.Text{Text: strings.Repeat("a", 2<<20)}); err == nil {
		t.Error("Chunk of more than the input cap = nil, want an error")
	}
}
