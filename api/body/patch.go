package body

import (
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tars-project/tars/knowledge"
)

// CollectionPatch is the body of patchCollection: a merge patch as in RFC 7396.
type CollectionPatch struct {
	Embedder string // empty when left out
	changes  []func(*knowledge.Collection)
}

// Apply returns the definition as the patch makes it. What is back at its default is
// zero. Apply changes nothing of c, and may be called again.
func (b *CollectionPatch) Apply(c knowledge.Collection) knowledge.Collection {
	for _, change := range b.changes {
		change(&c)
	}
	return c
}

// then reads a value and adds what it changes.
func then[T any](b *CollectionPatch, read func() (T, error), change func(*knowledge.Collection, T)) error {
	v, err := read()
	b.changes = append(b.changes, func(c *knowledge.Collection) { change(c, v) })
	return err
}

// orNull is read where null stands for the zero value.
func orNull[T any](d *decoder, read func() (T, error)) func() (T, error) {
	return func() (T, error) {
		if d.json.PeekKind() == 'n' {
			var zero T
			_, err := d.token(jsontext.Kind('n'))
			return zero, err
		}
		return read()
	}
}

func (b *CollectionPatch) decode(d *decoder) error {
	given := false
	err := d.object(func(name string) (err error) {
		given = true
		switch name {
		case "embedder":
			b.Embedder, err = d.text(1, 63)
		case "dimension":
			dimension := func() (int, error) { return count(d, 1, knowledge.MaxDimension) }
			err = then(b, dimension, func(c *knowledge.Collection, v int) { c.Embedder.Dimension = v })
		case "metric":
			err = then(b, d.metric, func(c *knowledge.Collection, v knowledge.Metric) { c.Metric = v })
		case "precision":
			err = then(b, d.precision, func(c *knowledge.Collection, v knowledge.Precision) { c.Precision = v })
		case "index":
			err = b.index(d)
		case "fields":
			err = then(b, orNull(d, d.fields), func(c *knowledge.Collection, v []knowledge.Field) { c.Fields = slices.Clone(v) })
		case "language":
			err = then(b, orNull(d, d.language), func(c *knowledge.Collection, v knowledge.Language) { c.Language = v })
		case "ttl_seconds":
			err = then(b, orNull(d, d.ttl), func(c *knowledge.Collection, v time.Duration) { c.TTL = v })
		case "recall_target":
			err = then(b, orNull(d, d.recallTarget), func(c *knowledge.Collection, v float64) { c.RecallTarget = v })
		case "defaults":
			err = b.defaults(d)
		case "cache":
			err = then(b, orNull(d, d.cache), func(c *knowledge.Collection, v knowledge.AnswerCache) { c.Cache = v })
		default:
			err = unknown()
		}
		return err
	})
	if err == nil && !given {
		err = knowledge.Invalid("", "changes nothing; need at least one member")
	}
	return err
}

// index reads a merge patch of the index. One that makes its kind none takes the
// settings away that none does not have.
func (b *CollectionPatch) index(d *decoder) error {
	if d.json.PeekKind() == 'n' {
		b.changes = append(b.changes, func(c *knowledge.Collection) { c.Index = knowledge.Index{} })
		_, err := d.token('n')
		return err
	}
	rest := &CollectionPatch{} // applied after the kind, wherever that stands
	err := d.object(func(name string) (err error) {
		switch name {
		case "kind":
			err = then(b, orNull(d, d.indexKind), func(c *knowledge.Collection, v knowledge.IndexKind) {
				if c.Index.Kind = v; v == knowledge.IndexNone {
					c.Index = knowledge.Index{Kind: v}
				}
			})
		case "m":
			err = then(rest, orNull(d, d.hnswM), func(c *knowledge.Collection, v int) { c.Index.M = v })
		case "ef_construction":
			err = then(rest, orNull(d, d.hnswEf), func(c *knowledge.Collection, v int) { c.Index.EfConstruction = v })
		case "quantization":
			err = then(rest, orNull(d, d.quantization), func(c *knowledge.Collection, v knowledge.Quantization) { c.Index.Quantization = v })
		default:
			err = unknown()
		}
		return err
	})
	b.changes = append(b.changes, rest.changes...)
	return err
}

// defaults reads a merge patch of the defaults.
func (b *CollectionPatch) defaults(d *decoder) error {
	if d.json.PeekKind() == 'n' {
		b.changes = append(b.changes, func(c *knowledge.Collection) { c.Defaults = knowledge.Defaults{} })
		_, err := d.token('n')
		return err
	}
	return d.object(func(name string) error {
		switch name {
		case "limit":
			return then(b, orNull(d, d.defaultLimit), func(c *knowledge.Collection, v int) { c.Defaults.Limit = v })
		case "mode":
			return then(b, orNull(d, d.mode), func(c *knowledge.Collection, v knowledge.Mode) { c.Defaults.Mode = v })
		case "plugins":
			return then(b, orNull(d, d.defaultPlugins), func(c *knowledge.Collection, v []knowledge.DefaultPlugin) { c.Defaults.Plugins = v })
		}
		return unknown()
	})
}
