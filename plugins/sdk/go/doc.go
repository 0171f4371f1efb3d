// Package tars is the Go SDK for TARS plugins. It carries the world
// tars:plugin@0.1.0 (plugins/wit) by the canonical ABI, so that a plugin is
// plain functions over plain structs:
//
//	package main
//
//	import tars "github.com/tars-project/tars/plugins/sdk/go"
//
//	var _ = tars.Rank(func(ctx *tars.Context, in tars.RankInput) (tars.RankOutput, error) {
//		var out tars.RankOutput
//		for _, c := range in.Candidates {
//			out.Scores = append(out.Scores, tars.Score{Index: c.Index, Score: -float64(len(c.Text))})
//		}
//		return out, nil
//	})
//
//	func main() {}
//
// It is built into a WebAssembly module by
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o plugin.wasm .
//
// and beside its source stands its manifest, plugin.json, which names the
// capabilities it has and the host functions it may use.
//
// # What a plugin can be called for
//
// In the order in which a query meets them: [GuardPre] refuses or narrows it,
// [Merge] fuses what its legs found, [Rank] scores the candidates, [GuardPost]
// drops and redacts, [Synthesize] answers. [Chunk] cuts documents.
// Others are served by [Handle], which gives and takes the documents as bytes. The
// guide for authors is docs/plugins.md.
//
// # What a plugin can rely on
//
// Calls come one at a time. Memory is back at the plugin's image before each,
// so that nothing a call leaves in variables is seen by the next; package
// variables are set once, when the image is made. There are no files, no
// sockets and no environment. Clock and random numbers are there if granted;
// generators of math/rand repeat in each call, [Context.Rand] does not.
//
// Only the host functions that a plugin calls ([Log], [Search], [Embed],
// [Vectors], [VectorsOf]) are imported by its module, so a plugin needs no grant for those
// it does not use.
//
// The package uses the standard library alone and also builds for other
// systems, where the functions of a plugin can be tested; there the host
// functions fail with the code "unavailable".
package tars
