package wazerovm_test

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/tars-project/tars/vmhost/wasm"
)

const testStack = 16 << 20 // bytes

// ledger is a host's account of the fuel of one instance.
type ledger struct {
	limit   int64 // most that is granted
	slice   int64 // granted at a time
	granted int64
	asked   int // times that the guest asked
}

func newLedger() *ledger { return &ledger{limit: math.MaxInt64 / 2, slice: 1_000_000} }

var (
	errFuel     = errors.New("out of fuel")
	errOverflow = errors.New("stack used up")
)

// refuel answers the guest. It grants what is missing and a slice.
func (l *ledger) refuel(fuel int64) int64 {
	l.asked++
	grant := l.slice - fuel
	if l.granted+grant > l.limit {
		panic(errFuel)
	}
	l.granted += grant
	return fuel + grant
}

// used returns what an instance has used.
func (l *ledger) used(instance api.Module) int64 {
	return l.granted - int64(instance.ExportedGlobal(wasm.FuelExport).Get())
}

type ledgerKey struct{}

func withLedger(ctx context.Context, l *ledger) context.Context {
	return context.WithValue(ctx, ledgerKey{}, l)
}

// meterRuntime returns an engine as a cell has it, with the host's side of the
// meter; the account is in the context of a call.
func meterRuntime(tb testing.TB) wazero.Runtime {
	tb.Helper()
	runtime := plainRuntime(tb, false)
	_, err := runtime.NewHostModuleBuilder(wasm.MeterModule).
		NewFunctionBuilder().WithGoFunction(api.GoFunc(func(ctx context.Context, stack []uint64) {
		stack[0] = uint64(ctx.Value(ledgerKey{}).(*ledger).refuel(int64(stack[0])))
	}), []api.ValueType{api.ValueTypeI64}, []api.ValueType{api.ValueTypeI64}).Export(wasm.RefuelImport).
		NewFunctionBuilder().WithGoFunction(api.GoFunc(func(context.Context, []uint64) {
		panic(errOverflow)
	}), nil, nil).Export(wasm.OverflowImport).
		Instantiate(tb.Context())
	if err != nil {
		tb.Fatalf("host side of the meter: %v", err)
	}
	return runtime
}

// plainRuntime returns an engine as a cell has it, which is closed with the
// test.
func plainRuntime(tb testing.TB, interruptible bool) wazero.Runtime {
	tb.Helper()
	background := context.Background()
	runtime := wazero.NewRuntimeWithConfig(background, wazero.NewRuntimeConfigCompiler().
		WithCoreFeatures(api.CoreFeaturesV2|experimental.CoreFeaturesExtendedConst|experimental.CoreFeaturesTailCall).
		WithDebugInfoEnabled(false).
		WithMemoryLimitPages(4096).
		WithCloseOnContextDone(interruptible))
	tb.Cleanup(func() {
		if err := runtime.Close(background); err != nil {
			tb.Errorf("Close: %v", err)
		}
	})
	return runtime
}

// meter meters a module that is within limits, and checks the result.
func meter(tb testing.TB, module []byte, limits wasm.Limits) *wasm.Metered {
	tb.Helper()
	metered, err := wasm.Meter(module, wasm.MeterOptions{Limits: limits, Stack: testStack})
	if err != nil {
		tb.Fatalf("Meter = %v, want no error", err)
	}
	if _, err := wasm.Check(metered.Module, wasm.MeteredLimits(limits)); err != nil {
		tb.Fatalf("Check(metered) = %v, want no error", err)
	}
	return metered
}
