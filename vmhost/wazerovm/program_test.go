package wazerovm_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/vmhosttest/wasmbuild"
	"github.com/tars-project/tars/vmhost/wasm"
	"github.com/tars-project/tars/vmhost/wazerovm"
)

// newDriver returns a driver as a cell has it, which is closed with the test.
func newDriver(t *testing.T) *wazerovm.Driver {
	t.Helper()
	driver := wazerovm.New(nil)
	t.Cleanup(func() {
		if err := driver.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return driver
}

func source(module []byte) vmhost.Source {
	return vmhost.Source{
		Module: module,
		Digest: vmhost.DigestOf(module),
		Limits: vmhost.Limits{Wall: 10 * time.Second, Memory: 2 << 20, Input: 1000, Output: 1000, Logs: 1000, HostCalls: 1},
	}
}

// TestLoadRefuses: modules that vmhost/wasm would have refused end in a refusal
// here too, and not in a panic.
func TestLoadRefuses(t *testing.T) {
	good := wasmbuild.Plugin{Handle: wasmbuild.I32(1024)}
	small := good
	small.Pages = 100
	noMemory := good.Module()
	noMemory.Memory = nil
	noMemory.Exports = noMemory.Exports[1:]
	wrongType := good.Module()
	wrongType.Exports[4].Index = 0 // _initialize with four parameters
	for name, module := range map[string][]byte{
		"nothing": nil,
		// wazero v1.12.0 panics on this one.
		"false type index":       []byte("\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x03\x02\x00\x05\x0a\x09\x02\x04\x00\x10\x01\x0b\x02\x00\x0b"),
		"memory over its limit":  small.Encode(),
		"no memory":              noMemory.Encode(),
		"_initialize with types": wrongType.Encode(),
		"not granted":            wasmbuild.Plugin{Imports: []wasmbuild.Import{wasmbuild.HostImport("search")}, Handle: wasmbuild.I32(0)}.Encode(),
		"unknown import":         wasmbuild.Plugin{Imports: []wasmbuild.Import{{Module: wasm.WASIModule, Name: "fork"}}, Handle: wasmbuild.I32(0)}.Encode(),
		"trap at the start":      wasmbuild.Plugin{Handle: wasmbuild.I32(0), Initialize: wasmbuild.Unreachable()}.Encode(),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newDriver(t).Load(t.Context(), source(module))
			var refused *vmhost.RefusedError
			if !errors.As(err, &refused) || refused.Detail == "" {
				t.Errorf("Load = %v, want a *RefusedError", err)
			}
		})
	}
	for _, memory := range []int64{0, -1, 1000, 1 << 32} {
		src := source(good.Encode())
		src.Limits.Memory = memory
		if _, err := newDriver(t).Load(t.Context(), src); !errors.Is(err, vmhost.ErrRefused) {
			t.Errorf("Load with %d bytes of memory = %v, want ErrRefused", memory, err)
		}
	}
}

// TestDeterministic: one seed gives one output, whatever the guest asks the
// clock and the random numbers.
func TestDeterministic(t *testing.T) {
	const at = 2048
	n := wasmbuild.I32
	guest := wasmbuild.Plugin{
		Imports: []wasmbuild.Import{wasmbuild.WASIImport("random_get"), wasmbuild.WASIImport("clock_time_get")},
		Handle: wasmbuild.Code(
			n(at), n(8), wasmbuild.Call(0), wasmbuild.Drop(),
			n(0), wasmbuild.I64(0), n(at+8), wasmbuild.Call(1), wasmbuild.Drop(),
			// Cut each byte to 7 bits: UTF-8.
			wasmbuild.Loop(
				n(at), wasmbuild.Get(4), wasmbuild.Add(),
				n(at), wasmbuild.Get(4), wasmbuild.Add(), wasmbuild.Load8(0), n(127), wasmbuild.And(), wasmbuild.Store8(0),
				wasmbuild.Get(4), n(1), wasmbuild.Add(), wasmbuild.Tee(4), n(16), wasmbuild.Ne(), wasmbuild.BranchIf(0),
			),
			wasmbuild.ReturnOK(n(at), n(16)),
		),
	}
	src := source(guest.Encode())
	src.Grants.Clock = true
	program, err := newDriver(t).Load(t.Context(), src)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	call := func(req vmhost.Request) string {
		t.Helper()
		req.Capability = "rank"
		reply, err := program.Call(t.Context(), req)
		if err != nil {
			t.Fatalf("Call: %v", err)
		}
		return string(reply.Output)
	}
	fixed := vmhost.Request{Deterministic: true, Seed: [32]byte{1}}
	if a, b := call(fixed), call(fixed); a != b {
		t.Errorf("two deterministic calls gave %q and %q", a, b)
	}
	outputs := []string{call(fixed), call(vmhost.Request{Deterministic: true}), call(vmhost.Request{}), call(vmhost.Request{})}
	slices.Sort(outputs)
	if distinct := slices.Compact(outputs); len(distinct) != 4 {
		t.Errorf("four calls with different seeds or none gave %d outputs, want 4: %q", len(distinct), distinct)
	}
}

// BenchmarkCall is a new instance and one call of the smallest guest.
func BenchmarkCall(b *testing.B) {
	guest := wasmbuild.Plugin{Handle: wasmbuild.ReturnOK(wasmbuild.Get(2), wasmbuild.Get(3))}
	driver := wazerovm.New(nil)
	defer driver.Close() //nolint:errcheck // a benchmark
	program, err := driver.Load(b.Context(), source(guest.Encode()))
	if err != nil {
		b.Fatal(err)
	}
	req := vmhost.Request{Capability: "rank", Input: []byte("hello")}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := program.Call(b.Context(), req); err != nil {
			b.Fatal(err)
		}
	}
}
