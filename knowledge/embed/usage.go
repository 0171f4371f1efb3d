package embed

import (
	"context"

	"github.com/tars-project/tars/knowledge"
)

// Usage is what embedding some texts took.
type Usage struct {
	Texts  int   // that were embedded
	Bytes  int64 // of these texts, UTF-8
	Tokens int64 // that a server counted; 0 when it told none, and for embedders of the process
}

// UsageOf is the usage of texts as far as it shows in them.
func UsageOf(texts []string) Usage {
	u := Usage{Texts: len(texts)}
	for _, text := range texts {
		u.Bytes += int64(len(text))
	}
	return u
}

// Measured is an embedder that knows what its work took.
type Measured interface {
	knowledge.Embedder
	// EmbedMeasured is Embed and says what it took, also when it fails.
	EmbedMeasured(ctx context.Context, kind knowledge.EmbedKind, texts []string) ([][]float32, Usage, error)
}

// EmbedMeasured embeds with e and says what it took.
func EmbedMeasured(ctx context.Context, e knowledge.Embedder, kind knowledge.EmbedKind, texts []string) ([][]float32, Usage, error) {
	if m, ok := e.(Measured); ok {
		return m.EmbedMeasured(ctx, kind, texts)
	}
	vectors, err := e.Embed(ctx, kind, texts)
	if err != nil {
		return nil, Usage{}, err
	}
	return vectors, UsageOf(texts), nil
}
