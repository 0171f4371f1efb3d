// Paragraphs is a plugin that makes a passage of each block of a document, and puts
// the headings above it before it. It shows what a chunker of one's own looks like.
package main

import (
	"strings"

	tars "github.com/tars-project/tars/plugins/sdk/go"
)

var _ = tars.Chunk(chunk)

func chunk(_ *tars.Context, in tars.ChunkInput) (tars.ChunkOutput, error) {
	var out tars.ChunkOutput
	var above []tars.Block // the headings of the section, outermost first
	for _, b := range in.Document.Blocks {
		text := in.Document.Text[b.Start:b.End]
		if strings.TrimSpace(text) == "" {
			continue
		}
		if b.Kind == "heading" {
			for len(above) > 0 && above[len(above)-1].Level >= b.Level {
				above = above[:len(above)-1]
			}
			above = append(above, b)
			continue
		}
		p := tars.Chunked{Start: b.Start, End: b.End}
		for _, h := range above {
			p.Headings = append(p.Headings, in.Document.Text[h.Start:h.End])
		}
		out.Passages = append(out.Passages, p)
	}
	if len(out.Passages) == 0 { // headings alone
		return out, &tars.Error{Code: "no-passages", Message: "the document has no text below its headings"}
	}
	return out, nil
}

func main() {}
