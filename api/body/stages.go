package body

import (
	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
)

// stage reads the member of that name if it is one of the stages, which searches
// and queries share.
func (d *decoder) stage(name string, s *query.Stages) (known bool, err error) {
	switch name {
	case "fusion":
		s.Fusion, err = d.fusion()
	case "boost":
		s.Boost, err = d.boosting()
	case "min_score":
		s.MinScore, err = d.within(-maxNumber, maxNumber)
	case "diversify":
		s.Diversify, err = d.diversify()
	case "explain":
		s.Explain, err = d.boolean()
	default:
		return false, nil
	}
	return true, err
}

func (d *decoder) fusion() (f query.Fusion, err error) {
	err = d.object(func(name string) (err error) {
		switch name {
		case "method":
			f.Method, err = word(d, query.RRF, query.Sum)
		case "k":
			f.K, err = count(d, 1, query.MaxRRFK)
		case "normalize":
			f.Normalize, err = word(d, query.ZScore, query.MinMax)
		case "weights":
			err = d.object(func(name string) (err error) {
				switch name {
				case "vector":
					f.VectorWeight, err = d.within(0, query.MaxWeight)
				case "lexical":
					f.LexicalWeight, err = d.within(0, query.MaxWeight)
				default:
					err = unknown()
				}
				return err
			})
		default:
			err = unknown()
		}
		return err
	})
	return f, err
}

func (d *decoder) diversify() (*query.Diversify, error) {
	v := &query.Diversify{}
	err := d.object(func(name string) (err error) {
		switch name {
		case "lambda":
			v.Lambda, err = d.within(0, 1)
		case "candidates":
			v.Candidates, err = count(d, 1, query.MaxDiversified)
		default:
			err = unknown()
		}
		return err
	})
	return v, err
}

func (d *decoder) boosting() (*query.Boosting, error) {
	b, given := &query.Boosting{}, false
	err := d.object(func(name string) (err error) {
		switch name {
		case "combine":
			b.Combine, err = word(d, query.Multiply, query.Add)
		case "boosts":
			given = true
			err = d.array(1, query.MaxBoosts, func(int) error {
				boost, err := d.boost()
				b.Boosts = append(b.Boosts, boost)
				return err
			})
		default:
			err = unknown()
		}
		return err
	})
	if err == nil && !given {
		err = missing("boosts")
	}
	return b, err
}

func (d *decoder) boost() (b query.Boost, err error) {
	kinds := 0
	err = d.object(func(name string) (err error) {
		if name == "weight" {
			b.Weight, err = d.above(query.MaxWeight)
			return err
		}
		if kinds++; kinds > 1 {
			return knowledge.Invalid("", "is a second kind of boost; need one for each entry")
		}
		switch name {
		case "decay":
			b.Decay, err = d.decay()
		case "value_factor":
			b.Value, err = d.valueFactor()
		case "match":
			b.Match, err = d.matchBoost()
		default:
			err = unknown()
		}
		return err
	})
	if err == nil && kinds == 0 {
		err = knowledge.Invalid("", "has no kind; need one of decay, value_factor, match")
	}
	return b, err
}

func (d *decoder) decay() (*query.Decay, error) {
	v := &query.Decay{}
	err := d.object(func(name string) (err error) {
		switch name {
		case "field":
			v.Field, err = d.fieldName()
		case "shape":
			v.Shape, err = word(d, query.Exponential, query.Gaussian, query.Linear)
		case "origin":
			err = d.origin(v)
		case "scale":
			v.Scale, err = d.above(maxNumber)
		case "offset":
			var offset *float64
			offset, err = d.within(0, maxNumber)
			v.Offset = *offset
		case "decay":
			if v.At, err = d.above(1); err == nil && v.At == 1 {
				err = knowledge.Invalid("", "is 1; need less")
			}
		default:
			err = unknown()
		}
		return err
	})
	switch {
	case err != nil:
	case v.Field == "":
		err = missing("field")
	case v.Scale == 0:
		err = missing("scale")
	}
	return v, err
}

// origin reads a number, "now" or a time.
func (d *decoder) origin(v *query.Decay) (err error) {
	switch kind := d.json.PeekKind(); kind {
	case '0':
		v.Number, err = d.within(-maxNumber, maxNumber)
		return err
	case '"':
		text, err := d.text(0, 64)
		if err == nil && text != "now" {
			v.Time, err = parseMoment(text)
		}
		return err
	case 0:
		_, err := d.token('"')
		return err
	default:
		return knowledge.Invalid("", "is %s; need a number, \"now\" or a time", kindName(kind))
	}
}

func (d *decoder) valueFactor() (*query.ValueFactor, error) {
	v := &query.ValueFactor{}
	err := d.object(func(name string) (err error) {
		switch name {
		case "field":
			v.Field, err = d.fieldName()
		case "modifier":
			v.Modifier, err = word(d, query.Plain, query.Log1p, query.Sqrt)
		case "factor":
			v.Factor, err = d.above(1e6)
		case "missing":
			v.Missing, err = d.within(-maxNumber, maxNumber)
		default:
			err = unknown()
		}
		return err
	})
	if err == nil && v.Field == "" {
		err = missing("field")
	}
	return v, err
}

func (d *decoder) matchBoost() (*query.MatchBoost, error) {
	m := &query.MatchBoost{}
	err := d.object(func(name string) (err error) {
		if name != "filter" {
			return unknown()
		}
		m.Filter, err = d.filter()
		return err
	})
	if err == nil && m.Filter.IsZero() {
		err = missing("filter")
	}
	return m, err
}
