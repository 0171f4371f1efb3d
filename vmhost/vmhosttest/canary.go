package vmhosttest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/vmhosttest/wasmbuild"
)

// What a canary guest does by the first byte of its input. All but report
// leave the input's second byte everywhere first.
const (
	canaryReport = 'r' // tells what it finds
	canaryReturn = 'w'
	canaryGrow   = 'g' // grows the memory and writes there too
	canaryTrap   = 't'
	canaryExit   = 'x' // calls proc_exit
	canaryLoop   = 'l' // never returns
	canaryClose  = 'c' // closes standard output
)

// canary is a guest that leaves traces wherever a guest can, and one that
// reports what traces it finds. Its memory has so many pages of 64 KiB. lasting
// lets it change a table and drop a segment besides, which cannot be put back.
func canary(pages int32, lasting bool) wasmbuild.Plugin {
	const (
		fdClose, fdWrite, exit = 0, 1, 2
		first                  = 64 << 10 // of the pages that get traces, all but the lowest 64 KiB
		step                   = 8 << 10  // every other page of the system
		at, sum, i             = 4, 5, 6  // locals
		traces                 = 1        // global
	)
	n, get, set, code := wasmbuild.I32, wasmbuild.Get, wasmbuild.Set, wasmbuild.Code
	is := func(command byte, body ...[]byte) []byte {
		return code(get(2), wasmbuild.Load8(0), n(int32(command)), wasmbuild.Eq(), wasmbuild.If(body...))
	}
	// each runs body with the address in local at, from first to the end.
	each := func(by int32, body ...[]byte) []byte {
		return code(n(first), set(at), wasmbuild.Loop(
			code(body...),
			get(at), n(by), wasmbuild.Add(), wasmbuild.Tee(at), n(pages<<16), wasmbuild.Ne(), wasmbuild.BranchIf(0),
		))
	}
	mark := code(get(2), wasmbuild.Load8(1))
	add := func(value ...[]byte) []byte {
		return code(get(sum), n(31), wasmbuild.Mul(), code(value...), wasmbuild.Add(), set(sum))
	}
	// A word at 512 tells fd_write of one byte at 600.
	write := code(n(512), n(600), wasmbuild.Store(0), n(516), n(1), wasmbuild.Store(0),
		n(1), n(512), n(1), n(520), wasmbuild.Call(fdWrite))
	leave := code(
		each(step, get(at), mark, wasmbuild.Store(0)),
		mark, wasmbuild.GlobalSet(traces),
	)
	find := code(
		each(step/2, add(get(at), wasmbuild.Load(0))),
		add(wasmbuild.GlobalGet(traces)), add(wasmbuild.Size()), add(write),
		// The passive segment is there still.
		n(700), n(0), n(4), wasmbuild.MemoryInit(0), add(n(700), wasmbuild.Load(0)),
	)
	p := wasmbuild.Plugin{
		Imports: []wasmbuild.Import{wasmbuild.WASIImport("fd_close"), wasmbuild.WASIImport("fd_write"), wasmbuild.WASIImport("proc_exit")},
		Globals: []int32{77}, Pages: uint32(pages), MaxPages: uint32(pages) + 4,
		Data: []wasmbuild.Data{{Bytes: []byte("seed"), Passive: true}, {At: first, Bytes: []byte("data")}},
		// Something that only an initialised guest has.
		Initialize: code(n(first+16), n(12345), wasmbuild.Store(0), n(78), wasmbuild.GlobalSet(traces)),
	}
	if lasting {
		p.Table = 1
		leave = code(leave, n(0), wasmbuild.RefFunc(3), wasmbuild.TableSet(), wasmbuild.DataDrop(0))
		find = code(find, add(n(0), wasmbuild.TableGet(), wasmbuild.RefIsNull()))
	}
	p.Handle = code(
		is(canaryReport,
			code(find),
			// The sum as eight letters.
			n(0), set(i),
			wasmbuild.Loop(
				n(wasmbuild.ScratchAt), get(i), wasmbuild.Add(),
				get(sum), n(15), wasmbuild.And(), n('a'), wasmbuild.Add(), wasmbuild.Store8(0),
				get(sum), n(4), shiftRight(), set(sum),
				get(i), n(1), wasmbuild.Add(), wasmbuild.Tee(i), n(8), wasmbuild.Ne(), wasmbuild.BranchIf(0),
			),
			wasmbuild.ReturnOK(n(wasmbuild.ScratchAt), n(8)), wasmbuild.Return(),
		),
		leave,
		is(canaryGrow, n(1), wasmbuild.Grow(), wasmbuild.Drop(), n(pages<<16), mark, wasmbuild.Store(0)),
		is(canaryClose, n(1), wasmbuild.Call(fdClose), wasmbuild.Drop()),
		is(canaryTrap, wasmbuild.Unreachable()),
		is(canaryExit, n(0), wasmbuild.Call(exit)),
		is(canaryLoop, forever()),
		wasmbuild.ReturnOK(n(0), n(0)),
	)
	return p
}

// loopFuel is less fuel than a loop uses until its deadline.
const loopFuel = 10_000_000

// shiftRight is i32.shr_u.
func shiftRight() []byte { return []byte{0x76} }

// testCanaries: nothing of one call is there in another, however either ends.
func testCanaries(t *testing.T, h Harness) {
	t.Run("interleaved", func(t *testing.T) { testInterleaved(t, h, canary(8, false), 10_000) })
	t.Run("what cannot be put back", func(t *testing.T) { testInterleaved(t, h, canary(2, true), 400) })
	t.Run("new each time", func(t *testing.T) {
		src := sourceOf(canary(2, false).Encode())
		src.Fresh = true
		testInterleavedOf(t, h, src, 400)
	})
	t.Run("ends of fuel", func(t *testing.T) {
		src := sourceOf(canary(2, false).Encode())
		src.Limits.Fuel = 2_000_000 // of which leaving traces and finding some take a small part
		testInterleavedOf(t, h, src, 2_000)
	})
	t.Run("thousands of pages", func(t *testing.T) { testInterleaved(t, h, canary(512, false), 60) }) // 4,088 pages apart
}

func testInterleaved(t *testing.T, h Harness, guest wasmbuild.Plugin, calls int) {
	src := sourceOf(guest.Encode())
	src.Limits.Memory = 64 << 20
	testInterleavedOf(t, h, src, calls)
}

// testInterleavedOf makes calls that leave traces and calls that look for them,
// by several callers at once. Every end comes up; loops and what is costly to
// end seldom.
func testInterleavedOf(t *testing.T, h Harness, src vmhost.Source, calls int) {
	const callers = 4
	src.Limits.Wall = 10 * time.Second
	g := load(t, h.host(t), src)
	want := wantReport(t, h, src)
	var group sync.WaitGroup
	for caller := range callers {
		group.Go(func() {
			for i := range calls / callers {
				command := byte(canaryReport)
				switch {
				case i%2 == 1:
				case i%400 == 398:
					command = canaryLoop
				case i%40 == 18:
					command = canaryTrap
				case i%40 == 28:
					command = canaryExit
				case i%40 == 8:
					command = canaryGrow
				case i%40 == 38:
					command = canaryClose
				default:
					command = canaryReturn
				}
				if err := canaryCall(t.Context(), g, command, byte(caller<<5|i&31|1), want); err != nil {
					t.Errorf("caller %d, call %d (%c): %v", caller, i, command, err)
					return
				}
			}
		})
	}
	group.Wait()
}

// wantReport is what a guest that nobody has called before reports.
func wantReport(t *testing.T, h Harness, src vmhost.Source) string {
	t.Helper()
	src.Fresh = true
	reply, err := load(t, h.host(t), src).Call(t.Context(), request("r"))
	if err != nil || len(reply.Output) != 8 {
		t.Fatalf("the first report = %q, %v, want eight letters", reply.Output, err)
	}
	return string(reply.Output)
}

// canaryCall makes one call and says what is wrong with it. A loop ends at a deadline
// of its own, unless the guest has a limit on fuel.
func canaryCall(ctx context.Context, g *vmhost.Guest, command, mark byte, want string) error {
	wantLoop := context.DeadlineExceeded
	if g.Limits().Fuel < loopFuel {
		wantLoop = vmhost.ErrFuel
	} else if command == canaryLoop {
		short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		ctx = short
	}
	reply, err := g.Call(ctx, request(string([]byte{command, mark & 0x7f})))
	switch command {
	case canaryReport:
		if err != nil || string(reply.Output) != want {
			return fmt.Errorf("found %q, %w, want %q as in a new instance", reply.Output, err, want)
		}
	case canaryTrap, canaryExit:
		if !errors.Is(err, vmhost.ErrTrapped) {
			return fmt.Errorf("ended with %w, want ErrTrapped", err)
		}
	case canaryLoop:
		if !errors.Is(err, wantLoop) {
			return fmt.Errorf("ended with %w, want %w", err, wantLoop)
		}
	default:
		return err
	}
	return nil
}
