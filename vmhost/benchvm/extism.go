package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	extism "github.com/extism/go-sdk"
	"github.com/tetratelabs/wazero"

	"github.com/tars-project/tars/vmhost/benchvm/internal/extismize"
	"github.com/tars-project/tars/vmhost/wasm"
)

// extismRunner is Extism's Go SDK as its documentation has it: a compiled
// plugin, an instance of it for each call, closed afterwards. The module is the
// job's own with Extism's interface built on: see package extismize. The
// time-out is the SDK's way of keeping a deadline.
type extismRunner struct {
	compiled *extism.CompiledPlugin
	job      job
}

func openExtism(ctx context.Context, j job) (runner, error) {
	module, err := extismize.Module(j.Module, j.Capability)
	if err != nil {
		return nil, err
	}
	imports, err := importsOf(j.Module)
	if err != nil {
		return nil, err
	}
	var functions []extism.HostFunction
	for _, i := range imports[wasm.HostModule] {
		f := extism.NewHostFunctionWithStack(i.Name, func(context.Context, *extism.CurrentPlugin, []uint64) {},
			wazeroTypes(i.Type.Params), wazeroTypes(i.Type.Results))
		f.SetNamespace(i.Module)
		functions = append(functions, f)
	}
	manifest := extism.Manifest{Wasm: []extism.Wasm{extism.WasmData{Data: module}}, Timeout: uint64(j.limits().Wall.Milliseconds())}
	compiled, err := extism.NewCompiledPlugin(ctx, manifest, extism.PluginConfig{
		RuntimeConfig: wazeroConfig(),
		EnableWasi:    true, // also what makes it call _initialize
	}, functions)
	if err != nil {
		return nil, fmt.Errorf("extism: %w", err)
	}
	return &extismRunner{compiled, j}, nil
}

func (r *extismRunner) call(ctx context.Context) (answer, error) {
	start := time.Now()
	plugin, err := r.compiled.Instance(ctx, extism.PluginInstanceConfig{ModuleConfig: wazero.NewModuleConfig()})
	if err != nil {
		return answer{}, err
	}
	code, output, err := plugin.CallWithContext(ctx, extismize.Export, r.job.Input)
	inner := time.Since(start)
	if err == nil && code != 0 {
		err = fmt.Errorf("extism: exit code %d", code)
	}
	return answer{output: output, inner: inner}, errors.Join(err, plugin.CloseWithContext(ctx))
}

func (r *extismRunner) close() error { return r.compiled.Close(context.Background()) }
