package wazerovm_test

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/vmhosttest/wasmbuild"
	"github.com/tars-project/tars/vmhost/wasm"
	"github.com/tars-project/tars/vmhost/wazerovm"
)

// What the guest of the fuzz tests has of memory, in bytes: at the start, and at
// the most.
const (
	fuzzPages  = 2
	fuzzMemory = fuzzPages << 16
	fuzzLimit  = 6 << 16
)

// step is one call of a host function by the guest: which, with what, and what
// its cabi_realloc does meanwhile.
type step struct {
	function int
	realloc  uint32
	place    uint32 // what cabi_realloc has to do with
	args     [9]uint64
}

// What cabi_realloc does.
const (
	reallocGood    = iota
	reallocGrows   // by a page first: where the result goes is somewhere else then
	reallocGrowsBy // by place pages
	reallocGives   // place, whatever that is
	reallocTraps
	reallocLogs  // calls log, which it must not
	reallocAsks  // calls another host function, which it must not
	reallocModes // how many there are
)

// stepBytes is how long a step is in the memory of the guest, and fuzzInput what
// all may have.
const (
	stepBytes = 12 + 9*8
	mostSteps = 32
	fuzzInput = mostSteps * stepBytes
)

// steps reads a guest's calls from the input of a fuzz test, 3 bytes for a number
// and 2 for the rest. Numbers are near the edges of what pointers and lengths
// have.
func steps(b []byte, functions int) []step {
	number := func() uint64 {
		if len(b) < 3 {
			b = nil
			return 0
		}
		edges := [...]uint64{0, 0, fuzzMemory, fuzzLimit, 1 << 31, 1 << 32, wasmbuild.ScratchAt, 1 << 63}
		n := edges[b[0]%8] + uint64(int64(int16(binary.LittleEndian.Uint16(b[1:]))))
		b = b[3:]
		return n
	}
	var list []step
	for len(b) >= 2 && len(list) < mostSteps {
		s := step{function: int(b[0]) % functions, realloc: uint32(b[1]) % reallocModes}
		b = b[2:]
		if s.realloc != reallocGood {
			s.place = uint32(number())
		}
		count := 4
		if functions > 4 {
			count = len(s.args)
		}
		for i := range count {
			s.args[i] = number()
		}
		list = append(list, s)
	}
	return list
}

// encode is the step as the guest reads it.
func (s step) encode(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(s.function))
	b = binary.LittleEndian.AppendUint32(b, s.realloc)
	b = binary.LittleEndian.AppendUint32(b, s.place)
	for _, a := range s.args {
		b = binary.LittleEndian.AppendUint64(b, a)
	}
	return b
}

// stepper is a guest that reads steps from its input and calls the imported
// functions as they say.
func stepper(imports []wasmbuild.Import) []byte {
	const mode, place = 1, 2 // globals
	const cursor, end = 4, 5 // locals
	eq := func(global uint32, n int32, body ...[]byte) []byte {
		return wasmbuild.Code(wasmbuild.GlobalGet(global), wasmbuild.I32(n), wasmbuild.Eq(), wasmbuild.If(body...))
	}
	var dispatch [][]byte
	for i, f := range imports {
		var call []byte
		for n, t := range f.Type.Params {
			load := wasmbuild.Load(uint32(12 + n*8))
			if t == wasm.I64 {
				load[0]++ // i64.load is the next instruction
			}
			call = wasmbuild.Code(call, wasmbuild.Get(cursor), load)
		}
		call = wasmbuild.Code(call, wasmbuild.Call(uint32(i)))
		if len(f.Type.Results) > 0 {
			call = wasmbuild.Code(call, wasmbuild.Drop())
		}
		dispatch = append(dispatch, wasmbuild.Get(cursor), wasmbuild.Load(0), wasmbuild.I32(int32(i)), wasmbuild.Eq(), wasmbuild.If(call))
	}
	logAt, searchAt := uint32(len(imports)), uint32(len(imports)+1)
	all := append(slices.Clone(imports), wasmbuild.HostImport("log"), wasmbuild.HostImport("search"))
	grow := func(pages []byte) []byte { return wasmbuild.Code(pages, wasmbuild.Grow(), wasmbuild.Drop()) }
	args := func(n int) []byte {
		return slices.Concat(slices.Repeat([][]byte{wasmbuild.I32(wasmbuild.ResultAt)}, n)...)
	}
	return wasmbuild.Plugin{
		Imports: all,
		Pages:   fuzzPages,
		Globals: []int32{0, 0},
		Data:    []wasmbuild.Data{{At: wasmbuild.ScratchAt, Bytes: []byte("né" + strings.Repeat("text", 16))}},
		Handle: wasmbuild.Code(
			wasmbuild.Get(2), wasmbuild.Set(cursor),
			wasmbuild.Get(2), wasmbuild.Get(3), wasmbuild.Add(), wasmbuild.Set(end),
			wasmbuild.Loop(
				wasmbuild.Get(cursor), wasmbuild.Get(end), wasmbuild.Ne(),
				wasmbuild.If(
					wasmbuild.Get(cursor), wasmbuild.Load(4), wasmbuild.GlobalSet(mode),
					wasmbuild.Get(cursor), wasmbuild.Load(8), wasmbuild.GlobalSet(place),
					wasmbuild.Code(dispatch...),
					wasmbuild.Get(cursor), wasmbuild.I32(stepBytes), wasmbuild.Add(), wasmbuild.Set(cursor),
					wasmbuild.Branch(1),
				),
			),
			wasmbuild.ReturnOK(wasmbuild.I32(0), wasmbuild.I32(0)),
		),
		Realloc: wasmbuild.Code(
			eq(mode, reallocGrows, grow(wasmbuild.I32(1))),
			eq(mode, reallocGrowsBy, grow(wasmbuild.GlobalGet(place))),
			eq(mode, reallocGives, wasmbuild.GlobalGet(place), wasmbuild.Return()),
			eq(mode, reallocTraps, wasmbuild.Unreachable()),
			eq(mode, reallocLogs, args(3), wasmbuild.Call(logAt)),
			eq(mode, reallocAsks, args(3), wasmbuild.Call(searchAt)),
			// The heap's end, aligned.
			wasmbuild.GlobalGet(0), wasmbuild.I32(7), wasmbuild.Add(), wasmbuild.I32(-8), wasmbuild.And(),
			wasmbuild.Tee(4), wasmbuild.Get(3), wasmbuild.Add(), wasmbuild.GlobalSet(0), wasmbuild.Get(4),
		),
	}.Encode()
}

// fuzzed loads a guest that calls functions of one module.
func fuzzed(f *testing.F, imports []wasmbuild.Import) vmhost.Program {
	driver := wazerovm.New(nil)
	f.Cleanup(func() {
		if err := driver.Close(); err != nil {
			f.Errorf("Close: %v", err)
		}
	})
	src := source(stepper(imports))
	src.Limits = vmhost.Limits{Wall: 10 * time.Second, Memory: fuzzLimit, Input: fuzzInput, Output: 1000, Logs: 1000, HostCalls: 8}
	src.Grants = vmhost.Grants{Search: true, Embed: true, Vectors: true, Log: true, Clock: true}
	p, err := driver.Load(context.Background(), src)
	if err != nil {
		f.Fatal(err)
	}
	return p
}

// FuzzHostSearch, FuzzHostEmbed, FuzzHostVectors and FuzzHostLog: a guest calls
// a host function with any arguments, and its cabi_realloc does what it must not.
func FuzzHostSearch(f *testing.F)  { fuzzHost(f, "search") }
func FuzzHostEmbed(f *testing.F)   { fuzzHost(f, "embed") }
func FuzzHostVectors(f *testing.F) { fuzzHost(f, "vectors") }
func FuzzHostLog(f *testing.F)     { fuzzHost(f, "log") }

func fuzzHost(f *testing.F, name string) {
	p := fuzzed(f, []wasmbuild.Import{wasmbuild.HostImport(name)})
	for realloc := range byte(reallocModes) {
		f.Add([]byte{0, realloc, 6, 0, 0, 6, 0, 0, 0, 9, 0, 6, 0, 1})
	}
	f.Add([]byte{0, 0, 6, 0, 0, 0, 9, 0, 6, 0, 1, 0, 0, 0, 0, 0, 2, 236, 255, 0, 20, 0, 2, 236, 255, 0, 0, 0})
	f.Add([]byte{0, 0, 5, 255, 255, 5, 255, 255, 5, 252, 255, 5, 236, 255})
	for _, past := range []byte{248, 247, 244, 240, 236} { // 8 to 20 bytes before the end of memory
		f.Add([]byte{0, 0, 2, past, 255, 0, 9, 0, 6, 0, 1})                // a text of 9
		f.Add([]byte{0, 0, 6, 0, 0, 0, 9, 0, 2, past, 255})                // a result, of 20
		f.Add([]byte{0, 0, 0, 1, 0, 0, 2, 0, 0, 3, 0, 2, past, 255})       // the same of vectors
		f.Add([]byte{0, 1, 6, 0, 0, 0, 9, 0, 2, past, 255, 2, past, 255})  // while the memory grows
		f.Add([]byte{0, 3, 2, past, 255, 6, 0, 0, 0, 9, 0, 6, 0, 1, 0, 0}) // cabi_realloc gives the place
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		list := steps(input, 1)
		var asked []vmhost.HostCall
		_, err := callSteps(t, p, list, time.Minute, func(_ context.Context, hc vmhost.HostCall) ([]byte, error) {
			asked = append(asked, hc)
			switch n := len(hc.Text) + int(hc.Count)%7; n % 8 {
			case 6:
				return nil, &vmhost.GuestError{Code: "c", Message: strings.Repeat("m", n)}
			default:
				return []byte(strings.Repeat("four", n%64)), nil
			}
		})
		if len(list) > 0 && name != "log" {
			checkFirst(t, name, list[0], asked, err)
		}
		for _, hc := range asked {
			if hc.Func != name && (hc.Func != "search" || !utf8.ValidString(hc.Text)) || len(hc.Text) > fuzzInput {
				t.Errorf("the host was asked %.100v, a call of %s", hc, name)
			}
		}
	})
}

// callSteps runs the guest, and looks at how it ends.
func callSteps(t *testing.T, p vmhost.Program, list []step, patience time.Duration, host vmhost.HostFunc) (vmhost.Reply, error) {
	var input []byte
	for _, s := range list {
		input = s.encode(input)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	reply, err := p.Call(ctx, vmhost.Request{Capability: "rank", Input: input, Host: host})
	switch {
	case err == nil, errors.Is(err, vmhost.ErrTrapped), errors.Is(err, vmhost.ErrMemory), errors.Is(err, context.DeadlineExceeded):
	default:
		t.Errorf("Call = %v, want none, ErrTrapped or ErrMemory", err)
	}
	logs := 0
	for _, l := range reply.Logs {
		logs += len(l.Text) + 32
		if !utf8.ValidString(l.Text) || l.Level < 0 || l.Level > 3 {
			t.Errorf("log of level %d with %q", l.Level, l.Text)
		}
	}
	if logs > 1000 || reply.Usage.PeakMemory > fuzzLimit || reply.Usage.HostCalls > 8 {
		t.Errorf("Usage %+v with %d bytes of log, want it in the limits", reply.Usage, logs)
	}
	return reply, err
}

// checkFirst: the first call reaches the host exactly when its arguments lie in
// memory, as they were.
func checkFirst(t *testing.T, name string, s step, asked []vmhost.HostCall, err error) {
	a := func(i int) uint64 { return uint64(uint32(s.args[i])) }
	ret := a(2)
	want := vmhost.HostCall{Func: name}
	if name == "vectors" {
		ret = a(3)
		want.Leg, want.First, want.Count = uint32(a(0)), uint32(a(1)), uint32(a(2))
	}
	inside, text := ret%4 == 0 && ret+20 <= fuzzMemory, uint64(0)
	if name != "vectors" {
		inside = inside && a(0)+a(1) <= fuzzMemory
		text = a(1) // what is there is not known here
	}
	first := vmhost.HostCall{}
	if len(asked) > 0 {
		first = asked[0]
		text -= uint64(len(first.Text))
		first.Text = ""
	}
	trapped := len(asked) == 0 && errors.Is(err, vmhost.ErrTrapped)
	switch {
	case !inside && !trapped:
		t.Errorf("%s(%v) outside of memory: asked %v, %v, want ErrTrapped", name, s.args[:4], asked, err)
	case a(1) > fuzzInput && name != "vectors": // refused, and the guest goes on
	case inside && (first != want || text != 0) && (!trapped || name == "vectors"): // it traps for text that is not UTF-8
		t.Errorf("%s(%v) inside of memory: asked %v, %v, want %v first", name, s.args[:4], asked, err, want)
	}
}

// FuzzWASI is FuzzHostSearch for all functions of WASI.
func FuzzWASI(f *testing.F) {
	types := wasm.PluginImports()[wasm.WASIModule]
	names := slices.Sorted(maps.Keys(types))
	var imports []wasmbuild.Import
	for _, name := range names {
		imports = append(imports, wasmbuild.WASIImport(name))
	}
	p := fuzzed(f, imports)
	for i := range names {
		f.Add(append([]byte{byte(i), 0}, make([]byte, 27)...))
		f.Add(append([]byte{byte(i), 0, 0, 1, 0}, slices.Repeat([]byte{2, 252, 255}, 8)...))
		f.Add(append([]byte{byte(i), 0, 0, 2, 0}, slices.Repeat([]byte{5, 255, 255}, 8)...))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		// A guest may sleep as long as it has time.
		_, _ = callSteps(t, p, steps(input, len(names)), 5*time.Millisecond, nil)
	})
}
