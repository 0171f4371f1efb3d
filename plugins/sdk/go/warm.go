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
	// warmDimension is of a vector of each.
	warmDimension = 384
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
	through(RankInput{ABI: ABI, Legs: madeUpLegs(), Candidates: madeUp()}, &in)
	through(RankOutput{Scores: scoresOf(in.Candidates)}, new(RankOutput))
}

func warmMerge() {
	made := MergeInput{ABI: ABI, Legs: madeUpLegs(), Candidates: madeUp()}
	for _, mode := range []string{"vector", "lexical"} {
		list := List{Mode: mode, Weight: 1}
		for _, c := range made.Candidates {
			list.Entries = append(list.Entries, Entry{Index: c.Index, Score: c.Score})
		}
		made.Lists = append(made.Lists, list)
	}
	var in MergeInput
	through(made, &in)
	through(MergeOutput{Scores: scoresOf(in.Candidates)}, new(MergeOutput))
}

func scoresOf(candidates []Passage) []Score {
	scores := make([]Score, 0, len(candidates))
	for _, c := range candidates {
		scores = append(scores, Score{Index: c.Index, Score: c.Score, Reason: c.ID})
	}
	return scores
}

func warmGuardPre() {
	filter := json.RawMessage(`{"field":"lang","eq":"en"}`)
	made := GuardPreInput{ABI: ABI, Stage: stagePre, Legs: []AskedLeg{{Collection: "made-up", Mode: "hybrid", Filter: filter}}}
	var in GuardPreInput
	through(made, &in)
	through(GuardPreOutput{Narrow: []Narrowing{{Leg: in.Legs[0].Leg, Filter: in.Legs[0].Filter}}}, new(GuardPreOutput))
}

func warmGuardPost() {
	var in GuardPostInput
	through(GuardPostInput{ABI: ABI, Stage: stagePost, Legs: madeUpLegs(), Candidates: madeUp()}, &in)
	var out GuardPostOutput
	for _, c := range in.Candidates {
		out.Drop = append(out.Drop, c.Index)
		out.Redact = append(out.Redact, Redact(c, 0, len(c.Text)))
		out.Hide = append(out.Hide, Hiding{Index: c.Index, Fields: []string{"lang"}})
	}
	through(out, new(GuardPostOutput))
}

func warmSynthesize() {
	var in SynthesizeInput
	through(SynthesizeInput{ABI: ABI, Legs: madeUpLegs(), Passages: madeUp()}, &in)
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
	abi := ABI // what is decoded into counts
	data, err := json.Marshal(document)
	if err == nil {
		err = decode(data, into, &abi)
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
			Metadata: json.RawMessage(`{"lang":"en"}`), Legs: []FoundBy{{Row: &i}},
		}
	}
	return all
}

func madeUpLegs() []Leg {
	return []Leg{{Collection: "made-up", Mode: "hybrid", Rows: warmPassages, Dimension: warmDimension}}
}
