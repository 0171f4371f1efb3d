package wazerovm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/vmhosttest"
)

// languageProgram is a plugin as a cell runs it: metered, and its VMs put back at
// their image after each call.
func languageProgram(tb testing.TB, src vmhost.Source) vmhost.Program {
	tb.Helper()
	driver := New(nil)
	tb.Cleanup(func() {
		if err := driver.Close(); err != nil {
			tb.Errorf("Close: %v", err)
		}
	})
	p, err := driver.Load(tb.Context(), src)
	if err != nil {
		tb.Fatalf("Load = %v, want no error", err)
	}
	return p
}

func languageRequest(capability, input string) vmhost.Request {
	return vmhost.Request{Capability: capability, Input: []byte(input), Deterministic: true, Seed: [32]byte{7}}
}

// testMetered: every call answers with the meter as without, errors and logs
// included, and costs the same fuel each time that it is made, whatever was
// called between.
func testMetered(t *testing.T, plain, metered vmhost.Program) {
	calls := append(languageCalls(),
		languageCall{capability: "stress", input: "float 1000"},
		languageCall{capability: "stress", input: "sort 20000"},
		languageCall{capability: "stress", input: "hold 20000"},
		languageCall{capability: "stress", input: "recurse 18"})
	const rounds = 3
	first := make([]int64, len(calls))
	for round := range rounds {
		for i, c := range calls {
			req := languageRequest(c.capability, c.input)
			reply, err := metered.Call(t.Context(), req)
			if round == 0 {
				first[i] = reply.Usage.Fuel
				wantReply, wantErr := plain.Call(t.Context(), req)
				want := told(wantReply, wantErr) + fmt.Sprint(wantReply.Logs)
				if got := told(reply, err) + fmt.Sprint(reply.Logs); got != want {
					t.Errorf("%s %.80q = %.200q, want as without the meter %.200q", c.capability, c.input, got, want)
				}
			}
			if got := reply.Usage.Fuel; got != first[i] || got <= 0 {
				t.Errorf("round %d, %s %.80q used %d units of fuel, want %d as before", round, c.capability, c.input, got, first[i])
			}
		}
	}
}

// testEndlessLoop: a loop without end is ended by its deadline, and the next call
// is as any.
func testEndlessLoop(t *testing.T, metered vmhost.Program) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	reply, err := metered.Call(ctx, languageRequest("stress", "spin 1"))
	if !errors.Is(err, context.DeadlineExceeded) || reply.Usage.Fuel <= 0 {
		t.Errorf("Call(spin) = %v after %d units of fuel, want the deadline after some", err, reply.Usage.Fuel)
	}
	wantRanked(t, metered)
}

// testEndlessRecursion: a recursion without end is ended by the stack that the
// meter counts, before the runtime or the engine bounds it, and the next call is
// as any.
func testEndlessRecursion(t *testing.T, metered vmhost.Program) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // it is the stack that should end it
	defer cancel()
	for range 2 {
		got := told(metered.Call(ctx, languageRequest("stress", "dive 4000000000")))
		if want := "error guest trapped: stack overflow"; got != want {
			t.Errorf("Call(dive) = %s, want %s", got, want)
		}
	}
	wantRanked(t, metered)
}

func wantRanked(t *testing.T, p vmhost.Program) {
	t.Helper()
	if got := told(p.Call(t.Context(), languageRequest("rank", document))); got != ranked {
		t.Errorf("Call(rank) afterwards = %s, want %s", got, ranked)
	}
}

// TestFuelEndsLanguages: a loop without end is ended by its fuel, in an engine
// that looks at no deadline. [TestFuelEndsALoop] has Go.
func TestFuelEndsLanguages(t *testing.T) {
	for _, language := range vmhosttest.Languages() {
		if language == "go" {
			continue
		}
		const fuel = 100_000_000
		p, _ := meteredProgram(t, guestSource(vmhosttest.Language(t, language)), engine{}, fuel)
		_, err := p.Call(t.Context(), languageRequest("stress", "spin 1"))
		if err == nil || !strings.Contains(err.Error(), errTestFuel.Error()) {
			t.Errorf("%s: Call(spin) = %v, want it to run out of fuel", language, err)
		}
	}
}
