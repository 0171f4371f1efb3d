package local_test

import (
	"slices"
	"testing"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/embed/local"
)

// 60 words.
const document = "PostgreSQL is a powerful open source object-relational database system. It has more than 35 years of " +
	"active development. It has earned a strong reputation for reliability, feature robustness, and performance. Extensions " +
	"such as pgvector add similarity search over embeddings. Replication keeps a standby server up to date with the primary " +
	"server, so that a failure of one machine loses nothing at all."

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		fast, err := local.NewFast()
		if err == nil {
			_, err = local.New(fast)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewFast(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := local.NewFast(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEmbedQuestion(b *testing.B) {
	benchmark(b, 1, "How do I set up replication to a standby server?")
}

func BenchmarkEmbedDocument(b *testing.B) { benchmark(b, 1, document) }

func BenchmarkEmbedBatchOf256(b *testing.B) { benchmark(b, 256, document) }

func BenchmarkEmbedNotASCII(b *testing.B) {
	benchmark(b, 1, document+" Naïve “quotes”… and\u00a0more.")
}

func benchmark(b *testing.B, batch int, text string) {
	texts := slices.Repeat([]string{text}, batch)
	for _, e := range []knowledge.Embedder{open(b), openFast(b)} {
		b.Run(e.Info().ID, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.Embed(b.Context(), knowledge.EmbedDocument, texts); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*float64(batch)/b.Elapsed().Seconds(), "texts/s")
		})
	}
}
