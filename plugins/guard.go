package plugins

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tars-project/tars/knowledge/query"
)

// Bounds of what a guard may give back, beside the output cap.
const (
	maxRefusal = 1024   // characters
	maxSpans   = 10_000 // redactions together
	maxHidden  = 1_000  // fields of one candidate
)

// The documents of abi 1, as plugins/wit/schema defines them.
type (
	preGuardOutput struct {
		Refuse   *string           `json:"refuse"`
		Narrow   []narrowsDocument `json:"narrow"`
		DropLegs []int             `json:"drop_legs"`
		Limit    *int              `json:"limit"`
	}
	narrowsDocument struct {
		Leg    *int           `json:"leg"`
		Filter jsontext.Value `json:"filter"`
	}
	postGuardOutput struct {
		Refuse *string        `json:"refuse"`
		Drop   []int          `json:"drop"`
		Redact []spanDocument `json:"redact"`
		Hide   []hideDocument `json:"hide"`
	}
	spanDocument struct {
		Index *int `json:"index"`
		Start *int `json:"start"`
		End   *int `json:"end"`
	}
	hideDocument struct {
		Index  *int     `json:"index"`
		Fields []string `json:"fields"`
	}
)

// decodePreGuard reads what a guard gave before a search. It returns an error
// made for the plugin's owner.
func (r *Runner) decodePreGuard(data []byte, h *query.Handout) (query.Verdict, error) {
	var out preGuardOutput
	if err := strictObject(data, &out); err != nil {
		return query.Verdict{}, err
	}
	known := make(map[int]bool, len(h.Legs))
	for _, l := range h.Legs {
		known[l.Leg] = true
	}
	v := query.Verdict{DropLegs: out.DropLegs}
	var err error
	if v.Refuse, err = refusal(out.Refuse); err != nil {
		return v, err
	}
	if len(out.Narrow) > len(h.Legs) {
		return v, fmt.Errorf("narrow: has %d entries, of %d legs", len(out.Narrow), len(h.Legs))
	}
	for i, n := range out.Narrow {
		switch {
		case n.Leg == nil || n.Filter == nil:
			return v, fmt.Errorf("narrow[%d]: lacks leg or filter", i)
		case !known[*n.Leg]:
			return v, fmt.Errorf("narrow[%d].leg: %d is none of the query's", i, *n.Leg)
		case r.REST == nil:
			return v, fmt.Errorf("narrow[%d].filter: there are none here", i)
		}
		filter, err := r.REST.ParseFilter(n.Filter)
		if err != nil {
			return v, fmt.Errorf("narrow[%d].filter: %w", i, err)
		}
		v.Narrow = append(v.Narrow, query.Narrowing{Leg: *n.Leg, Filter: filter})
	}
	for i, leg := range out.DropLegs {
		if !known[leg] {
			return v, fmt.Errorf("drop_legs[%d]: %d is none of the query's", i, leg)
		}
	}
	if out.Limit != nil {
		if *out.Limit < 1 {
			return v, fmt.Errorf("limit: is %d; need 1 or more", *out.Limit)
		}
		v.Limit = *out.Limit
	}
	return v, nil
}

// decodePostGuard reads what a guard gave for candidates. It returns an error made
// for the plugin's owner.
func decodePostGuard(data []byte, candidates []query.Candidate) (query.Verdict, error) {
	var out postGuardOutput
	if err := strictObject(data, &out); err != nil {
		return query.Verdict{}, err
	}
	v := query.Verdict{Drop: out.Drop}
	var err error
	if v.Refuse, err = refusal(out.Refuse); err != nil {
		return v, err
	}
	switch {
	case len(out.Redact) > maxSpans:
		return v, fmt.Errorf("redact: has %d entries; at most %d are allowed", len(out.Redact), maxSpans)
	case len(out.Hide) > len(candidates):
		return v, fmt.Errorf("hide: has %d entries, of %d candidates", len(out.Hide), len(candidates))
	}
	for i, index := range out.Drop {
		if index < 0 || index >= len(candidates) {
			return v, fmt.Errorf("drop[%d]: is %d, of %d candidates", i, index, len(candidates))
		}
	}
	for i, s := range out.Redact {
		if err := s.check(candidates); err != nil {
			return v, fmt.Errorf("redact[%d]%w", i, err)
		}
		v.Redact = append(v.Redact, query.Span{Index: *s.Index, Start: *s.Start, End: *s.End})
	}
	for i, h := range out.Hide {
		switch {
		case h.Index == nil || *h.Index < 0 || *h.Index >= len(candidates):
			return v, fmt.Errorf("hide[%d].index: is missing or none of %d candidates", i, len(candidates))
		case len(h.Fields) < 1 || len(h.Fields) > maxHidden:
			return v, fmt.Errorf("hide[%d].fields: has %d entries; need 1 to %d", i, len(h.Fields), maxHidden)
		}
		v.Hide = append(v.Hide, query.Hidden{Index: *h.Index, Fields: h.Fields})
	}
	return v, nil
}

// strictObject is strict for documents whose members may all be missing: null is
// none of them.
func strictObject(data []byte, into any) error {
	if jsontext.Value(data).Kind() != '{' {
		return errors.New("output is not the document of this capability: not an object")
	}
	return strict(data, into)
}

// refusal is why a guard refuses, or nothing. One that gives no reason is not taken
// for one that refuses nothing.
func refusal(given *string) (string, error) {
	if given == nil {
		return "", nil
	}
	if n := utf8.RuneCountInString(*given); n < 1 || n > maxRefusal {
		return "", fmt.Errorf("refuse: has %d characters; need 1 to %d", n, maxRefusal)
	}
	return *given, nil
}

func (s spanDocument) check(candidates []query.Candidate) error {
	if s.Index == nil || s.Start == nil || s.End == nil {
		return errors.New(": lacks index, start or end")
	}
	if *s.Index < 0 || *s.Index >= len(candidates) {
		return fmt.Errorf(".index: is %d, of %d candidates", *s.Index, len(candidates))
	}
	return checkRange(candidates[*s.Index].Text, *s.Start, *s.End)
}
