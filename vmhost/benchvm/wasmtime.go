package main

import (
	"context"
	"fmt"
	"time"

	"github.com/bytecodealliance/wasmtime-go/v37"

	"github.com/tars-project/tars/vmhost/wasm"
)

// wasmtimeRunner is wasmtime through its Go package: compiled once, a new store
// and instance for each call, and epochs as deadline, the cheaper of the two
// ways that it has. Memory is initialised by copy-on-write, its default.
type wasmtimeRunner struct {
	engine *wasmtime.Engine
	module *wasmtime.Module
	linker *wasmtime.Linker
	wasi   bool
	job    job
}

func openWasmtime(j job) (runner, error) {
	config := wasmtime.NewConfig()
	config.SetEpochInterruption(true)
	engine := wasmtime.NewEngineWithConfig(config)
	module, err := wasmtime.NewModule(engine, j.Module)
	if err != nil {
		return nil, fmt.Errorf("wasmtime: %w", err)
	}
	r := &wasmtimeRunner{engine: engine, module: module, linker: wasmtime.NewLinker(engine), job: j}
	imports, err := importsOf(j.Module)
	if err != nil {
		return nil, err
	}
	if r.wasi = len(imports[wasm.WASIModule]) > 0; r.wasi {
		if err := r.linker.DefineWasi(); err != nil {
			return nil, fmt.Errorf("wasmtime: WASI: %w", err)
		}
	}
	for _, i := range imports[wasm.HostModule] {
		t := wasmtime.NewFuncType(wasmtimeTypes(i.Type.Params), wasmtimeTypes(i.Type.Results))
		nothing := func(*wasmtime.Caller, []wasmtime.Val) ([]wasmtime.Val, *wasmtime.Trap) {
			return make([]wasmtime.Val, len(i.Type.Results)), nil
		}
		if err := r.linker.FuncNew(i.Module, i.Name, t, nothing); err != nil {
			return nil, fmt.Errorf("wasmtime: %s: %w", i.Name, err)
		}
	}
	return r, nil
}

func wasmtimeTypes(types []wasm.ValueType) []*wasmtime.ValType {
	kinds := map[wasm.ValueType]wasmtime.ValKind{
		wasm.I32: wasmtime.KindI32, wasm.I64: wasmtime.KindI64, wasm.F32: wasmtime.KindF32, wasm.F64: wasmtime.KindF64,
	}
	list := make([]*wasmtime.ValType, len(types))
	for i, t := range types {
		list[i] = wasmtime.NewValType(kinds[t])
	}
	return list
}

func (r *wasmtimeRunner) call(context.Context) (answer, error) {
	start := time.Now()
	store := wasmtime.NewStore(r.engine)
	defer store.Close()
	store.SetEpochDeadline(1 << 30) // nothing ends here, but the code looks
	if r.wasi {
		store.SetWasi(wasmtime.NewWasiConfig())
	}
	instance, err := r.linker.Instantiate(store, r.module)
	if err != nil {
		return answer{}, err
	}
	i := wasmtimeInstance{store, instance, instance.GetExport(store, exportMemory).Memory()}
	output, err := callHandle(i, r.job.Capability, r.job.Input)
	return answer{output: output, inner: time.Since(start)}, err
}

func (r *wasmtimeRunner) close() error {
	r.linker.Close()
	r.module.Close()
	r.engine.Close()
	return nil
}

// wasmtimeInstance is an instance of wasmtime.
type wasmtimeInstance struct {
	store    *wasmtime.Store
	instance *wasmtime.Instance
	linear   *wasmtime.Memory
}

func (i wasmtimeInstance) function(name string, args ...uint32) (uint32, error) {
	f := i.instance.GetFunc(i.store, name)
	if f == nil {
		return 0, nil
	}
	var list [4]any
	for n, a := range args {
		list[n] = int32(a)
	}
	result, err := f.Call(i.store, list[:len(args)]...)
	if err != nil {
		return 0, err
	}
	value, _ := result.(int32)
	return uint32(value), nil
}

func (i wasmtimeInstance) memory() []byte { return i.linear.UnsafeData(i.store) }
