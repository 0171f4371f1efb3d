package wazerovm

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/vmhosttest"
	. "github.com/tars-project/tars/vmhost/vmhosttest/wasmbuild" //nolint:revive,staticcheck // instructions read as in the text format
	"github.com/tars-project/tars/vmhost/wasm"
)

// tightLoops are guests whose handle counts the length of its input down, the
// worst that a meter can meet.
func tightLoops() map[string][]byte {
	const rounds = 2_000_000
	again := func(local uint32) []byte {
		return Code(Get(local), I32(1), Sub(), Tee(local), BranchIf(0))
	}
	build := func(body []byte) []byte {
		return Plugin{Handle: Code(I32(rounds), Set(4), body, I32(ResultAt)), Data: []Data{{At: ResultAt, Bytes: OK(0, 0)}}}.Encode()
	}
	return map[string][]byte{
		"empty loop": build(Loop(again(4))),
		"sum": build(Loop(
			Get(5), Get(4), Mul(), I32(7), Add(), Set(5), again(4),
		)),
		"memory": build(Loop(
			I32(ScratchAt), I32(ScratchAt), Load(0), Get(4), Add(), Store(0), again(4),
		)),
		"branches": build(Loop(
			Get(4), I32(3), And(), If(Get(5), I32(1), Add(), Set(5)), again(4),
		)),
		"calls": Plugin{
			Handle: Code(I32(rounds), Set(4), Loop(Get(4), Call(4), Drop(), again(4)), I32(ResultAt)),
			Funcs: []Func{{
				Type: wasm.FuncType{Params: []wasm.ValueType{wasm.I32}, Results: []wasm.ValueType{wasm.I32}},
				Body: Code(Get(0), I32(3), Mul()),
			}},
			Data: []Data{{At: ResultAt, Bytes: OK(0, 0)}},
		}.Encode(),
		"deep calls": Plugin{ // rounds / 100 recursions of 100 calls
			Handle: Code(I32(rounds/100), Set(4), Loop(I32(100), Call(4), Drop(), again(4)), I32(ResultAt)),
			Funcs: []Func{{
				Type: wasm.FuncType{Params: []wasm.ValueType{wasm.I32}, Results: []wasm.ValueType{wasm.I32}},
				Body: Code(Get(0), If(Get(0), I32(1), Sub(), Call(4), Drop()), Get(0)),
			}},
			Data: []Data{{At: ResultAt, Bytes: OK(0, 0)}},
		}.Encode(),
	}
}

// engines are the ways of running a guest that a benchmark compares.
func engines(b *testing.B, src vmhost.Source) map[string]*program {
	metered, _ := meteredProgram(b, src, engine{}, 1<<60)
	return map[string]*program{
		"plain":   plainProgram(b, src, engine{}),
		"metered": metered,
		"close":   plainProgram(b, src, engine{interruptible: true}),
	}
}

// BenchmarkMeterLoops compares tight loops: plain, metered, and with the
// engine's own look at the context in each round (close).
func BenchmarkMeterLoops(b *testing.B) {
	for name, module := range tightLoops() {
		for engine, p := range engines(b, guestSource(module)) {
			b.Run(fmt.Sprintf("%s/%s", name, engine), func(b *testing.B) {
				benchmarkCalls(b, p, vmhost.Request{Capability: "rank", Input: []byte("x")})
			})
		}
	}
}

// BenchmarkMeterGo compares a plugin in Go that decodes, works on and encodes
// JSON, in an instance that has run before: what the calls of a restored VM
// cost.
func BenchmarkMeterGo(b *testing.B) {
	type passage struct {
		Index int    `json:"index"`
		Text  string `json:"text"`
	}
	input := map[string]any{"abi": 1, "query": map[string]string{"text": "What is the capital of France?"}}
	var passages []passage
	for i := range 50 {
		passages = append(passages, passage{i, fmt.Sprintf("Paris is the capital of France. It is city %d on the Seine, and other rivers flow elsewhere.", i)})
	}
	input["passages"] = passages
	document, err := json.Marshal(input)
	if err != nil {
		b.Fatal(err)
	}
	for engine, p := range engines(b, guestSource(vmhosttest.Guest(b, "cited"))) {
		b.Run(engine, func(b *testing.B) {
			benchmarkCalls(b, p, vmhost.Request{Capability: "synthesize", Input: document})
		})
	}
}

// BenchmarkMeterLanguage compares the sample plugins of all languages as they
// rank fifty candidates, plain and metered.
func BenchmarkMeterLanguage(b *testing.B) {
	var input strings.Builder
	input.WriteString(`{"abi":1,"query":{"text":"What is the capital of France?"},"candidates":[`)
	for i := range 50 {
		if i > 0 {
			input.WriteByte(',')
		}
		fmt.Fprintf(&input, `{"index":%d,"id":"r%d","collection":"cities","text":"Paris is the capital of France. It is city %d on the Seine, and other rivers flow elsewhere.","score":0.5}`, i, i, i)
	}
	input.WriteString("]}")
	req := vmhost.Request{Capability: "rank", Input: []byte(input.String())}
	for _, language := range vmhosttest.Languages() {
		src := guestSource(vmhosttest.Language(b, language))
		metered, _ := meteredProgram(b, src, engine{}, 1<<60)
		plain := plainProgram(b, src, engine{})
		b.Run(language+"/plain", func(b *testing.B) { benchmarkFewCalls(b, plain, req) })
		b.Run(language+"/metered", func(b *testing.B) { benchmarkFewCalls(b, metered, req) })
	}
}

// benchmarkFewCalls measures handle in instances that serve a few calls each:
// MicroPython frees nothing, and a restored VM serves one. It tells the thread's
// own time besides, which a busy machine does not lengthen.
func benchmarkFewCalls(b *testing.B, p *program, req vmhost.Request) {
	const few = 8
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var spent time.Duration
	for b.Loop() {
		b.StopTimer()
		v := p.newVM()
		v.begin(req)
		ctx := withVM(b.Context(), v)
		if err := v.ready(ctx); err != nil {
			b.Fatal(err)
		}
		before := threadTime()
		b.StartTimer()
		for range few {
			if _, err := v.handle(ctx, req.Capability, req.Input); err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
		spent += threadTime() - before
		v.close()
		b.StartTimer()
	}
	b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N*few), "cpu-ns/call")
}

// benchmarkCalls measures handle in one instance.
func benchmarkCalls(b *testing.B, p *program, req vmhost.Request) {
	v := p.newVM()
	defer v.close()
	v.begin(req)
	ctx := withVM(b.Context(), v)
	if err := v.ready(ctx); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := v.handle(ctx, req.Capability, req.Input); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMeter measures metering itself, and compiling with and without.
func BenchmarkMeter(b *testing.B) {
	module := vmhosttest.Guest(b, "cited")
	limits := wasm.DefaultLimits()
	metered, err := wasm.Meter(module, wasm.MeterOptions{Limits: limits, Stack: 16 << 20})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("check", func(b *testing.B) {
		b.SetBytes(int64(len(module)))
		for b.Loop() {
			if _, err := wasm.Check(module, limits); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("meter", func(b *testing.B) {
		b.SetBytes(int64(len(module)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := wasm.Meter(module, wasm.MeterOptions{Limits: limits, Stack: 16 << 20}); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, m := range map[string][]byte{"compile plain": module, "compile metered": metered.Module} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				benchmarkCompile(b, m)
			}
		})
	}
}

func benchmarkCompile(b *testing.B, module []byte) {
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler().WithCoreFeatures(api.CoreFeaturesV2).WithDebugInfoEnabled(false))
	if _, err := r.CompileModule(ctx, module); err != nil {
		b.Fatal(err)
	}
	if err := r.Close(ctx); err != nil {
		b.Fatal(err)
	}
}
