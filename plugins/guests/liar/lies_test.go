package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	tars "github.com/tars-project/tars/plugins/sdk/go"
)

// TestGuardLies: they are about the input that they answer.
func TestGuardLies(t *testing.T) {
	const (
		pre  = `{"abi":1,"stage":"pre","legs":[{}],"config":{"mode":%q}}`
		post = `{"abi":1,"stage":"post","candidates":[{"text":"né"}],"config":{"mode":%q}}`
	)
	guard := tell(guardLies())
	for _, c := range []struct{ document, mode, want string }{
		{pre, "other-stage", `{"drop":[0]}`},
		{pre, "no-leg", `{"drop_legs":[1]}`},
		{pre, "narrow-no-leg", `{"narrow":[{"leg":1,"filter":{"field":"a","eq":1}}]}`},
		{post, "other-stage", `{"limit":1}`},
		{post, "out-of-range", `{"drop":[1]}`},
		{post, "redact-no-candidate", `{"redact":[{"index":1,"start":0,"end":1}]}`},
		{post, "redact-beyond-end", `{"redact":[{"index":0,"start":0,"end":4}]}`},
		{post, "redact-inside-rune", `{"redact":[{"index":0,"start":2,"end":3}]}`},
		{post, "hide-no-candidate", `{"hide":[{"index":1,"fields":["a"]}]}`},
	} {
		got, err := guard(&tars.Context{}, fmt.Appendf(nil, c.document, c.mode))
		if err != nil || string(got) != c.want {
			t.Errorf("%s = %s, %v; want %s", c.mode, got, err, c.want)
		}
	}
}

// TestLiesAreTold: every mode of every capability answers, whatever the input lacks.
func TestLiesAreTold(t *testing.T) {
	for name, lies := range map[string]map[string]lie{"guard": guardLies(), "rank": rankLies(), "synthesize": synthesizeLies()} {
		for mode := range lies {
			document, err := json.Marshal(map[string]any{"config": map[string]string{"mode": mode}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tell(lies)(&tars.Context{}, document); err != nil {
				t.Errorf("%s %s fails with %v, want a lie", name, mode, err)
			}
		}
		_, err := tell(lies)(&tars.Context{}, []byte(`{"config":{"mode":"truth"}}`))
		var e *tars.Error
		if !errors.As(err, &e) || e.Code != tars.CodeBadConfig {
			t.Errorf("%s of an unknown mode fails with %v, want the code %s", name, err, tars.CodeBadConfig)
		}
	}
}
