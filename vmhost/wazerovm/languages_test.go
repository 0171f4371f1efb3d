package wazerovm

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/vmhosttest"
	"github.com/tars-project/tars/vmhost/wasm"
)

// document is an input to rank; what the sample plugins make of it is ranked.
const (
	document = `{"abi":1,"query":{"text":"How do I restore the CLUSTER to a point, über 😀?"},"candidates":[` +
		`{"index":0,"id":"a","collection":"m","text":"Restore the cluster to any point in time.","score":0.5,"metadata":{"text":"no","n":[1,{"a":"]}"}]}},` +
		`{"index":1,"id":"b","collection":"m","text":"","score":0.25},` +
		`{"index":2,"id":"c","collection":"m","text":"quotes \" and \\ and \u00fcber \ud83d\ude00 caf\u00e9, \u65e5\u672c\ttab","score":-1e-3},` +
		` { "text" : "do" , "index" : 12 } ],"config":{}}`
	ranked = `{"scores":[{"index":0,"score":625},{"index":1,"score":0},{"index":2,"score":250},{"index":12,"score":1000}]}`
)

// languageCalls are calls that every language answers alike.
func languageCalls() []struct{ capability, input, want string } {
	long := strings.Repeat("a line of text, with “quotes” and a\x00zero\n", 2000)
	return []struct{ capability, input, want string }{
		{"rank", document, ranked},
		{"rank", `{"query":{"text":"x"},"candidates":[]}`, `{"scores":[]}`},
		{"rank", `not a document`, "bad-input: not a document to rank"},
		{"echo", "", ""},
		{"echo", long, long},
		{"stress", "sort 5000", "2205089686"},
		{"stress", "hold 5000", "43890"},
		{"stress", "recurse 15", "610"},
		{"stress", "dance 1", "bad-input: no such work"},
		{"dance", "", "unsupported: no such capability"},
	}
}

// told is what a call came to: its output, or the guest's error.
func told(reply vmhost.Reply, err error) string {
	var refused *vmhost.GuestError
	switch {
	case errors.As(err, &refused):
		return refused.Code + ": " + refused.Message
	case err != nil:
		return fmt.Sprintf("error %v", err)
	}
	return string(reply.Output)
}

func TestLanguages(t *testing.T) {
	for _, language := range vmhosttest.Languages() {
		t.Run(language, func(t *testing.T) {
			module := vmhosttest.Language(t, language)
			if _, err := wasm.Check(module, wasm.DefaultLimits()); err != nil {
				t.Fatalf("Check = %v, want no error", err)
			}
			plain := plainProgram(t, guestSource(module), engine{})
			for _, c := range languageCalls() {
				got := told(plain.Call(t.Context(), vmhost.Request{Capability: c.capability, Input: []byte(c.input)}))
				if got != c.want {
					t.Errorf("%s %.80q = %.200q, want %.200q", c.capability, c.input, got, c.want)
				}
			}
		})
	}
}
