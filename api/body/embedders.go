package body

import (
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/embed"
)

// EmbedderDefinition is the body of putEmbedder. The name is not part of it.
type EmbedderDefinition struct {
	embed.Definition
	APIKey string // empty when left out
}

func (b *EmbedderDefinition) decode(d *decoder) error {
	b.Provider = embed.ProviderOpenAI
	err := d.object(func(name string) (err error) {
		switch name {
		case "provider":
			b.Provider, err = word(d, embed.ProviderOpenAI)
		case "base_url":
			b.BaseURL, err = d.text(1, 2048)
		case "model":
			b.Model, err = d.text(1, 200)
		case "api_key":
			b.APIKey, err = d.text(1, 4096)
		default:
			err = d.embedderOption(name, &b.Options)
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case b.BaseURL == "":
		return missing("base_url")
	case b.Model == "":
		return missing("model")
	}
	return nil
}

func (d *decoder) embedderOption(name string, o *embed.Options) (err error) {
	const longestPrefix = 1000 // bytes
	switch name {
	case "dimensions":
		o.Dimensions, err = count(d, 1, knowledge.MaxDimension)
	case "query_prefix":
		o.QueryPrefix, err = d.text(0, longestPrefix)
	case "document_prefix":
		o.DocumentPrefix, err = d.text(0, longestPrefix)
	case "batch_size":
		o.BatchSize, err = count(d, 1, 2048)
	case "parallel":
		o.Parallel, err = count(d, 1, 16)
	case "timeout_ms":
		var ms int
		ms, err = count(d, 100, 120_000)
		o.Timeout = time.Duration(ms) * time.Millisecond
	default:
		err = unknown()
	}
	return err
}

// MaxEmbedTexts is how many texts embedTexts takes.
const MaxEmbedTexts = 1000

// EmbedRequest is the body of embedTexts.
type EmbedRequest struct {
	Embedder string // empty when left out
	Kind     knowledge.EmbedKind
	Packed   bool // vectors in base64
	Texts    []string
}

func (b *EmbedRequest) decode(d *decoder) error {
	err := d.object(func(name string) (err error) {
		var chosen string
		switch name {
		case "embedder":
			b.Embedder, err = d.text(1, 63)
		case "kind":
			if chosen, err = word(d, "query", "document"); chosen == "query" {
				b.Kind = knowledge.EmbedQuery
			}
		case "encoding":
			chosen, err = word(d, "json", "base64")
			b.Packed = chosen == "base64"
		case "texts":
			err = d.array(1, MaxEmbedTexts, func(int) error {
				text, err := d.text(1, knowledge.MaxText)
				b.Texts = append(b.Texts, text)
				return err
			})
		default:
			err = unknown()
		}
		return err
	})
	if err == nil && b.Texts == nil {
		err = missing("texts")
	}
	return err
}
