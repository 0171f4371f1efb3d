package knowledge

import "context"

// EmbedderInfo names the space that vectors live in. Vectors made under
// different infos must never be compared; a collection pins one.
type EmbedderInfo struct {
	ID        string // provider, such as "local" or "openai"
	Version   string // changes with any change of model or data
	Dimension int    // length of each vector, 1 to [MaxDimension]
}

// EmbedKind says what a text will be used for. Some models embed questions
// and documents differently.
type EmbedKind int

// The kinds of text to embed.
const (
	EmbedDocument EmbedKind = iota
	EmbedQuery
)

// Embedder turns texts into vectors. Implementations are safe for concurrent
// use and pass knowledge/embed/embedtest.
type Embedder interface {
	// Info never changes during the life of an Embedder.
	Info() EmbedderInfo
	// Embed returns one finite vector of Info().Dimension for each text, in
	// order. No texts give no vectors. It returns an [InvalidError] that
	// names texts[i] for a text that is empty, white space or not UTF-8,
	// an error wrapping [ErrUnavailable] when a remote provider fails, and
	// ctx's error when it ends first.
	Embed(ctx context.Context, kind EmbedKind, texts []string) ([][]float32, error)
}
