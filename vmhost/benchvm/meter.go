package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/tars-project/tars/vmhost/wasm"
)

const (
	meterStack = 16 << 20  // bytes, as in a cell
	meterSlice = 1_000_000 // units of fuel granted at a time, as in a cell
)

// meterOverhead is by how much metering slows a plugin: handle in an instance
// that has run before, which is what a restored VM runs, with and without the
// meter in turns on one engine. 1 is not at all.
func meterOverhead(ctx context.Context, j job, rounds int, lasts time.Duration) (overhead float64, err error) {
	limits := wasm.DefaultLimits()
	metered, err := wasm.Meter(j.Module, wasm.MeterOptions{Limits: limits, Stack: meterStack})
	if err != nil {
		return 0, fmt.Errorf("meter: %w", err)
	}
	var machines [2]*warm
	for i, module := range [][]byte{j.Module, metered.Module} {
		if machines[i], err = newWarm(ctx, j, module); err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, machines[i].runtime.Close(ctx)) }()
	}
	var ratios []float64
	for range rounds {
		var p50 [2]time.Duration
		for i, m := range machines {
			if p50[i], err = m.run(lasts); err != nil {
				return 0, err
			}
		}
		ratios = append(ratios, float64(p50[1])/float64(p50[0]))
	}
	return round(median(ratios)), nil
}

// warm is an engine with a compiled module, for calls of one instance.
type warm struct {
	ctx      context.Context //nolint:containedctx // of the measurement that the value is for
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	job      job
}

func newWarm(ctx context.Context, j job, module []byte) (*warm, error) {
	runtime := wazero.NewRuntimeWithConfig(ctx, wazeroConfig())
	w := &warm{ctx: ctx, runtime: runtime, job: j}
	if err := link(ctx, runtime, j.Module); err != nil {
		return nil, err
	}
	refuel := api.GoFunc(func(_ context.Context, stack []uint64) { stack[0] = uint64(int64(stack[0]) + meterSlice) })
	overflow := api.GoFunc(func(context.Context, []uint64) {})
	bodies := map[string]api.GoFunc{wasm.RefuelImport: refuel, wasm.OverflowImport: overflow}
	builder := runtime.NewHostModuleBuilder(wasm.MeterModule)
	for name, t := range wasm.MeterImports() {
		body, ok := bodies[name]
		if !ok {
			return nil, fmt.Errorf("the meter imports %s, which nothing here answers", name)
		}
		builder = builder.NewFunctionBuilder().WithGoFunction(body, wazeroTypes(t.Params), wazeroTypes(t.Results)).Export(name)
	}
	if _, err := builder.Instantiate(ctx); err != nil {
		return nil, fmt.Errorf("the meter's functions: %w", err)
	}
	var err error
	w.compiled, err = runtime.CompileModule(ctx, module)
	return w, err
}

// run calls handle in a new instance for a while and returns the median time.
func (w *warm) run(lasts time.Duration) (p50 time.Duration, err error) {
	instance, err := w.runtime.InstantiateModule(w.ctx, w.compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, instance.Close(w.ctx)) }()
	m := wazeroInstance{w.ctx, instance}
	if _, err := callHandle(m, w.job.Capability, w.job.Input); err != nil {
		return 0, err
	}
	var took []time.Duration
	for end := time.Now().Add(lasts); time.Now().Before(end); {
		start := time.Now()
		if _, err := handleOnly(m, w.job.Capability, w.job.Input); err != nil {
			return 0, err
		}
		took = append(took, time.Since(start))
	}
	return median(took), nil
}

// heavier returns a job whose document has many candidates, so that the guest's
// own work is what is measured.
func heavier(j job) job {
	const candidates = 100
	b := []byte(`{"abi":1,"query":{"text":"What is the capital of France, on which river?"},"candidates":[`)
	for i := range candidates {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"index":%d,"text":"Paris is the capital of France. It is city %d on the Seine, and other rivers flow elsewhere."}`, i, i)
	}
	j.Input = append(b, "]}"...)
	j.Memory = max(j.Memory, 16<<20)
	return j
}
