package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/tars-project/tars/vmhost/wasm"
)

// wazeroRunner is the engine as its documentation has it: compiled once, a new
// anonymous instance for each call, closed afterwards.
type wazeroRunner struct {
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	job      job
}

// wazeroConfig is the engine with the features that our cells run.
func wazeroConfig() wazero.RuntimeConfig {
	return wazero.NewRuntimeConfigCompiler().
		WithCoreFeatures(api.CoreFeaturesV2 | experimental.CoreFeaturesExtendedConst | experimental.CoreFeaturesTailCall).
		WithDebugInfoEnabled(false)
}

// openWazero compiles the job. bounded is with the only thing that lets a
// deadline end a guest: a look at the context in each loop.
func openWazero(ctx context.Context, j job, bounded bool) (runner, error) {
	runtime := wazero.NewRuntimeWithConfig(ctx, wazeroConfig().WithCloseOnContextDone(bounded))
	r := &wazeroRunner{runtime: runtime, job: j}
	err := link(ctx, runtime, j.Module)
	if err == nil {
		r.compiled, err = runtime.CompileModule(ctx, j.Module)
	}
	if err != nil {
		return nil, errors.Join(err, runtime.Close(ctx))
	}
	return r, nil
}

// link gives a runtime what the module imports: the engine's own WASI, and host
// functions of the plugin world that do nothing.
func link(ctx context.Context, runtime wazero.Runtime, module []byte) error {
	imports, err := importsOf(module)
	if err != nil {
		return err
	}
	if len(imports[wasm.WASIModule]) > 0 {
		if _, err := wasi_snapshot_preview1.Instantiate(ctx, runtime); err != nil {
			return fmt.Errorf("WASI: %w", err)
		}
	}
	if host := imports[wasm.HostModule]; len(host) > 0 {
		builder := runtime.NewHostModuleBuilder(wasm.HostModule)
		for _, i := range host {
			nothing := api.GoFunc(func(context.Context, []uint64) {})
			builder = builder.NewFunctionBuilder().WithGoFunction(nothing, wazeroTypes(i.Type.Params), wazeroTypes(i.Type.Results)).Export(i.Name)
		}
		if _, err := builder.Instantiate(ctx); err != nil {
			return fmt.Errorf("host functions: %w", err)
		}
	}
	return nil
}

func wazeroTypes(types []wasm.ValueType) []api.ValueType {
	list := make([]api.ValueType, len(types))
	for i, t := range types {
		list[i] = api.ValueType(t) // both are the encoding of the binary format
	}
	return list
}

func (r *wazeroRunner) call(ctx context.Context) (answer, error) {
	start := time.Now()
	instance, err := r.runtime.InstantiateModule(ctx, r.compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		return answer{}, err
	}
	output, err := callHandle(wazeroInstance{ctx, instance}, r.job.Capability, r.job.Input)
	inner := time.Since(start)
	return answer{output: output, inner: inner}, errors.Join(err, instance.Close(ctx))
}

func (r *wazeroRunner) close() error { return r.runtime.Close(context.Background()) }

// wazeroInstance is an instance of wazero.
type wazeroInstance struct {
	ctx    context.Context //nolint:containedctx // of the one call that the value is for
	module api.Module
}

func (i wazeroInstance) function(name string, args ...uint32) (uint32, error) {
	f := i.module.ExportedFunction(name)
	if f == nil {
		return 0, nil
	}
	var stack [4]uint64
	for n, a := range args {
		stack[n] = uint64(a)
	}
	if err := f.CallWithStack(i.ctx, stack[:max(len(args), len(f.Definition().ResultTypes()))]); err != nil {
		return 0, err
	}
	return uint32(stack[0]), nil
}

func (i wazeroInstance) memory() []byte {
	memory := i.module.ExportedMemory(exportMemory)
	b, _ := memory.Read(0, memory.Size())
	return b
}
