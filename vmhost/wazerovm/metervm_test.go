package wazerovm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/vmhosttest"
	"github.com/tars-project/tars/vmhost/wasm"
)

var errTestFuel = errors.New("out of fuel")

// fuelFor answers a metered guest: it grants slices up to a limit.
func fuelFor(limit int64) api.GoFunc {
	return func(_ context.Context, stack []uint64) {
		const slice = 1_000_000
		if limit -= slice; limit < 0 {
			panic(errTestFuel)
		}
		stack[0] = uint64(int64(stack[0]) + slice)
	}
}

// meteredProgram is a program whose module is metered, in an engine that has
// the host's side of the meter, with fuel for all its calls together.
func meteredProgram(tb testing.TB, src vmhost.Source, opts engine, fuel int64) (*program, *wasm.Metered) {
	tb.Helper()
	limits := wasm.DefaultLimits()
	metered, err := wasm.Meter(src.Module, wasm.MeterOptions{Limits: limits, Stack: 16 << 20})
	if err != nil {
		tb.Fatalf("Meter = %v, want no error", err)
	}
	if _, err := wasm.Check(metered.Module, wasm.MeteredLimits(limits)); err != nil {
		tb.Fatalf("Check(metered) = %v, want no error", err)
	}
	src.Module = metered.Module
	p := plainProgram(tb, src, opts)
	i64 := []api.ValueType{api.ValueTypeI64}
	_, err = p.runtime.NewHostModuleBuilder(wasm.MeterModule).
		NewFunctionBuilder().WithGoFunction(fuelFor(fuel), i64, i64).Export(wasm.RefuelImport).
		NewFunctionBuilder().WithGoFunction(api.GoFunc(func(ctx context.Context, stack []uint64) {
		overflow(ctx, vmOf(ctx), stack)
	}), nil, nil).Export(wasm.OverflowImport).
		Instantiate(tb.Context())
	if err != nil {
		tb.Fatalf("host side of the meter: %v", err)
	}
	return p, metered
}

// plainProgram is a program that is not tried yet; it is closed with the test.
func plainProgram(tb testing.TB, src vmhost.Source, opts engine) *program {
	tb.Helper()
	p, err := compile(tb.Context(), opts, src)
	if err != nil {
		tb.Fatalf("compile: %v", err)
	}
	tb.Cleanup(func() {
		if err := p.Close(); err != nil {
			tb.Errorf("Close: %v", err)
		}
	})
	return p
}

func guestSource(module []byte) vmhost.Source {
	return vmhost.Source{
		Module: module,
		Digest: vmhost.DigestOf(module),
		Limits: vmhost.Limits{Wall: time.Minute, Memory: 64 << 20, Input: 1 << 20, Output: 8 << 20, Logs: 1 << 16, HostCalls: 10},
		Grants: vmhost.Grants{Search: true, Embed: true, Vectors: true, Log: true, Clock: true},
	}
}

// requests are calls of the test plugins.
func requests() []vmhost.Request {
	passage := func(i int, text string) string {
		b, _ := json.Marshal(text)
		return fmt.Sprintf(`{"index":%d,"text":%s}`, i, b)
	}
	passages := []string{
		passage(0, "Paris is the capital of France. It lies on the Seine."),
		passage(1, "The Danube flows through ten countries, more than any other river."),
		passage(2, "Go was announced in November 2009 by Google — “a fast compiled language”."),
	}
	list := strings.Join(passages, ",")
	var all []vmhost.Request
	for _, r := range [][2]string{
		{"rank", `{"abi":1,"query":{"text":"capital of France"},"candidates":[` + list + `]}`},
		{"synthesize", `{"abi":1,"query":{"text":"What is the capital of France?"},"passages":[` + list + `]}`},
		{"synthesize", `{"abi":1,"query":{"text":"When was Go announced?"},"passages":[` + list + `],"config":{"mode":"panic","bytes":5000}}`},
		{"rank", `{"abi":1,"candidates":[` + list + `],"config":{"mode":"exit"}}`},
		{"rank", `{"abi":1,"candidates":[` + list + `],"config":{"mode":"crash"}}`},
		{"rank", `not a document`},
		{"dance", `{}`},
	} {
		all = append(all, vmhost.Request{Capability: r[0], Input: []byte(r[1]), Deterministic: true, Seed: [32]byte{7}})
	}
	return all
}

// TestMeteredGuests: sample plugins answer with the meter as they do without,
// results, errors and logs. These three do what the others do; compiling each
// twice takes its time.
func TestMeteredGuests(t *testing.T) {
	answers := 0
	for _, name := range []string{"cited", "flood", "trap"} {
		src := guestSource(vmhosttest.Guest(t, name))
		plain := plainProgram(t, src, engine{})
		start := time.Now()
		metered, result := meteredProgram(t, src, engine{}, 1<<40)
		t.Logf("%s: %d bytes, %d with the meter (metering and compiling %v); largest frame %d", name, len(src.Module), len(result.Module), time.Since(start).Round(time.Millisecond), result.LargestFrame)
		if result.Unrestorable != "" || len(result.Globals) == 0 {
			t.Errorf("%s: Unrestorable = %q, %d globals, want it restorable and the globals of Go", name, result.Unrestorable, len(result.Globals))
		}
		for _, req := range requests() {
			want, wantErr := plain.Call(t.Context(), req)
			got, err := metered.Call(t.Context(), req)
			if errText(err) != errText(wantErr) {
				t.Errorf("%s, %s %s: error %v, without the meter %v", name, req.Capability, req.Input, err, wantErr)
			}
			want.Usage, got.Usage = vmhost.Usage{}, vmhost.Usage{} // times differ
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s, %s %s = %+v, want as without the meter %+v", name, req.Capability, req.Input, got, want)
			}
			if err == nil {
				answers++
			}
		}
	}
	const least = 4
	if answers < least {
		t.Errorf("%d calls were answered, want at least %d", answers, least)
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return firstLine(err.Error())
}

// TestFuelEndsALoop: a plugin that never answers ends when its fuel does, in
// an engine that looks at no deadline.
func TestFuelEndsALoop(t *testing.T) {
	p, _ := meteredProgram(t, guestSource(vmhosttest.Guest(t, "loop")), engine{}, 100_000_000)
	_, err := p.Call(t.Context(), vmhost.Request{Capability: "rank", Input: []byte(`{"config":{"mode":"spin"}}`)})
	if err == nil || !strings.Contains(err.Error(), errTestFuel.Error()) {
		t.Errorf("Call(spin) = %v, want it to run out of fuel", err)
	}
}
