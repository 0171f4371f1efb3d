package body

import (
	"slices"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
	"github.com/tars-project/tars/plugins"
)

// maxFields is how many fields a collection may declare, of all types together.
const maxFields = knowledge.MaxKeywordFields + knowledge.MaxKeywordsFields + knowledge.MaxNumberFields

// CollectionDefinition is the body of putCollection.
type CollectionDefinition struct {
	Embedder  string // empty when left out
	Dimension int    // 0 when left out
	// Settings has what else is given; its name and embedder are not part of it.
	Settings knowledge.Collection
}

func (b *CollectionDefinition) decode(d *decoder) error {
	return d.object(func(name string) (err error) {
		switch name {
		case "embedder":
			b.Embedder, err = d.text(1, 63)
		case "dimension":
			b.Dimension, err = count(d, 1, knowledge.MaxDimension)
		default:
			err = d.setting(name, &b.Settings)
		}
		return err
	})
}

// setting reads the value of a member that says how a collection is kept and
// searched, wherever a definition stands.
func (d *decoder) setting(name string, c *knowledge.Collection) (err error) {
	switch name {
	case "metric":
		c.Metric, err = d.metric()
	case "index":
		err = d.index(&c.Index)
	case "precision":
		c.Precision, err = d.precision()
	case "fields":
		c.Fields, err = d.fields()
	case "language":
		c.Language, err = d.language()
	case "ttl_seconds":
		c.TTL, err = d.ttl()
	case "recall_target":
		c.RecallTarget, err = d.recallTarget()
	case "defaults":
		c.Defaults, err = d.defaults()
	case "cache":
		c.Cache, err = d.cache()
	default:
		err = unknown()
	}
	return err
}

func (d *decoder) metric() (knowledge.Metric, error) {
	return word(d, knowledge.Cosine, knowledge.L2, knowledge.IP)
}

func (d *decoder) precision() (knowledge.Precision, error) {
	return word(d, knowledge.Float32, knowledge.Float16)
}

func (d *decoder) indexKind() (knowledge.IndexKind, error) {
	return word(d, knowledge.IndexAuto, knowledge.IndexNone, knowledge.IndexHNSW)
}

func (d *decoder) quantization() (knowledge.Quantization, error) {
	return word(d, knowledge.NoQuantization, knowledge.Binary)
}

func (d *decoder) hnswM() (int, error)  { return count(d, 2, 100) }
func (d *decoder) hnswEf() (int, error) { return count(d, 4, 1000) }

func (d *decoder) index(x *knowledge.Index) error {
	return d.object(func(name string) (err error) {
		switch name {
		case "kind":
			x.Kind, err = d.indexKind()
		case "m":
			x.M, err = d.hnswM()
		case "ef_construction":
			x.EfConstruction, err = d.hnswEf()
		case "quantization":
			x.Quantization, err = d.quantization()
		default:
			err = unknown()
		}
		return err
	})
}

func (d *decoder) fields() ([]knowledge.Field, error) {
	fields := []knowledge.Field{}
	err := d.array(0, maxFields, func(int) error {
		var f knowledge.Field
		err := d.object(func(name string) (err error) {
			switch name {
			case "name":
				f.Name, err = d.text(1, knowledge.MaxFilterField)
			case "type":
				f.Type, err = word(d, knowledge.Keyword, knowledge.Keywords, knowledge.Number, knowledge.Boolean, knowledge.Datetime)
			default:
				err = unknown()
			}
			return err
		})
		switch {
		case err != nil:
			return err
		case f.Name == "":
			return missing("name")
		case f.Type == "":
			return missing("type")
		}
		fields = append(fields, f)
		return nil
	})
	return fields, err
}

// language reads a language's name. Which there are is up to the domain.
func (d *decoder) language() (knowledge.Language, error) {
	s, err := d.text(1, 32)
	if err == nil && slices.ContainsFunc([]byte(s), func(c byte) bool { return c < 'a' || c > 'z' }) {
		err = knowledge.Invalid("", "is not a language; need its English name in small letters, or simple")
	}
	return knowledge.Language(s), err
}

func (d *decoder) ttl() (time.Duration, error) {
	n, err := d.integer(1, int64(knowledge.MaxTTL/time.Second))
	return time.Duration(n) * time.Second, err
}

func (d *decoder) recallTarget() (float64, error) {
	target, err := d.number()
	if err == nil && !(target >= 0.5 && target <= 1) {
		err = knowledge.Invalid("", "is out of range; need 0.5 to 1")
	}
	return target, err
}

func (d *decoder) defaults() (v knowledge.Defaults, err error) {
	err = d.object(func(name string) (err error) {
		switch name {
		case "limit":
			v.Limit, err = d.defaultLimit()
		case "mode":
			v.Mode, err = d.mode()
		case "plugins":
			v.Plugins, err = d.defaultPlugins()
		default:
			err = unknown()
		}
		return err
	})
	return v, err
}

func (d *decoder) defaultLimit() (int, error) { return count(d, 1, knowledge.MaxDefaultLimit) }

func (d *decoder) mode() (knowledge.Mode, error) {
	return word(d, knowledge.ModeVector, knowledge.ModeLexical, knowledge.ModeHybrid)
}

func (d *decoder) defaultPlugins() ([]knowledge.DefaultPlugin, error) {
	list := []knowledge.DefaultPlugin{}
	err := d.array(0, knowledge.MaxDefaultPlugins, func(int) error {
		p, err := d.defaultPlugin()
		list = append(list, p)
		return err
	})
	return list, err
}

func (d *decoder) defaultPlugin() (p knowledge.DefaultPlugin, err error) {
	err = d.object(func(name string) (err error) {
		switch name {
		case "name":
			var n plugins.Name
			n, err = parsed(d, plugins.ParseName)
			p.Name = string(n)
		case "version":
			p.Version, _, err = d.version()
		case "capability":
			var c query.Capability
			c, err = word(d, query.Rank, query.Synthesize)
			p.Capability = string(c)
		case "config":
			if kind := d.json.PeekKind(); kind != '{' && kind != 0 {
				return knowledge.Invalid("", "is %s; need an object", kindName(kind))
			}
			var config []byte
			config, err = d.raw(knowledge.MaxDefaultConfig)
			p.Config = string(config)
		default:
			err = unknown()
		}
		return err
	})
	switch {
	case err != nil:
		return p, err
	case p.Name == "":
		return p, missing("name")
	case p.Capability == "":
		return p, missing("capability")
	}
	return p, nil
}

// EstimateRequest is the body of estimateCollection.
type EstimateRequest struct {
	Sizing     knowledge.Sizing
	Collection knowledge.Collection // that it is about; not validated
}

func (b *EstimateRequest) decode(d *decoder) error {
	err := d.object(func(name string) (err error) {
		switch name {
		case "rows":
			b.Sizing.Rows, err = d.integer(1, 10_000_000_000)
		case "dimension":
			b.Collection.Embedder.Dimension, err = count(d, 1, knowledge.MaxDimension)
		case "metric":
			b.Collection.Metric, err = d.metric()
		case "precision":
			b.Collection.Precision, err = d.precision()
		case "index":
			err = d.index(&b.Collection.Index)
		case "text_bytes":
			b.Sizing.Text, err = count(d, 0, knowledge.MaxText)
		case "metadata_bytes":
			b.Sizing.Metadata, err = count(d, 0, knowledge.MaxMetadataBytes)
		default:
			err = unknown()
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case b.Sizing.Rows == 0:
		return missing("rows")
	case b.Collection.Dimension() == 0:
		return missing("dimension")
	}
	return nil
}

func (d *decoder) cache() (c knowledge.AnswerCache, err error) {
	err = d.object(func(name string) (err error) {
		switch name {
		case "max_age_seconds":
			var n int
			n, err = count(d, 1, int64(knowledge.MaxCacheAge/time.Second))
			c.MaxAge = time.Duration(n) * time.Second
		case "max_distance":
			c.MaxDistance, err = d.number()
			if err == nil && !(c.MaxDistance >= 0 && c.MaxDistance <= knowledge.MaxCacheDistance) {
				err = knowledge.Invalid("", "is out of range; need 0 to %g", knowledge.MaxCacheDistance)
			}
		default:
			err = unknown()
		}
		return err
	})
	if err == nil && c.MaxAge == 0 {
		err = missing("max_age_seconds")
	}
	return c, err
}
