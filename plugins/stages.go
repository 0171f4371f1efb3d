package plugins

import (
	"context"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
)

// Find implements [query.Plugins].
func (r *Runner) Find(ctx context.Context, tenant knowledge.TenantID, call query.PluginCall) (query.Version, error) {
	name, ref, err := parseCall(call)
	if err != nil {
		return query.Version{}, err
	}
	version, err := r.find(ctx, tenant, name, ref, Capability(call.Capability))
	if err != nil {
		return query.Version{}, err
	}
	return query.Version{Number: version.Number, Digest: version.Digest.String(), Vectors: grants(version.Manifest).Vectors, Clock: grants(version.Manifest).Clock}, nil
}

// Guard implements [query.Plugins].
func (r *Runner) Guard(ctx context.Context, t query.Task) (query.Verdict, query.Receipt, error) {
	input := stepOf(t)
	input.Stage = string(t.Call.Stage)
	if t.Call.Stage != query.Pre {
		return answered(ctx, r, t, input, "candidates", func(output []byte) (query.Verdict, error) {
			return decodePostGuard(output, t.Handout.Candidates)
		})
	}
	input.Query.Limit = t.Handout.Limit
	for i, leg := range t.Handout.Legs {
		if !leg.Filter.IsZero() && r.REST != nil {
			input.Legs[i].Filter = r.REST.Filter(leg.Filter)
		}
	}
	return answered(ctx, r, t, input, "", func(output []byte) (query.Verdict, error) {
		return r.decodePreGuard(output, t.Handout)
	})
}

// Merge implements [query.Plugins].
func (r *Runner) Merge(ctx context.Context, t query.Task) ([]query.Scored, query.Receipt, error) {
	input := stepOf(t)
	input.Lists = make([]listDocument, len(t.Handout.Lists))
	for i, l := range t.Handout.Lists {
		input.Lists[i] = listDocument{Leg: l.Leg, Mode: string(l.Mode), Weight: l.Weight, Entries: make([]entryDocument, len(l.Entries))}
		for j, e := range l.Entries {
			input.Lists[i].Entries[j] = entryDocument{e.Index, e.Score}
		}
	}
	return answered(ctx, r, t, input, "candidates", scoresOf(t))
}

// Rank implements [query.Plugins].
func (r *Runner) Rank(ctx context.Context, t query.Task) ([]query.Scored, query.Receipt, error) {
	return answered(ctx, r, t, stepOf(t), "candidates", scoresOf(t))
}

func scoresOf(t query.Task) func([]byte) ([]query.Scored, error) {
	return func(output []byte) ([]query.Scored, error) { return decodeRank(output, len(t.Handout.Candidates)) }
}

// Synthesize implements [query.Plugins].
func (r *Runner) Synthesize(ctx context.Context, t query.Task) (query.Draft, query.Receipt, error) {
	return answered(ctx, r, t, stepOf(t), "passages", func(output []byte) (query.Draft, error) {
		return decodeSynthesize(output, t.Handout.Candidates)
	})
}

// answered runs the plugin of a task on a document, whose member with the given
// name are the candidates, unless it is empty, and decodes what it gave.
func answered[T any](ctx context.Context, r *Runner, t query.Task, input stepInput, member string, decode func([]byte) (T, error)) (T, query.Receipt, error) {
	var got T
	receipt, err := r.call(ctx, t.Tenant, t.Call, errand{
		input: func(most int64) ([]byte, error) {
			document, err := encode(input, most)
			if err != nil || member == "" {
				return document, err
			}
			return withCandidates(document, member, t.Handout, most)
		},
		decode: func(output []byte) (err error) {
			got, err = decode(output)
			return err
		},
		host:          hostCalls{rest: r.REST, tenant: t.Tenant, handout: t.Handout}.answer,
		deterministic: t.Deterministic, seed: t.Seed,
	})
	return got, receipt, err
}

// withCandidates adds the candidates' documents to an input, as its last member.
// They are made once for all plugins of a step.
func withCandidates(input []byte, member string, h *query.Handout, most int64) ([]byte, error) {
	candidates, err := h.Document(passages)
	if err != nil {
		return nil, err
	}
	whole := make([]byte, 0, len(input)+len(member)+len(candidates)+4)
	whole = append(whole, input[:len(input)-1]...)
	whole = append(whole, `,"`+member+`":`...)
	whole = append(whole, candidates...)
	whole = append(whole, '}')
	if int64(len(whole)) > most {
		return nil, tooLong(most)
	}
	return whole, nil
}

// The documents of abi 1, as plugins/wit/schema defines them.
type (
	queryDocument struct {
		Text  string `json:"text"`
		Limit int    `json:"limit,omitzero"`
	}
	// stepInput is the input of every stage; the candidates come on top.
	stepInput struct {
		ABI    int            `json:"abi"`
		Stage  string         `json:"stage,omitzero"`
		Query  queryDocument  `json:"query"`
		Legs   []legDocument  `json:"legs,omitempty"`
		Lists  []listDocument `json:"lists,omitzero"`
		Config jsontext.Value `json:"config,omitempty"`
	}
	legDocument struct {
		Leg        int            `json:"leg"`
		Collection string         `json:"collection"`
		Owner      string         `json:"owner,omitzero"`
		Mode       string         `json:"mode"`
		Rows       int            `json:"rows"`
		Dimension  int            `json:"dimension"`
		Filter     jsontext.Value `json:"filter,omitempty"`
	}
	listDocument struct {
		Leg     int             `json:"leg"`
		Mode    string          `json:"mode"`
		Weight  float64         `json:"weight"`
		Entries []entryDocument `json:"entries"`
	}
	entryDocument struct {
		Index int     `json:"index"`
		Score float64 `json:"score"`
	}
)

// configOf is a call's configuration, nil for one of no bytes, which is no JSON.
func configOf(call query.PluginCall) jsontext.Value {
	if len(call.Config) == 0 {
		return nil
	}
	return jsontext.Value(call.Config)
}

// stepOf makes what all inputs have.
func stepOf(t query.Task) stepInput {
	in := stepInput{ABI: ABI, Query: queryDocument{Text: t.Handout.Text}, Config: configOf(t.Call)}
	for _, l := range t.Handout.Legs {
		in.Legs = append(in.Legs, legDocument{
			Leg: l.Leg, Collection: string(l.Collection), Owner: string(l.Owner), Mode: string(l.Mode), Rows: l.Rows(), Dimension: l.Dimension,
		})
	}
	return in
}
