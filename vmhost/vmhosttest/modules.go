package vmhosttest

import (
	"maps"
	"slices"
	"testing"

	. "github.com/tars-project/tars/vmhost/vmhosttest/wasmbuild" //nolint:revive,staticcheck // instructions read as in the text format
)

// ExactGuest returns one of the exact guests of the suite: echo, with a twist that
// its name says and that an input beginning with "!" sets off; or "canary", which
// leaves traces and looks for them (see canaryReport and what follows).
func ExactGuest(t testing.TB, name string) []byte {
	t.Helper()
	p, ok := exactGuests()[name]
	if !ok {
		t.Fatalf("no exact guest %q; there are %q", name, slices.Sorted(maps.Keys(exactGuests())))
	}
	return p.Encode()
}

// Function numbers of guests with one import; without, handle is 1.
const (
	theImport     = 0
	handleNoFuncs = 1
)

// exactGuests are the guests of the suite by name. A native driver has Go
// functions of the same names that do the same.
func exactGuests() map[string]Plugin {
	return map[string]Plugin{
		"echo":    {Handle: echo()},
		"canary":  canary(8, false),
		"trap":    {Handle: when(Unreachable())},
		"loop":    {Handle: when(forever())},
		"recurse": {Handle: when(Get(0), Get(1), Get(2), Get(3), Call(handleNoFuncs), Drop())},
		"hog":     {Handle: when(hog())},
		"state":   {Handle: state(), Globals: []int32{'0'}, Data: []Data{{At: ScratchAt, Bytes: []byte("0")}}},
		// The rest of memory, which is over every output cap of the suite.
		"flood": {Handle: when(ReturnOK(I32(0), I32(16*64<<10)), Return())},
		"binary": {
			Handle: when(ReturnOK(I32(ScratchAt), I32(4)), Return()),
			Data:   []Data{{At: ScratchAt, Bytes: []byte("ab\xff\xfe")}},
		},
		"refusal": {
			Handle: when(I32(ScratchAt), Return()),
			Data: []Data{
				{At: ScratchAt, Bytes: Error(ScratchAt+20, 10, ScratchAt+30, 9)},
				{At: ScratchAt + 20, Bytes: []byte("bad-configno weight")},
			},
		},
		"log": {
			Imports: []Import{HostImport("log")},
			// Level 9 and the input; then an empty one.
			Handle: Code(I32(9), Get(2), Get(3), Call(theImport), I32(0), I32(0), I32(0), Call(theImport), echo()),
		},
		"logflood": {
			Imports: []Import{HostImport("log")},
			Handle:  Code(times(10_000, I32(1), Get(2), Get(3), Call(theImport)), echo()),
		},
		// search, embed and vectors give back what the host gave: the result
		// types have one layout, of which a list of floats becomes text by
		// counting in bytes.
		"search":  {Imports: []Import{HostImport("search")}, Handle: Code(textCall(), I32(ResultAt))},
		"embed":   {Imports: []Import{HostImport("embed")}, Handle: Code(textCall(), floatsAsText())},
		"vectors": {Imports: []Import{HostImport("vectors")}, Handle: Code(I32(7), I32(-1), I32(3), I32(ResultAt), Call(theImport), floatsAsText())},
		// 200 rows of the first leg, which nobody looks at.
		"rows": {
			Imports: []Import{HostImport("vectors")},
			Handle:  Code(I32(0), I32(0), I32(200), I32(ResultAt), Call(theImport), echo()),
		},
		// Six searches, of which the result of the last is handed back.
		"searches": {Imports: []Import{HostImport("search")}, Handle: Code(times(6, textCall()), I32(ResultAt))},
		// A text of one byte more than the suite's input cap, all NUL.
		"searchlong": {Imports: []Import{HostImport("search")}, Handle: Code(I32(HeapAt), I32(64<<10+1), I32(ResultAt), Call(theImport), I32(ResultAt))},
		// One search, then never back.
		"searchloop": {Imports: []Import{HostImport("search")}, Handle: Code(textCall(), forever(), Unreachable())},
	}
}

// echo is the end of a body: it returns the input.
func echo() []byte { return ReturnOK(Get(2), Get(3)) }

// when is a body that does something if the input begins with "!", then echoes.
func when(body ...[]byte) []byte {
	return Code(Get(2), Load8(0), I32('!'), Eq(), If(body...), echo())
}

// forever is a loop without end.
func forever() []byte { return Loop(Branch(0)) }

// times runs a body n times. It uses local 9.
func times(n int32, body ...[]byte) []byte {
	return Code(I32(n), Set(9), Loop(Code(body...), Get(9), I32(1), Sub(), Tee(9), BranchIf(0)))
}

// hog grows the memory page by page until it is refused, then traps, as
// language runtimes do.
func hog() []byte {
	return Code(Loop(I32(1), Grow(), I32(-1), Ne(), BranchIf(0)), Unreachable())
}

// state counts calls in a global and in memory, both from '0' on, and returns
// both digits: "11" in a VM that no call has touched.
func state() []byte {
	return Code(
		GlobalGet(1), I32(1), Add(), GlobalSet(1),
		I32(ScratchAt), I32(ScratchAt), Load8(0), I32(1), Add(), Store8(0),
		I32(ScratchAt), GlobalGet(1), Store8(1),
		ReturnOK(I32(ScratchAt), I32(2)),
	)
}

// textCall calls the import with the input as text.
func textCall() []byte { return Code(Get(2), Get(3), I32(ResultAt), Call(theImport)) }

// floatsAsText is the end of a body: it returns a result<list<f32>, error> as a
// result<string, error>.
func floatsAsText() []byte {
	return Code(
		I32(ResultAt), Load8(0), I32(0), Eq(),
		If(I32(ResultAt), I32(ResultAt), Load(8), I32(4), Mul(), Store(8)),
		I32(ResultAt),
	)
}
