package body

import (
	"strings"

	"github.com/tars-project/tars/knowledge"
)

// filter reads a condition on metadata.
func (d *decoder) filter() (knowledge.Filter, error) {
	r := filterReader{decoder: d, bytes: knowledge.MaxFilterBytes}
	return r.term(1)
}

// filterReader reads one filter. Its bounds are checked before its parts are
// read; [knowledge.Filter.Validate] would find the same, but too late for a part
// that is itself too large.
type filterReader struct {
	*decoder
	terms int // read so far
	bytes int // left of [knowledge.MaxFilterBytes]
}

// operators are those of a filter, for messages.
const operators = "eq, ne, in, gt, gte, lt, lte, contains, exists, match, and, or, not"

// term reads one term.
func (d *filterReader) term(depth int) (knowledge.Filter, error) {
	var f knowledge.Filter
	if depth > knowledge.MaxFilterDepth {
		return f, knowledge.Invalid("", "is nested deeper than %d levels", knowledge.MaxFilterDepth)
	}
	if d.terms++; d.terms > knowledge.MaxFilterTerms {
		return f, knowledge.Invalid("", "has more than %d terms", knowledge.MaxFilterTerms)
	}
	named := false
	err := d.object(func(name string) (err error) {
		if name == "field" {
			named = true
			if f.Field, err = d.text(1, knowledge.MaxFilterField); err != nil {
				return err
			}
			return d.spend(len(f.Field))
		}
		if f.Op != "" {
			return knowledge.Invalid("", "is a second operator; need one for each term")
		}
		return d.operator(knowledge.Op(name), &f, depth)
	})
	if err != nil {
		return f, err
	}
	switch f.Op {
	case "":
		return f, knowledge.Invalid("", "has no operator; need one of %s", operators)
	case knowledge.OpAnd, knowledge.OpOr, knowledge.OpNot:
		if named {
			return f, knowledge.Invalid("field", "does not go with and, or, not")
		}
	case knowledge.OpMatch: // without a field: the record's text
	default:
		if !named {
			return f, missing("field")
		}
	}
	return f, nil
}

// operator reads the value of the member op into f.
func (d *filterReader) operator(op knowledge.Op, f *knowledge.Filter, depth int) error {
	f.Op = op
	switch op {
	case knowledge.OpAnd, knowledge.OpOr:
		return d.array(0, knowledge.MaxFilterTerms-1, func(int) error {
			term, err := d.term(depth + 1)
			f.Terms = append(f.Terms, term)
			return err
		})
	case knowledge.OpNot:
		term, err := d.term(depth + 1)
		f.Terms = []knowledge.Filter{term}
		return err
	case knowledge.OpIn:
		return d.array(0, knowledge.MaxFilterValues, func(int) error {
			value, err := d.scalar(true)
			f.Values = append(f.Values, value)
			return err
		})
	}
	value, err := d.value(op)
	f.Values = []any{value}
	return err
}

// value reads the one value of a comparison.
func (d *filterReader) value(op knowledge.Op) (any, error) {
	switch op {
	case knowledge.OpEq, knowledge.OpNe, knowledge.OpContains:
		return d.scalar(true)
	case knowledge.OpGt, knowledge.OpGte, knowledge.OpLt, knowledge.OpLte:
		return d.scalar(false)
	case knowledge.OpExists:
		yes, err := d.boolean()
		if err != nil {
			return nil, err
		}
		return yes, d.spend(8)
	case knowledge.OpMatch:
		words, err := d.text(1, knowledge.MaxMatch)
		if err != nil {
			return nil, err
		}
		return words, d.spend(8 + len(words))
	}
	return nil, knowledge.Invalid("", "is not an operator; need one of %s", operators)
}

// spend counts a part that was read.
func (d *filterReader) spend(n int) error {
	if d.bytes -= n; d.bytes < 0 {
		return knowledge.Invalid("", "makes the filter larger than %d bytes", knowledge.MaxFilterBytes)
	}
	return nil
}

// scalar reads a string, a number or, where it is allowed, a bool.
func (d *filterReader) scalar(booleans bool) (any, error) {
	token, err := d.json.ReadToken()
	if err != nil {
		return nil, d.fault(err)
	}
	if err := d.spend(8); err != nil {
		return nil, err
	}
	switch kind := token.Kind(); {
	case kind == '"':
		s := token.String()
		switch {
		case len(s) > knowledge.MaxFilterValue:
			return nil, knowledge.Invalid("", "has %d bytes; at most %d are allowed", len(s), knowledge.MaxFilterValue)
		case strings.IndexByte(s, 0) >= 0:
			return nil, knowledge.CheckText(s)
		}
		return s, d.spend(len(s))
	case kind == '0':
		return exact(token)
	case booleans && (kind == 't' || kind == 'f'):
		return token.Bool(), nil
	case booleans:
		return nil, knowledge.Invalid("", "is %s; need a string, a number, true or false", kindName(kind))
	default:
		return nil, knowledge.Invalid("", "is %s; need a string or a number", kindName(kind))
	}
}
