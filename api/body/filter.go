package body

import (
	"strings"

	"github.com/tars-project/tars/knowledge"
)

// filter reads a condition on metadata.
func (d *decoder) filter() (knowledge.Filter, error) {
	terms := 0
	return d.term(1, &terms)
}

// term reads one term of a filter. Its bounds are checked before its parts are
// read; [knowledge.Filter.Validate] would find the same, but too late for a term
// that is itself too large.
func (d *decoder) term(depth int, terms *int) (knowledge.Filter, error) {
	var f knowledge.Filter
	if depth > knowledge.MaxFilterDepth {
		return f, knowledge.Invalid("", "is nested deeper than %d levels", knowledge.MaxFilterDepth)
	}
	if *terms++; *terms > knowledge.MaxFilterTerms {
		return f, knowledge.Invalid("", "has more than %d terms", knowledge.MaxFilterTerms)
	}
	named := false
	err := d.object(func(name string) (err error) {
		if name == "field" {
			named = true
			f.Field, err = d.text(1, knowledge.MaxFilterField)
			return err
		}
		if f.Op != "" {
			return knowledge.Invalid("", "is a second operator; need one for each term")
		}
		return d.operator(knowledge.Op(name), &f, depth, terms)
	})
	if err != nil {
		return f, err
	}
	switch f.Op {
	case "":
		return f, knowledge.Invalid("", "has no operator; need one of eq, in, gt, gte, lt, lte, and, or, not")
	case knowledge.OpAnd, knowledge.OpOr, knowledge.OpNot:
		if named {
			return f, knowledge.Invalid("field", "does not go with and, or, not")
		}
	default:
		if !named {
			return f, missing("field")
		}
	}
	return f, nil
}

// operator reads the value of the member op into f.
func (d *decoder) operator(op knowledge.Op, f *knowledge.Filter, depth int, terms *int) error {
	switch op {
	case knowledge.OpAnd, knowledge.OpOr:
		f.Op = op
		return d.array(0, knowledge.MaxFilterTerms-1, func(int) error {
			term, err := d.term(depth+1, terms)
			f.Terms = append(f.Terms, term)
			return err
		})
	case knowledge.OpNot:
		f.Op = op
		term, err := d.term(depth+1, terms)
		f.Terms = []knowledge.Filter{term}
		return err
	case knowledge.OpIn:
		f.Op = op
		return d.array(0, knowledge.MaxFilterValues, func(int) error {
			value, err := d.scalar(true)
			f.Values = append(f.Values, value)
			return err
		})
	case knowledge.OpEq, knowledge.OpGt, knowledge.OpGte, knowledge.OpLt, knowledge.OpLte:
		f.Op = op
		value, err := d.scalar(op == knowledge.OpEq)
		f.Values = []any{value}
		return err
	}
	return knowledge.Invalid("", "is not an operator; need one of eq, in, gt, gte, lt, lte, and, or, not")
}

// scalar reads a string, a number or, where it is allowed, a bool.
func (d *decoder) scalar(booleans bool) (any, error) {
	token, err := d.json.ReadToken()
	if err != nil {
		return nil, d.fault(err)
	}
	switch kind := token.Kind(); {
	case kind == '"':
		s := token.String()
		if len(s) > knowledge.MaxText || strings.IndexByte(s, 0) >= 0 {
			return nil, knowledge.CheckText(s)
		}
		return s, nil
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
