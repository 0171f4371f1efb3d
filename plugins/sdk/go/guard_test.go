package tars

import (
	"encoding/json"
	"fmt"
	"testing"
)

const (
	preDocument  = `{"abi":1,"stage":"pre","query":{"text":"q","limit":7},"legs":[{"leg":0,"collection":"c","mode":"hybrid","filter":{"field":"a","eq":1}}],"config":{"n":2},"later":1}`
	postDocument = `{"abi":1,"stage":"post","query":{"text":"q"},"legs":[{"leg":0}],"candidates":[{"index":0,"id":"a","collection":"c","text":"an é","score":1}],"config":{}}`
)

// guards returns a registry with a function for each stage.
func guards() *registry {
	var r registry
	r.guard(stagePre, guardPreHandler(func(_ *Context, in GuardPreInput) (GuardPreOutput, error) {
		leg := in.Legs[0]
		return GuardPreOutput{Narrow: []Narrowing{{Leg: leg.Leg, Filter: leg.Filter}}, Limit: in.Query.Limit}, nil
	}), nil)
	r.guard(stagePost, guardPostHandler(func(_ *Context, in GuardPostInput) (GuardPostOutput, error) {
		c := in.Candidates[0]
		return GuardPostOutput{Redact: []Redaction{Redact(c, 3, len(c.Text))}}, nil
	}), nil)
	return &r
}

// TestGuardStages: each stage reaches its function, wherever its name stands in
// the document.
func TestGuardStages(t *testing.T) {
	for input, want := range map[string]string{
		preDocument:  `{"narrow":[{"leg":0,"filter":{"field":"a","eq":1}}],"limit":7}`,
		postDocument: `{"redact":[{"index":0,"start":3,"end":5}]}`,
		`{"candidates":[{"text":"abcd","metadata":{"stage":"pre"}}],"stage":"post","abi":1}`: `{"redact":[{"index":0,"start":3,"end":4}]}`,
	} {
		if output, failure := guards().call("guard", []byte(input)); string(output) != want || failure != nil {
			t.Errorf("call(%s) = %s, %v; want %s", input, output, failure, want)
		}
	}
}

// TestGuardOfOneStage: the other takes nothing away, and one that this SDK does
// not know is refused.
func TestGuardOfOneStage(t *testing.T) {
	var r registry
	r.guard(stagePost, guardPostHandler(func(*Context, GuardPostInput) (GuardPostOutput, error) {
		return GuardPostOutput{Refuse: "no"}, nil
	}), nil)
	for input, want := range map[string]string{preDocument: `{}`, postDocument: `{"refuse":"no"}`} {
		if output, failure := r.call("guard", []byte(input)); string(output) != want || failure != nil {
			t.Errorf("call(%s) = %s, %v; want %s", input, output, failure, want)
		}
	}
	for input, code := range map[string]string{
		`{"abi":1,"stage":"later"}`: CodeUnsupported,
		`{"abi":1}`:                 CodeUnsupported,
		`{"abi":2,"stage":"post"}`:  CodeUnsupported,
		`{"abi":1,"stage":7}`:       CodeBadInput,
		`[]`:                        CodeBadInput,
		`{"abi":1,`:                 CodeBadInput,
		`{"abi":1,"x":[`:            CodeBadInput,
		``:                          CodeBadInput,
	} {
		if output, failure := r.call("guard", []byte(input)); output != nil || failure == nil || failure.Code != code {
			t.Errorf("call(%s) = %s, %v; want the code %s", input, output, failure, code)
		}
	}
}

func TestTwoFunctionsOfAStagePanic(t *testing.T) {
	defer func() {
		if got, want := fmt.Sprint(recover()), `tars: stage "post" of guard has two functions`; got != want {
			t.Errorf("the second function panics with %q, want %q", got, want)
		}
	}()
	guards().guard(stagePost, nil, nil)
}

// TestZeroGuardTakesNothing: the zero outputs are empty documents.
func TestZeroGuardTakesNothing(t *testing.T) {
	for _, out := range []any{GuardPreOutput{}, GuardPostOutput{}} {
		if got, err := json.Marshal(out); string(got) != `{}` || err != nil {
			t.Errorf("%T as JSON = %s, %v; want {}", out, got, err)
		}
	}
}

func TestRedactOutsideTheTextPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("Redact beyond the end returned, want a panic")
		}
	}()
	Redact(Passage{Text: "short"}, 3, 9)
}
