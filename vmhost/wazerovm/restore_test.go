package wazerovm

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/vmhosttest/wasmbuild"
	"github.com/tars-project/tars/vmhost/wasm"
)

// preparedProgram is a program that is ready for calls; it is closed with the
// test.
func preparedProgram(tb testing.TB, src vmhost.Source) *program {
	tb.Helper()
	p := plainProgram(tb, src, engine{metered: true})
	if err := p.prepare(tb.Context(), nil); err != nil {
		tb.Fatalf("prepare: %v", err)
	}
	return p
}

// scribbler writes a word to each second page of its memory of so many pages of
// 64 KiB, and reads all others.
func scribbler(pages int32) []byte {
	const first, at, word = 64 << 10, 4, 5
	n, get := wasmbuild.I32, wasmbuild.Get
	guest := wasmbuild.Plugin{
		Pages: uint32(pages),
		Handle: wasmbuild.Code(
			n(first), wasmbuild.Set(at),
			wasmbuild.Loop(
				get(at), get(2), wasmbuild.Load8(0), wasmbuild.Store(64),
				get(at), wasmbuild.Load(4096), wasmbuild.Set(word),
				get(at), n(8192), wasmbuild.Add(), wasmbuild.Tee(at), n(pages<<16), wasmbuild.Ne(), wasmbuild.BranchIf(0),
			),
			wasmbuild.ReturnOK(n(0), n(0)),
		),
		// What an image holds and a new instance does not.
		Initialize: wasmbuild.Code(
			n(first), wasmbuild.Set(0),
			wasmbuild.Loop(
				get(0), get(0), wasmbuild.Store(0),
				get(0), n(4096), wasmbuild.Add(), wasmbuild.Tee(0), n(pages<<16), wasmbuild.Ne(), wasmbuild.BranchIf(0),
			),
		),
	}
	m := guest.Module()
	m.Funcs[3].Locals = 1
	return m.Encode()
}

// wantExact checks that every VM that waits for a call is its image, byte for
// byte.
func wantExact(t *testing.T, p *program) {
	t.Helper()
	p.pool.mu.Lock()
	defer p.pool.mu.Unlock()
	for _, v := range p.pool.vms {
		for i, c := range v.cores {
			part := p.image.parts[i]
			if !bytes.Equal(c.memory.view(), part.memory.view) {
				at := 0
				for c.memory.view()[at] == part.memory.view[at] {
					at++
				}
				t.Fatalf("memory differs from its image at %d of %d: %d, want %d", at, c.memory.size, c.memory.view()[at], part.memory.view[at])
			}
			for j, g := range c.globals {
				if g.Get() != part.globals[j] {
					t.Fatalf("global %d = %d, want %d", j, g.Get(), part.globals[j])
				}
			}
		}
	}
}

// TestRestoreIsExact: thousands of pages that alternate between written and not,
// below and above the bound of those that are kept, with the kernel moving pages
// about where it can be made to.
func TestRestoreIsExact(t *testing.T) {
	for _, pages := range []int32{2, 64, 256, 513} {
		src := guestSource(scribbler(pages))
		p := preparedProgram(t, src)
		if p.image == nil {
			t.Fatal("no image")
		}
		stop := make(chan struct{})
		var compactor sync.WaitGroup
		if file, err := os.OpenFile("/proc/sys/vm/compact_memory", os.O_WRONLY, 0); err == nil {
			compactor.Go(func() {
				defer file.Close()
				for {
					select {
					case <-stop:
						return
					default:
						_, _ = file.WriteString("1") // refused in some containers
					}
				}
			})
		}
		for i := range 100 {
			req := vmhost.Request{Capability: "rank", Input: []byte{byte(1 + i%100)}}
			if _, err := p.Call(t.Context(), req); err != nil {
				t.Fatal(err)
			}
			wantExact(t, p)
		}
		close(stop)
		compactor.Wait()
		if n := len(p.pool.vms); n != 1 {
			t.Errorf("%d VMs wait after calls one after the other, want 1", n)
		}
	}
}

// TestScanFindsWrites: the ranges are those that were written, also when there
// are more than one scan returns; without means the memory is restored all the
// same.
func TestScanFindsWrites(t *testing.T) {
	p := preparedProgram(t, guestSource(scribbler(256)))
	v := p.pool.take()
	defer v.close()
	page := os.Getpagesize()
	b := v.memory.view()
	var want []int
	for at := 0; at < len(b); at += 2 * page {
		b[at]++
		want = append(want, at)
	}
	var got []int
	err := v.pages.written(b, func(start, end int) error {
		for at := start; at < end; at += page {
			got = append(got, at)
		}
		return nil
	})
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("written = %d pages, %v, want the %d that were", len(got), err, len(want))
	}
	v.pages.pagemap = -1
	if err := v.restore(p.image); err != nil || !bytes.Equal(v.memory.view(), p.image.parts[0].memory.view) {
		t.Errorf("restore without a scan: %v, or the memory differs from its image", err)
	}
}

// TestOneHeavyCallDoesNotStay: pages that a call did not write are not kept for
// the next, whatever calls before it wrote.
func TestOneHeavyCallDoesNotStay(t *testing.T) {
	n, get := wasmbuild.I32, wasmbuild.Get
	const first, pages = 64 << 10, 8
	guest := wasmbuild.Plugin{
		Pages: pages,
		Handle: wasmbuild.Code(
			get(2), wasmbuild.Load8(0), n('h'), wasmbuild.Eq(), wasmbuild.If(
				n(first), wasmbuild.Set(4),
				wasmbuild.Loop(
					get(4), n(1), wasmbuild.Store(0),
					get(4), n(4096), wasmbuild.Add(), wasmbuild.Tee(4), n(pages<<16), wasmbuild.Ne(), wasmbuild.BranchIf(0),
				),
			),
			wasmbuild.ReturnOK(n(0), n(0)),
		),
	}
	p := preparedProgram(t, guestSource(guest.Encode()))
	kept := func(input string) (n int) {
		if _, err := p.Call(t.Context(), vmhost.Request{Capability: "rank", Input: []byte(input)}); err != nil {
			t.Fatal(err)
		}
		v := p.pool.take()
		defer p.keep(v)
		if err := v.pages.written(v.memory.view(), func(start, end int) error { n += end - start; return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	light := kept("l")
	if heavy := kept("h"); heavy < (pages-1)<<16 {
		t.Errorf("a call that writes everywhere keeps %d bytes, want at least %d", heavy, (pages-1)<<16)
	}
	for range unusedCalls {
		kept("l")
	}
	if after := kept("l"); after != light {
		t.Errorf("a light call after a heavy one keeps %d bytes, want %d as before it", after, light)
	}
	wantExact(t, p)
}

// TestWarmUpAndSamplesArePartOfTheImage: what they leave in memory and globals is
// there in each call, once.
func TestWarmUpAndSamplesArePartOfTheImage(t *testing.T) {
	n := wasmbuild.I32
	// Adds to a count that handle returns as a letter, from 'a' on.
	count := func(by int32) []byte {
		return wasmbuild.Code(wasmbuild.GlobalGet(1), n(by), wasmbuild.Add(), wasmbuild.GlobalSet(1))
	}
	guest := wasmbuild.Plugin{
		Globals: []int32{'a'},
		Handle: wasmbuild.Code(
			count(1), n(2048), wasmbuild.GlobalGet(1), wasmbuild.Store8(0),
			wasmbuild.ReturnOK(n(2048), n(1)),
		),
		Funcs: []wasmbuild.Func{{Body: count(5)}},
	}
	m := guest.Module()
	m.Exports = append(m.Exports, wasmbuild.Export{Name: "warm_up", Kind: wasm.KindFunc, Index: 4})
	src := guestSource(m.Encode())
	src.Samples = []vmhost.Sample{{Capability: "rank", Input: []byte("x")}}
	for _, c := range []struct {
		name string
		want string
	}{
		{"image", string(rune('a' + primings*(5+1) + 1))},
		{"fresh", "b"},
	} {
		src.Fresh = c.name == "fresh"
		p := preparedProgram(t, src)
		for range 3 {
			reply, err := p.Call(t.Context(), vmhost.Request{Capability: "rank", Input: []byte("x")})
			if err != nil || string(reply.Output) != c.want {
				t.Errorf("%s: Call = %q, %v, want %q", c.name, reply.Output, err, c.want)
			}
		}
	}
}

// TestStepsHaveTheirOwnTime: samples that each stay far within the wall-clock limit
// and pass it together are accepted.
func TestStepsHaveTheirOwnTime(t *testing.T) {
	const rounds = 10_000_000 // some 10 ms
	n := wasmbuild.I32
	guest := wasmbuild.Plugin{Handle: wasmbuild.Code(
		n(rounds), wasmbuild.Set(4),
		wasmbuild.Loop(wasmbuild.Get(4), n(1), wasmbuild.Sub(), wasmbuild.Tee(4), wasmbuild.BranchIf(0)),
		wasmbuild.ReturnOK(n(0), n(0)),
	)}
	src := guestSource(guest.Encode())
	for range vmhost.MaxSamples {
		src.Samples = append(src.Samples, vmhost.Sample{Capability: "rank", Input: []byte("x")})
	}
	start := time.Now()
	preparedProgram(t, src)
	// Half of what all 48 calls took: each has some 24 times what it needs.
	src.Limits.Wall = time.Since(start) / 2
	if p := preparedProgram(t, src); p.image == nil {
		t.Error("no image")
	}
}

// TestSampleThatTraps: a plugin that does not return from its own sample is
// refused, with the capability.
func TestSampleThatTraps(t *testing.T) {
	guest := wasmbuild.Plugin{Handle: wasmbuild.Unreachable()}
	src := guestSource(guest.Encode())
	src.Samples = []vmhost.Sample{{Capability: "rank", Input: []byte("x")}}
	p := plainProgram(t, src, engine{metered: true})
	err := p.prepare(t.Context(), nil)
	if !errors.Is(err, vmhost.ErrRefused) || !strings.Contains(err.Error(), `"rank"`) {
		t.Errorf("prepare = %v, want ErrRefused that names the capability", err)
	}
}

// TestImageIsSealed: nobody can change the file that VMs are copies of.
func TestImageIsSealed(t *testing.T) {
	p := preparedProgram(t, guestSource(scribbler(2)))
	file, err := os.OpenFile("/proc/self/fd/"+strconv.Itoa(p.image.parts[0].memory.fd), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt([]byte("x"), 0); err == nil {
		t.Error("the image was written to")
	}
	for _, size := range []int64{0, 1 << 30} {
		if err := file.Truncate(size); err == nil {
			t.Errorf("the image was resized to %d", size)
		}
	}
}

// TestTrim: VMs that rest go, but for one, which keeps no pages of its own and
// serves as before.
func TestTrim(t *testing.T) {
	p := preparedProgram(t, guestSource(scribbler(16)))
	var calls sync.WaitGroup
	for range 4 {
		calls.Go(func() {
			for range 20 {
				if _, err := p.Call(context.Background(), vmhost.Request{Capability: "rank", Input: []byte("x")}); err != nil {
					t.Errorf("Call: %v", err)
				}
			}
		})
	}
	calls.Wait()
	p.pool.mu.Lock()
	p.pool.shrink()
	p.pool.mu.Unlock()
	v := p.pool.take()
	if v == nil || len(p.pool.vms) != 0 {
		t.Fatalf("%v and %d others wait after a rest, want one VM", v, len(p.pool.vms))
	}
	own := 0
	if err := v.pages.written(v.memory.view(), func(start, end int) error { own += end - start; return nil }); err != nil || own != 0 {
		t.Errorf("it keeps %d bytes, %v, want none", own, err)
	}
	p.keep(v)
	if _, err := p.Call(t.Context(), vmhost.Request{Capability: "rank", Input: []byte("x")}); err != nil {
		t.Errorf("Call after a rest: %v", err)
	}
	wantExact(t, p)
}

// TestDeepCallsGiveTheirStacksBack: the engines of a VM are replaced after a call
// that went deep, and only then.
func TestDeepCallsGiveTheirStacksBack(t *testing.T) {
	n, get := wasmbuild.I32, wasmbuild.Get
	guest := wasmbuild.Plugin{
		// handle recurses as deep as the input's first byte, times 100.
		Handle: wasmbuild.Code(
			get(2), wasmbuild.Load8(0), n(100), wasmbuild.Mul(), wasmbuild.Call(4),
			wasmbuild.ReturnOK(n(0), n(0)),
		),
		Funcs: []wasmbuild.Func{{
			Type: wasm.FuncType{Params: []wasm.ValueType{wasm.I32}}, Locals: 8,
			Body: wasmbuild.Code(get(0), wasmbuild.If(get(0), n(1), wasmbuild.Sub(), wasmbuild.Call(4))),
		}},
	}
	p := preparedProgram(t, guestSource(guest.Encode()))
	call := func(depth byte) (before, after entries) {
		v := p.pool.take()
		before = v.entries
		p.keep(v)
		if _, err := p.Call(t.Context(), vmhost.Request{Capability: "rank", Input: []byte{depth}}); err != nil {
			t.Fatal(err)
		}
		v = p.pool.take()
		after = v.entries
		p.keep(v)
		return before, after
	}
	if before, after := call(1); before != after {
		t.Error("a shallow call replaced the engines")
	}
	if before, after := call(127); before == after {
		t.Error("a deep call left its engines")
	}
	wantExact(t, p)
}
