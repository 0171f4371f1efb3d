package tars

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
)

// Size of the documents to warm up with: a query with many candidates. A call
// whose documents are larger may have to grow the memory, and then costs the host
// a new instance.
const (
	warmPassages = 200
	warmText     = 800 // bytes of each
)

// warmUp does what every call does, on made-up documents and without the plugin's
// functions, so that it leaves no trace in the plugin: decoders and encoders learn
// their types, the heap grows to what a call needs, and is empty again.
func (r *registry) warmUp() {
	for _, warm := range r.warm {
		warm()
	}
	runtime.GC()
}

func warmRank() {
	var in RankInput
	through(RankInput{ABI: ABI, Candidates: madeUp()}, &in)
	out := RankOutput{Scores: make([]Score, 0, len(in.Candidates))}
	for _, c := range in.Candidates {
		out.Scores = append(out.Scores, Score{Index: c.Index, Score: c.Score, Reason: c.ID})
	}
	through(out, new(RankOutput))
}

func warmSynthesize() {
	var in SynthesizeInput
	through(SynthesizeInput{ABI: ABI, Passages: madeUp()}, &in)
	var out SynthesizeOutput
	for _, p := range in.Passages[:10] {
		out.Answer += p.Text
		out.Citations = append(out.Citations, Cite(p, 0, len(p.Text)))
	}
	through(out, new(SynthesizeOutput))
}

func warmChunk() {
	made := Document{ID: "made-up", Collection: "made-up", Metadata: json.RawMessage(`{"lang":"en"}`)}
	for _, p := range madeUp() {
		start := len(made.Text)
		made.Text += p.Text + "\n\n"
		made.Blocks = append(made.Blocks, Block{Kind: "paragraph", Start: start, End: start + len(p.Text)})
	}
	var in ChunkInput
	through(ChunkInput{ABI: ABI, Document: made}, &in)
	var out ChunkOutput
	for _, b := range in.Document.Blocks {
		out.Passages = append(out.Passages, Chunked{Start: b.Start, End: b.End, Headings: []string{in.Document.ID}})
	}
	through(out, new(ChunkOutput))
}

// through encodes a document and decodes it again.
func through(document, into any) {
	data, err := json.Marshal(document)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		panic(fmt.Sprintf("tars: a made-up document: %v", err)) // unreachable: they are all valid
	}
}

// madeUp returns passages of the size of a large query's.
func madeUp() []Passage {
	text := strings.Repeat("Words. ", warmText/7)
	all := make([]Passage, warmPassages)
	for i := range all {
		all[i] = Passage{
			Index: i, ID: fmt.Sprint(i), Collection: "made-up", Text: text, Score: 1 / float64(i+1),
			Metadata: json.RawMessage(`{"lang":"en"}`),
		}
	}
	return all
}
