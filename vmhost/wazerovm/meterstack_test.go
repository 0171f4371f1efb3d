package wazerovm_test

import (
	"math"
	"runtime"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/tars-project/tars/vmhost/wasm"
	wt "github.com/tars-project/tars/vmhost/wasm/wasmtest"
)

// Functions of the modules of this file.
const (
	recursive = 0 // the function of a shape, which calls itself
	leaf      = 1 // () -> (i32)
)

// shape is a function that keeps its engine's registers busy while it calls
// itself: its parameters are the number of calls to go and what else its type
// has.
type shape struct {
	params, results string
	locals          int
	vectors         bool
	code            []byte // after the test of the number
}

// many returns n copies of code.
func many(n int, code ...byte) []byte { return slices.Repeat(code, n) }

// load pushes a number from memory that no two places share.
func load(i int) []byte {
	return slices.Concat([]byte{opConst}, wt.S64(int64(4*i)), []byte{opLoad, 0, 0})
}

// loads pushes n numbers.
func loads(n, from int) []byte {
	var out []byte
	for i := range n {
		out = append(out, load(from+i)...)
	}
	return out
}

// fold takes n numbers into global 0, with one more on top of them.
func fold(n int) []byte {
	return slices.Concat([]byte{opGlobalGet, 0}, many(n, opXor), []byte{opGlobalSet, 0})
}

// again calls the function itself with one less; it takes and leaves nothing.
var again = []byte{opGet, 0, opConst, 1, opSub, opCall, recursive}

// shapes are functions whose frames are hard to estimate.
func shapes() map[string]shape {
	const n = 200
	var groups, sets, reads, joins, cycle, bases []byte
	for i := range 20 {
		groups = slices.Concat(groups, loads(50, 50*i), []byte{opCall, leaf, opDrop}, fold(50))
	}
	local := func(op byte, i int) []byte { return append([]byte{op}, wt.U32(1+i)...) }
	for i := range n {
		sets = slices.Concat(sets, load(i), local(opSet, i))
		reads = slices.Concat(reads, local(opGet, i))
	}
	reads = append(reads, fold(n)...)
	for range 5 {
		joins = slices.Concat(joins, load(1), []byte{opIf, 0x40}, sets, []byte{wt.End, opCall, leaf, opDrop})
	}
	for i := range 500 {
		cycle = slices.Concat(cycle, local(opGet, i%n), load(i), local(opGet, (i*7)%n), []byte{opAdd, opMul}, local(opSet, (i*3)%n))
	}
	for i := range 400 {
		bases = slices.Concat(bases, local(opGet, i%n), []byte{opLoad, 0}, wt.U32(8*(i%50)), local(opSet, (i*5)%n))
	}
	wide := strings.Repeat("\x7f", 200)
	return map[string]shape{
		"small":                    {code: again},
		"operands across a call":   {code: slices.Concat(loads(n, 0), again, fold(n))},
		"operands, group by group": {code: slices.Concat(groups, again, groups)},
		"locals across calls":      {locals: n, code: slices.Concat(sets, []byte{opCall, leaf, opDrop}, reads, sets, again, reads)},
		"locals that are joined":   {locals: n, code: slices.Concat(sets, joins, again, reads)},
		"locals in turn":           {locals: n, code: slices.Concat(sets, cycle, again, reads)},
		"addresses in locals":      {locals: n, code: slices.Concat(sets, bases, again, bases, reads)},
		"operands without a call":  {code: slices.Concat(loads(n, 0), fold(n), loads(n, n), fold(n), again)},
		"vectors across a call": {vectors: true, code: slices.Concat(
			many(n, opConst, 16, 0xfd, 0, 0, 0), again, foldVectors(n))},
		"many parameters": {params: wide, code: slices.Concat(
			[]byte{opGet, 0, opConst, 1, opSub}, loads(200, 0), []byte{opCall, recursive})},
		"many results": {results: wide, code: slices.Concat(again, fold(200), loads(200, 0))},
	}
}

// foldVectors takes n vectors into global 0.
func foldVectors(n int) []byte {
	const vector, xor, anyTrue = 0xfd, 81, 83
	return slices.Concat(many(n-1, vector, xor), []byte{vector, anyTrue, opGlobalSet, 0})
}

// module returns a module that exports the shape's function by "run", with
// parameters beyond the first given as 0 by a function of one parameter.
func (s shape) module() []byte {
	typ := wt.FuncType("\x7f"+s.params, s.results)
	leave := slices.Concat([]byte{opGet, 0, opEqz, opIf, 0x40}, many(len(s.results), opConst, 0), []byte{opReturn, wt.End})
	runner := slices.Concat([]byte{opGet, 0}, many(len(s.params), opConst, 0), []byte{opCall, recursive}, many(len(s.results), opDrop))
	return wt.Module(
		wt.Section(wt.Type, wt.Vec(typ, wt.FuncType("", "\x7f"), wt.FuncType("\x7f", ""))),
		wt.Section(wt.Function, wt.Vec([]byte{0}, []byte{1}, []byte{2})),
		wt.Section(wt.Memory, wt.Vec([]byte{1, 1, 2})),
		wt.Section(wt.Global, wt.Vec([]byte{0x7f, 1, opConst, 0, wt.End})),
		wt.Section(wt.Export, wt.Vec(wt.ExportOf("run", 0, 2), wt.ExportOf("g", 3, 0))),
		wt.Section(wt.Code, wt.Vec(wt.BodyWithLocals(s.locals, slices.Concat(leave, s.code)...), wt.Body(opGlobalGet, 0), wt.Body(runner...))),
	)
}

// fits reports whether a function that calls itself takes at most that many
// bytes of the engine's stack for each call.
//
// The engine's stack starts with 10 KiB; when it is full it is replaced by one
// of twice its size, the frame that did not fit, and 16 bytes. So the size of
// a frame decides at which depth the eighth replacement is made, and that
// shows in what the call allocates.
func fits(t *testing.T, instance api.Module, frame float64) bool {
	t.Helper()
	const first, times = 10_240, 7
	const grown = 1 << times
	depth := int((first*grown+16*(grown-1))/frame) + grown - 1
	size := func(i int) float64 { return float64(int(first)<<i) + float64(int(1)<<i-1)*(frame+16) }
	var most float64
	for i := 1; i <= times; i++ {
		most += size(i)
	}
	most += size(times+1) / 4
	var err error
	ctx := withLedger(t.Context(), newLedger())
	allocated := allocatedBy(func() { _, err = instance.ExportedFunction("run").Call(ctx, uint64(depth)) })
	if err != nil && !strings.Contains(err.Error(), "stack overflow") {
		t.Fatalf("run(%d): %v", depth, err)
	}
	return err == nil && float64(allocated) < most
}

// allocatedBy returns the bytes that f allocates.
func allocatedBy(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestFramesAreEstimatedFromAbove: no function takes more of the engine's stack
// than the meter counts for it.
func TestFramesAreEstimatedFromAbove(t *testing.T) {
	for name, s := range shapes() {
		t.Run(name, func(t *testing.T) {
			// A bound that is never met: it is the engine's stack that is looked at.
			result, err := wasm.Meter(s.module(), wasm.MeterOptions{Limits: openLimits(nil), Stack: math.MaxInt32})
			if err != nil {
				t.Fatalf("Meter = %v, want no error", err)
			}
			instance, err := meterRuntime(t).InstantiateWithConfig(t.Context(), result.Module, wazero.NewModuleConfig().WithName(""))
			if err != nil {
				t.Fatalf("instantiate: %v", err)
			}
			if !fits(t, instance, float64(result.LargestFrame)) {
				t.Errorf("LargestFrame = %d, want at least what the engine uses", result.LargestFrame)
			}
			// The measurement is worth something only if a small estimate fails it.
			const tiny = 8
			if fits(t, instance, tiny) {
				t.Errorf("the frame fits %d bytes, want more: the measurement is broken", tiny)
			}
			size := sort.Search(int(result.LargestFrame), func(n int) bool { return n > tiny && fits(t, instance, float64(n)) })
			t.Logf("%d bytes measured, %d counted", size, result.LargestFrame)
		})
	}
}

// TestStackIsBounded: a recursion without end traps through the host when the
// bytes of its frames pass the bound, whatever their size, and does not take
// much more of the host's memory than that.
func TestStackIsBounded(t *testing.T) {
	for name, s := range shapes() {
		t.Run(name, func(t *testing.T) {
			result := meter(t, s.module(), openLimits(nil))
			ctx := withLedger(t.Context(), newLedger())
			instance, err := meterRuntime(t).InstantiateWithConfig(ctx, result.Module, wazero.NewModuleConfig().WithName(""))
			if err != nil {
				t.Fatalf("instantiate: %v", err)
			}
			used := allocatedBy(func() {
				_, err = instance.ExportedFunction("run").Call(ctx, api.EncodeI32(-1))
			})
			if err == nil || !strings.Contains(err.Error(), errOverflow.Error()) {
				t.Errorf("run = %v, want it to use up its stack", err)
			}
			// A stack that doubles allocates twice its last size in all, and
			// the last may be twice what is needed.
			if used > 5*testStack {
				t.Errorf("run allocated %d bytes, want at most %d", used, 5*testStack)
			}
		})
	}
}
