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
		`{"index":2,"id":"c","collection":"m","text":"quotes \" and \\ and \u00fcber 😀 caf\u00e9, \u65e5\u672c\ttab","score":-1e-3},` +
		` { "text" : "do" , "index" : 12 } ],"config":{}}`
	ranked = `{"scores":[{"index":0,"score":625},{"index":1,"score":0},{"index":2,"score":250},{"index":12,"score":1000}]}`
)

// languageCall is a call that all languages answer alike, but for one.
type languageCall struct {
	capability, input, want string
	not                     string // the language that has another answer
}

func languageCalls() []languageCall {
	long := strings.Repeat("a line of text, with “quotes” and a\x00zero\n", 2000)
	return []languageCall{
		{"rank", document, ranked, ""},
		{"rank", `{"query":{"text":"x"},"candidates":[]}`, `{"scores":[]}`, ""},
		{"rank", `{"query":{"text":"😀"},"candidates":[{"index":7,"text":"\ud83d\ude00"}]}`, `{"scores":[{"index":7,"score":1000}]}`, "micropython"},
		{"rank", `not a document`, "bad-input: not a document to rank", "micropython"},
		{"echo", "", "", ""},
		{"echo", long, long, ""},
		{"stress", "sort 5000", "2205089686", ""},
		{"stress", "hold 5000", "43890", ""},
		{"stress", "recurse 15", "610", ""},
		{"stress", "dive 50", "50", ""},
		{"stress", "dance 1", "bad-input: no such work", ""},
		{"dance", "", "unsupported: no such capability", ""},
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

// TestLanguages runs the sample plugin of each language, as it is and as a cell
// runs it. Compiling is what takes time, so each is compiled once for all tests.
func TestLanguages(t *testing.T) {
	for _, language := range vmhosttest.Languages() {
		t.Run(language, func(t *testing.T) {
			src := guestSource(vmhosttest.Language(t, language))
			if _, err := wasm.Check(src.Module, wasm.DefaultLimits()); err != nil {
				t.Fatalf("Check = %v, want no error", err)
			}
			plain, metered := plainProgram(t, src, engine{}), languageProgram(t, src)
			t.Run("answers", func(t *testing.T) { testAnswers(t, plain, language) })
			t.Run("metered", func(t *testing.T) { testMetered(t, plain, metered) })
			t.Run("endless loop", func(t *testing.T) { testEndlessLoop(t, metered) })
			t.Run("endless recursion", func(t *testing.T) { testEndlessRecursion(t, metered) })
		})
	}
}

// testAnswers: the plugin does what its kind does in all languages.
func testAnswers(t *testing.T, plain vmhost.Program, language string) {
	for _, c := range languageCalls() {
		if c.not == language {
			continue
		}
		got := told(plain.Call(t.Context(), vmhost.Request{Capability: c.capability, Input: []byte(c.input)}))
		if got != c.want {
			t.Errorf("%s %.80q = %.200q, want %.200q", c.capability, c.input, got, c.want)
		}
	}
}

// TestPythonWithoutExceptions: MicroPython catches by WebAssembly's exceptions.
// Built with them it is refused by their name; built without, what is raised
// ends the call, and the log has it.
func TestPythonWithoutExceptions(t *testing.T) {
	_, err := wasm.Check(vmhosttest.Language(t, "micropython-exceptions"), wasm.DefaultLimits())
	if err == nil || !strings.Contains(err.Error(), "exception handling proposal") {
		t.Errorf("Check(micropython-exceptions) = %v, want it refused for the exception handling proposal", err)
	}
	plain := plainProgram(t, guestSource(vmhosttest.Language(t, "micropython")), engine{})
	reply, err := plain.Call(t.Context(), vmhost.Request{Capability: "rank", Input: []byte("not a document")})
	if !errors.Is(err, vmhost.ErrTrapped) {
		t.Errorf("Call that raises = %v, want ErrTrapped", err)
	}
	if log := fmt.Sprint(reply.Logs); !strings.Contains(log, "ValueError: syntax error in JSON") {
		t.Errorf("Logs = %s, want what was raised", log)
	}
}
