package wazerovm_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"

	wt "github.com/tars-project/tars/vmhost/wasm/wasmtest"
)

// bulkPages is the memory of the guest of operations on ranges.
const bulkPages = 8

// bulkGuest exports one function of three numbers for each operation on a
// range of memory. Its two passive segments are those of random programs.
func bulkGuest() []byte {
	const params = "\x7f\x7f\x7f"
	operations := [][]byte{{0xfc, 11, 0}, {0xfc, 10, 0, 0}, {0xfc, 8, 0, 0}, {0xfc, 8, 1, 0}}
	var functions, bodies, exports [][]byte
	for i, op := range operations {
		functions = append(functions, []byte{0})
		bodies = append(bodies, wt.Body(slices.Concat([]byte{opGet, 0, opGet, 1, opGet, 2}, op)...))
		exports = append(exports, wt.ExportOf([]string{"fill", "copy", "init", "initsmall"}[i], 0, i))
	}
	functions, bodies = append(functions, []byte{1}), append(bodies, wt.Body(0xfc, 9, 0))
	exports = append(exports, wt.ExportOf("drop", 0, len(operations)), wt.ExportOf("memory", 2, 0))
	large, small := segments()
	return wt.Module(
		wt.Section(wt.Type, wt.Vec(wt.FuncType(params, ""), wt.FuncType("", ""))),
		wt.Section(wt.Function, wt.Vec(functions...)),
		wt.Section(wt.Memory, wt.Vec([]byte{1, bulkPages, bulkPages})),
		wt.Section(wt.Export, wt.Vec(exports...)), wt.Section(wt.DataCount, wt.U32(2)),
		wt.Section(wt.Code, wt.Vec(bodies...)),
		wt.Section(wt.Data, wt.Vec(append([]byte{1}, wt.Sized(large)...), append([]byte{1}, wt.Sized(small)...))),
	)
}

// TestRangesInPieces: operations on ranges do in pieces what they do whole:
// overlaps keep their order, and what leaves the memory or the segment traps
// before anything is written.
func TestRangesInPieces(t *testing.T) {
	module := bulkGuest()
	result := meter(t, module, openLimits(nil))
	plain, metered := plainRuntime(t, false), meterRuntime(t)
	const chunk, end, wrap = 64 << 10, bulkPages << 16, 1 << 32
	for _, test := range []struct {
		function string
		args     [3]uint64
	}{
		{"fill", [3]uint64{3, 0x1ff, chunk}},
		{"fill", [3]uint64{3, 7, chunk + 1}},
		{"fill", [3]uint64{0, 7, end}},
		{"fill", [3]uint64{end - 3*chunk, 7, 3 * chunk}},
		{"fill", [3]uint64{end - 3*chunk + 1, 7, 3 * chunk}},
		{"fill", [3]uint64{1, 7, wrap - 1}},
		{"fill", [3]uint64{wrap - 1, 7, 2 * chunk}},
		{"fill", [3]uint64{end, 7, 0}},
		{"fill", [3]uint64{end + 1, 7, 0}},
		{"copy", [3]uint64{0, 1, 3*chunk + 5}},
		{"copy", [3]uint64{1, 0, 3*chunk + 5}},
		{"copy", [3]uint64{chunk, 0, 3 * chunk}},
		{"copy", [3]uint64{100, 100, 3 * chunk}},
		{"copy", [3]uint64{5 * chunk, 1, 3 * chunk}},
		{"copy", [3]uint64{0, chunk - 1, 2 * chunk}},
		{"copy", [3]uint64{0, end - chunk, chunk + 1}},
		{"copy", [3]uint64{end - chunk, 0, chunk + 1}},
		{"copy", [3]uint64{wrap - chunk, 0, 2 * chunk}},
		{"copy", [3]uint64{0, wrap - chunk, 2 * chunk}},
		{"init", [3]uint64{1, 0, largeSegment}},
		{"init", [3]uint64{1, 1, largeSegment - 1}},
		{"init", [3]uint64{1, 1, largeSegment}},
		{"init", [3]uint64{end - largeSegment + 1, 0, largeSegment}},
		{"init", [3]uint64{0, wrap - 1, 2 * chunk}},
		{"init", [3]uint64{0, 0, wrap - 1}},
		{"initsmall", [3]uint64{5, 0, smallSegment}},
		{"initsmall", [3]uint64{5, 1, smallSegment}},
		{"initsmall", [3]uint64{0, 0, 2 * chunk}},
		{"dropped init", [3]uint64{0, 0, largeSegment}},
		{"dropped init", [3]uint64{0, 0, 0}},
	} {
		t.Run(fmt.Sprint(test.function, test.args), func(t *testing.T) {
			run := func(runtime wazero.Runtime, module []byte) (trap string, memory []byte, account *ledger) {
				account = newLedger()
				ctx := withLedger(t.Context(), account)
				instance, err := runtime.InstantiateWithConfig(ctx, module, wazero.NewModuleConfig().WithName(""))
				if err != nil {
					t.Fatalf("instantiate: %v", err)
				}
				memory, _ = instance.Memory().Read(0, instance.Memory().Size())
				for i := range memory {
					memory[i] = byte(i*31 ^ i>>9)
				}
				function, dropped := strings.CutPrefix(test.function, "dropped ")
				if dropped {
					if _, err := instance.ExportedFunction("drop").Call(ctx); err != nil {
						t.Fatalf("drop: %v", err)
					}
				}
				if _, err := instance.ExportedFunction(function).Call(ctx, test.args[:]...); err != nil {
					trap, _, _ = strings.Cut(err.Error(), "\n")
				}
				return trap, memory, account
			}
			wantTrap, want, _ := run(plain, module)
			trap, got, _ := run(metered, result.Module)
			if trap != wantTrap || !bytes.Equal(got, want) {
				t.Errorf("%s%v: trap %q, memory as without the meter: %t; want %q and true", test.function, test.args, trap, bytes.Equal(got, want), wantTrap)
			}
		})
	}
}

// TestRangesAreCutShort: a long operation ends between two pieces when its
// fuel does.
func TestRangesAreCutShort(t *testing.T) {
	result := meter(t, bulkGuest(), openLimits(nil))
	account := newLedger()
	account.limit, account.slice = 20_000, 1 // two pieces cost 16,384 units
	ctx := withLedger(t.Context(), account)
	instance, err := meterRuntime(t).InstantiateWithConfig(ctx, result.Module, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		t.Fatalf("instantiate: %v", err)
	}
	_, err = instance.ExportedFunction("fill").Call(ctx, 0, 1, bulkPages<<16)
	if !errors.Is(err, errFuel) {
		t.Errorf("fill = %v, want it to run out of fuel", err)
	}
	memory, _ := instance.Memory().Read(0, instance.Memory().Size())
	if written := bytes.Count(memory, []byte{1}); written != 2<<16 {
		t.Errorf("fill wrote %d bytes, want the %d of two pieces", written, 2<<16)
	}
}
