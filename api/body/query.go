package body

import (
	"encoding/json"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
	"github.com/tars-project/tars/plugins"
)

// QueryRequest is the body of query.
type QueryRequest query.Query

func (b *QueryRequest) decode(d *decoder) error { return d.query((*query.Query)(b)) }

// QueryBatch is the body of queryBatch.
type QueryBatch struct {
	Queries []query.Query
	Timeout time.Duration // 0: the default
}

func (b *QueryBatch) decode(d *decoder) error {
	given := false
	err := d.object(func(name string) (err error) {
		switch name {
		case "queries":
			given = true
			err = d.array(1, query.MaxBatchQueries, func(int) error {
				var q query.Query
				err := d.query(&q)
				b.Queries = append(b.Queries, q)
				return err
			})
		case "timeout_ms":
			b.Timeout, err = d.milliseconds()
		default:
			err = unknown()
		}
		return err
	})
	if err == nil && !given {
		err = missing("queries")
	}
	return err
}

func (d *decoder) query(b *query.Query) error {
	given := false
	err := d.object(func(name string) (err error) {
		if known, err := d.stage(name, &b.Stages); known {
			return err
		}
		switch name {
		case "text":
			b.Text, err = d.text(1, query.MaxQueryText)
		case "legs":
			given = true
			err = d.array(1, query.MaxLegs, func(int) error {
				leg, err := d.leg()
				b.Legs = append(b.Legs, leg)
				return err
			})
		case "plugins":
			b.Plugins = []query.PluginCall{} // given, if empty
			err = d.array(0, query.MaxPlugins, func(int) error {
				call, err := d.pluginCall()
				b.Plugins = append(b.Plugins, call)
				return err
			})
		case "limit":
			b.Limit, err = count(d, 1, query.MaxCandidates)
		case "timeout_ms":
			b.Timeout, err = d.milliseconds()
		case "unverified":
			b.Unverified, err = word(d, query.Mark, query.Drop)
		case "deterministic":
			b.Deterministic, err = d.boolean()
		case "cache":
			var use bool
			use, err = d.boolean()
			b.Uncached = !use
		case "seed":
			b.Seed, err = d.text(0, query.MaxSeed)
		default:
			err = unknown()
		}
		return err
	})
	if err == nil && !given {
		err = missing("legs")
	}
	return err
}

func (d *decoder) leg() (leg query.Leg, err error) {
	err = d.object(func(name string) (err error) {
		switch name {
		case "collection":
			leg.Collection, err = parsed(d, knowledge.ParseCollectionName)
		case "owner":
			leg.Owner, err = parsed(d, knowledge.ParseTenantID)
		case "mode":
			leg.Mode, err = d.mode()
		case "text":
			leg.Text, err = d.text(1, query.MaxQueryText)
		case "vector":
			leg.Vector, err = d.vector()
		case "filter":
			leg.Filter, err = d.filter()
		case "candidates":
			leg.Candidates, err = count(d, 1, query.MaxCandidates)
		case "weight":
			leg.Weight, err = d.above(query.MaxWeight)
		case "timeout_ms":
			leg.Timeout, err = d.milliseconds()
		default:
			err = unknown()
		}
		return err
	})
	if err == nil && leg.Collection == "" {
		err = missing("collection")
	}
	return leg, err
}

func (d *decoder) pluginCall() (call query.PluginCall, err error) {
	err = d.object(func(name string) (err error) {
		switch name {
		case "name":
			var n plugins.Name
			n, err = parsed(d, plugins.ParseName)
			call.Name = string(n)
		case "version":
			call.Version, _, err = d.version()
		case "capability":
			call.Capability, err = word(d, query.Guard, query.Merge, query.Rank, query.Synthesize)
		case "stage":
			call.Stage, err = word(d, query.Pre, query.Post)
		case "group":
			call.Group, err = d.text(1, query.MaxGroup)
		case "weight":
			call.Weight, err = d.above(query.MaxWeight)
		case "record":
			call.Record, err = d.boolean()
		case "config":
			call.Config, err = d.config()
		case "on_error":
			call.OnError, err = word(d, query.Skip, query.Fail)
		case "timeout_ms":
			call.Timeout, err = d.milliseconds()
		default:
			err = unknown()
		}
		return err
	})
	switch {
	case err != nil:
		return call, err
	case call.Name == "":
		return call, missing("name")
	case call.Capability == "":
		return call, missing("capability")
	}
	return call, nil
}

func (d *decoder) config() (json.RawMessage, error) {
	if kind := d.json.PeekKind(); kind != '{' && kind != 0 {
		return nil, knowledge.Invalid("", "is %s; need an object", kindName(kind))
	}
	value, err := d.raw(query.MaxConfig)
	return json.RawMessage(value), err
}

// version reads a reference to a version of a plugin, and returns it as it came
// and parsed.
func (d *decoder) version() (string, plugins.Ref, error) {
	s, err := d.text(1, 71)
	if err != nil {
		return "", plugins.Ref{}, err
	}
	ref, err := plugins.ParseRef(s)
	return s, ref, err
}

// parsed reads a string that a Parse function checks.
func parsed[T any](d *decoder, parse func(string) (T, error)) (T, error) {
	s, err := d.text(1, 63)
	if err != nil {
		var none T
		return none, err
	}
	return parse(s)
}
