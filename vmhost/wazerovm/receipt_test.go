package wazerovm_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
	wt "github.com/tars-project/tars/vmhost/wasm/wasmtest"
	"github.com/tars-project/tars/vmhost/wazerovm"
)

// asPlugin makes a plugin of a random program: handle runs it with two numbers
// and returns nothing.
func (p program) asPlugin(a, b uint32) []byte {
	const result = 8 // address
	const store8, store32 = 0x3a, 0x36
	put := func(op, offset byte) []byte { return []byte{opConst, result, opConst, 0, op, 0, offset} }
	handle := bytes.Join([][]byte{
		{opConst},
		wt.S64(int64(int32(a))),
		{opConst},
		wt.S64(int64(int32(b))),
		{opCall, 0, opDrop},
		put(store8, 0), put(store32, 4), put(store32, 8),
		{opConst, result},
	}, nil)
	return p.encodeWith(
		[][]byte{wt.FuncType("\x7f\x7f\x7f\x7f", "\x7f"), wt.FuncType("\x7f", "")},
		[][]byte{{2}, {2}, {3}},
		[][]byte{wt.Body(handle...), wt.Body(opConst, 0), wt.Body()},
		[][]byte{wt.ExportOf("handle", 0, programFuncs), wt.ExportOf("cabi_realloc", 0, programFuncs+1), wt.ExportOf("cabi_post_handle", 0, programFuncs+2)},
	)
}

// pluginFuel is what a plugin costs beside its program: two calls of
// cabi_realloc of one instruction each, and handle with 16 of them, one a call.
const pluginFuel = 2 + 13 + 4

// TestReceipts: what the receipt of a call says of fuel is what an interpreter
// counts, and of memory what the program came to have; and a limit of the fuel
// that a program needs lets it through, one less ends it.
func TestReceipts(t *testing.T) {
	const programs, most = 50, 3_000_000
	ended := 0
	for seed := range uint64(programs) {
		p := newProgram(seed)
		a, b := uint32(seed), uint32(seed*7)
		want, _, ok := reference(p, a, b, most)
		if !ok {
			continue
		}
		ended++
		need := want.used + pluginFuel
		for _, fuel := range []int64{2 * most, need, need - 1} {
			reply, err := runProgram(t, p.asPlugin(a, b), fuel)
			var spent *vmhost.BudgetError
			switch {
			case fuel >= need && (err != nil || reply.Usage.Fuel != need):
				t.Errorf("program %d with %d units of fuel: used %d, %v, want %d", seed, fuel, reply.Usage.Fuel, err, need)
			case fuel < need && err == nil && reply.Usage.Fuel == need:
				// It ended before anything compared: the host finds out.
			case fuel < need && (!errors.As(err, &spent) || spent.Budget != vmhost.BudgetFuel || spent.Allowed != fuel || spent.Used != reply.Usage.Fuel || spent.Used > need):
				t.Errorf("program %d with %d units of fuel: used %d, %v, want it to end between those and %d", seed, fuel, reply.Usage.Fuel, err, need)
			}
			if memory := int64(len(want.memory)) + 8*100; fuel >= need && reply.Usage.PeakMemory != memory {
				t.Errorf("program %d: PeakMemory = %d, want %d: the memory and a table of 100 entries", seed, reply.Usage.PeakMemory, memory)
			}
		}
	}
	if ended < programs/2 {
		t.Errorf("%d of %d programs run to their end, want half of them", ended, programs)
	}
}

func runProgram(t *testing.T, module []byte, fuel int64) (vmhost.Reply, error) {
	t.Helper()
	driver := wazerovm.New(nil)
	defer driver.Close() //nolint:errcheck // of memory alone
	p, err := driver.Load(t.Context(), vmhost.Source{
		Module: module, Digest: vmhost.DigestOf(module),
		Limits: vmhost.Limits{Wall: time.Minute, Memory: 1 << 20, Input: 1, Output: 1, Logs: 1, Fuel: fuel},
	})
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return p.Call(t.Context(), vmhost.Request{})
}
