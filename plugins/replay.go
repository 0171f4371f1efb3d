package plugins

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
	"github.com/tars-project/tars/vmhost"
)

// Bounds of what a replay tells.
const (
	maxDifferences     = 100
	maxDifferenceValue = 300 // bytes of a value
)

// Replayed is what running a recorded call again gave.
type Replayed struct {
	Version  Version
	Same     bool // outcome, output and logs are those of the recording
	Before   RecordedOutcome
	After    RecordedOutcome
	Receipt  query.Receipt
	Diverged int          // the first host call that the recording has no answer to, from 0; -1: none
	Output   []Difference // of the outputs, at most 100
}

// Difference is a place at which two documents differ.
type Difference struct {
	Pointer string         // RFC 6901; empty: the whole
	Before  jsontext.Value // cut, and then a string; nil: it is not there
	After   jsontext.Value
}

// Replay runs a recorded call again, with the version that it was made with, or with
// another when ref is not nil. Host calls get the recorded answers as long as the
// guest asks for the same things in the same order, and from then on the error
// `unavailable`: nothing is looked up anew. What the guest fails with is a part of
// what is returned; errors are those of [Runner.Invoke] otherwise.
func (r *Runner) Replay(ctx context.Context, tenant knowledge.TenantID, rec Recording, ref *Ref) (Replayed, error) {
	seed, err := rec.seed()
	if err != nil {
		return Replayed{}, err
	}
	if ref == nil {
		digest, err := ParseDigest(rec.Digest)
		if err != nil {
			return Replayed{}, knowledge.At("digest", err)
		}
		ref = &Ref{Digest: &digest}
	}
	playback := &playback{asks: rec.HostCalls, diverged: -1}
	version, output, receipt, err := r.run(ctx, tenant, errand{
		name: rec.Plugin, ref: *ref, capability: rec.Capability,
		input:  func(int64) ([]byte, error) { return []byte(rec.Input), nil },
		decode: func([]byte) error { return nil }, // what it was for may be stricter; the outputs are compared
		host:   playback.answer, deterministic: true, seed: seed,
	})
	var plugin *query.PluginError
	if err != nil && !errors.As(err, &plugin) {
		return Replayed{}, err
	}
	after := outcomeDocument(receipt, output, err)
	if rec.Outcome.Outcome == "output" && err == nil { // it gave what its capability does not allow
		after.Outcome, after.Detail = rec.Outcome.Outcome, rec.Outcome.Detail
	}
	replayed := Replayed{Version: version, Before: rec.Outcome, After: after, Receipt: receipt, Diverged: playback.diverged}
	replayed.Output = differences(rec.Outcome.Output, after.Output)
	replayed.Same = rec.Outcome.Outcome == after.Outcome && rec.Outcome.Output == after.Output && slices.Equal(rec.Outcome.Logs, after.Logs)
	return replayed, nil
}

// playback answers host calls from a recording. It is used by one call.
type playback struct {
	asks     []RecordedAsk
	next     int
	diverged int
}

// answer is a [vmhost.HostFunc].
func (p *playback) answer(_ context.Context, call vmhost.HostCall) ([]byte, error) {
	if p.diverged < 0 && p.next < len(p.asks) {
		ask := p.asks[p.next]
		if ask.Function == call.Func && ask.Text == call.Text && ask.Leg == call.Leg && ask.First == call.First && ask.Count == call.Count {
			p.next++
			if ask.Refusal != nil {
				return nil, &vmhost.GuestError{Code: ask.Refusal.Code, Message: ask.Refusal.Message}
			}
			return ask.Answer, nil
		}
	}
	if p.diverged < 0 {
		p.diverged = p.next
	}
	return nil, &vmhost.GuestError{Code: vmhost.CodeUnavailable, Message: "the recording has no answer to this"}
}

// differences are where two outputs differ.
func differences(before, after string) []Difference {
	if before == after {
		return nil
	}
	var a, b any
	if json.Unmarshal([]byte(before), &a) != nil || json.Unmarshal([]byte(after), &b) != nil {
		return []Difference{{Before: shown(before), After: shown(after)}} // no JSON: as they are
	}
	var all []Difference
	compare(&all, "", a, b)
	return all
}

// compare adds the places at which two values differ.
func compare(all *[]Difference, pointer jsontext.Pointer, a, b any) {
	if len(*all) >= maxDifferences {
		return
	}
	switch x := a.(type) {
	case map[string]any:
		if y, ok := b.(map[string]any); ok {
			names := map[string]bool{}
			for name := range x {
				names[name] = true
			}
			for name := range y {
				names[name] = true
			}
			for _, name := range sortedKeys(names) {
				compareMember(all, pointer.AppendToken(name), x, y, name)
			}
			return
		}
	case []any:
		if y, ok := b.([]any); ok {
			for i := range max(len(x), len(y)) {
				at := pointer.AppendToken(fmt.Sprint(i))
				switch {
				case i >= len(x):
					add(all, at, nil, shown(y[i]))
				case i >= len(y):
					add(all, at, shown(x[i]), nil)
				default:
					compare(all, at, x[i], y[i])
				}
			}
			return
		}
	}
	if before, after := whole(a), whole(b); !bytes.Equal(before, after) {
		add(all, pointer, shown(a), shown(b))
	}
}

func compareMember(all *[]Difference, at jsontext.Pointer, x, y map[string]any, name string) {
	a, inA := x[name]
	b, inB := y[name]
	switch {
	case !inA:
		add(all, at, nil, shown(b))
	case !inB:
		add(all, at, shown(a), nil)
	default:
		compare(all, at, a, b)
	}
}

func add(all *[]Difference, at jsontext.Pointer, before, after jsontext.Value) {
	if len(*all) < maxDifferences {
		*all = append(*all, Difference{string(at), before, after})
	}
}

func sortedKeys(names map[string]bool) []string {
	keys := make([]string, 0, len(names))
	for name := range names {
		keys = append(keys, name)
	}
	slices.Sort(keys)
	return keys
}

// whole is a value as JSON.
func whole(v any) jsontext.Value {
	text, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return jsontext.Value(`null`) // unreachable: it was JSON
	}
	return text
}

// shown is a value as JSON, or the start of that as a string where it is long.
func shown(v any) jsontext.Value {
	text := whole(v)
	if len(text) <= maxDifferenceValue {
		return text
	}
	return whole(vmhost.CutText(string(text), maxDifferenceValue) + "…")
}
