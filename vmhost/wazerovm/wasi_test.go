package wazerovm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/wasm"
)

// newWASI returns a VM without a guest: its memory is all there is.
func newWASI(t *testing.T, grants vmhost.Grants, req vmhost.Request) *vm {
	t.Helper()
	limits := vmhost.Limits{Memory: pageSize, Logs: 64 << 10}
	v := (&program{src: vmhost.Source{Limits: limits, Grants: grants}}).newVM()
	v.begin(req)
	v.memory.Allocate(0, 0)
	if v.memory.Reallocate(pageSize) == nil {
		t.Fatalf("allocate: %v", v.memory.err)
	}
	t.Cleanup(v.memory.Free)
	return v
}

// wasi calls a function and returns its error number.
func (v *vm) wasi(ctx context.Context, name string, args ...uint64) errno {
	stack := append(slices.Clone(args), make([]uint64, 10)...)
	wasiFunctions()[name](ctx, v, stack)
	return errno(stack[0])
}

func (v *vm) get64(at uint32) uint64 { return binary.LittleEndian.Uint64(v.memory.view()[at:]) }
func (v *vm) get32(at uint32) uint32 { return binary.LittleEndian.Uint32(v.memory.view()[at:]) }

// TestWASIIsWhole: every function that may be imported has a body, and every
// body a type.
func TestWASIIsWhole(t *testing.T) {
	types, bodies := wasm.PluginImports()[wasm.WASIModule], wasiFunctions()
	if got, want := slices.Sorted(maps.Keys(bodies)), slices.Sorted(maps.Keys(types)); !slices.Equal(got, want) {
		t.Errorf("functions %v, want %v", got, want)
	}
	all := granted(vmhost.Grants{Search: true, Embed: true, Vectors: true, Log: true, Clock: true})
	if got, want := slices.Sorted(maps.Keys(all)), slices.Sorted(maps.Keys(wasm.PluginImports()[wasm.HostModule])); !slices.Equal(got, want) {
		t.Errorf("host functions %v, want %v", got, want)
	}
	if none := granted(vmhost.Grants{}); len(none) != 0 {
		t.Errorf("host functions without grants: %v, want none", slices.Sorted(maps.Keys(none)))
	}
}

// TestWASIPointers: a pointer outside memory is an error of the call, in every
// function and place.
func TestWASIPointers(t *testing.T) {
	const outside = pageSize - 1
	v := newWASI(t, vmhost.Grants{}, vmhost.Request{})
	ctx := t.Context()
	binary.LittleEndian.PutUint32(v.memory.view()[100:], 1) // a vector of 2^32-1 bytes at 1
	binary.LittleEndian.PutUint32(v.memory.view()[104:], math.MaxUint32)
	for _, c := range []struct {
		name string
		args []uint64
		want errno
	}{
		{"args_sizes_get", []uint64{outside, 0}, errnoFault},
		{"args_sizes_get", []uint64{0, outside}, errnoFault},
		{"environ_sizes_get", []uint64{0, math.MaxUint32}, errnoFault},
		{"clock_time_get", []uint64{0, 0, outside}, errnoFault},
		{"clock_res_get", []uint64{0, outside}, errnoFault},
		{"fd_fdstat_get", []uint64{1, outside}, errnoFault},
		{"fd_read", []uint64{0, 0, 0, outside}, errnoFault},
		{"fd_write", []uint64{1, outside, 1, 0}, errnoFault},
		{"fd_write", []uint64{1, 100, 1, 0}, errnoFault},
		{"fd_write", []uint64{1, 0, 0, outside}, errnoFault},
		{"fd_write", []uint64{1, 0, math.MaxUint32, 0}, errnoInvalid},
		{"random_get", []uint64{outside, 2}, errnoFault},
		{"random_get", []uint64{1, math.MaxUint32}, errnoFault},
		{"poll_oneoff", []uint64{outside, 0, 1, 0}, errnoFault},
		{"poll_oneoff", []uint64{0, outside, 1, 0}, errnoFault},
		{"poll_oneoff", []uint64{0, 0, 0, 0}, errnoInvalid},
		{"poll_oneoff", []uint64{0, 0, math.MaxUint32, 0}, errnoInvalid},
	} {
		if got := v.wasi(ctx, c.name, c.args...); got != c.want {
			t.Errorf("%s%v = errno %d, want %d", c.name, c.args, got, c.want)
		}
	}
}

// TestWASIHasNoFiles: there is nothing to open, and nothing open but the
// standard streams.
func TestWASIHasNoFiles(t *testing.T) {
	v := newWASI(t, vmhost.Grants{}, vmhost.Request{})
	for _, c := range []struct {
		name string
		args []uint64
		want errno
	}{
		{"path_open", []uint64{3, 0, 0, 1, 0, 0, 0, 0, 0}, errnoBadFile},
		{"fd_prestat_get", []uint64{3, 0}, errnoBadFile},
		{"fd_read", []uint64{3, 0, 0, 0}, errnoBadFile},
		{"fd_read", []uint64{0, 0, 0, 0}, errnoSuccess},
		{"fd_write", []uint64{0, 0, 0, 0}, errnoBadFile},
		{"fd_write", []uint64{3, 0, 0, 0}, errnoBadFile},
		{"fd_close", []uint64{3}, errnoBadFile},
		{"fd_close", []uint64{2}, errnoSuccess},
		{"fd_fdstat_get", []uint64{3, 0}, errnoBadFile},
		{"sock_accept", []uint64{3, 0, 0}, errnoBadFile},
		{"proc_raise", []uint64{9}, errnoNoSyscall},
		{"args_get", []uint64{0, 0}, errnoSuccess},
		{"sched_yield", nil, errnoSuccess},
	} {
		if got := v.wasi(t.Context(), c.name, c.args...); got != c.want {
			t.Errorf("%s%v = errno %d, want %d", c.name, c.args, got, c.want)
		}
	}
}

func TestWASIWrite(t *testing.T) {
	v := newWASI(t, vmhost.Grants{Log: true}, vmhost.Request{})
	write := func(fd uint64, text string) {
		t.Helper()
		mem := v.memory.view()
		copy(mem[1000:], text)
		half := len(text) / 2
		for i, n := range []int{1000, half, 1000 + half, len(text) - half} { // two vectors
			binary.LittleEndian.PutUint32(mem[4*i:], uint32(n))
		}
		if e := v.wasi(t.Context(), "fd_write", fd, 0, 2, 500); e != errnoSuccess || v.get32(500) != uint32(len(text)) {
			t.Errorf("fd_write of %d bytes = errno %d, %d written", len(text), e, v.get32(500))
		}
	}
	write(1, "one\ntw")
	write(2, "alarm")
	write(1, "o\n\nthree")
	write(1, "")
	reply := v.reply()
	want := []vmhost.Log{{Level: 1, Text: "one"}, {Level: 1, Text: "two"}, {Level: 1}, {Level: 1, Text: "three"}, {Level: 2, Text: "alarm"}}
	if !slices.Equal(reply.Logs, want) {
		t.Errorf("Logs = %v, want %v", reply.Logs, want)
	}

	dropped := newWASI(t, vmhost.Grants{}, vmhost.Request{})
	binary.LittleEndian.PutUint32(dropped.memory.view()[4:], 100)
	dropped.wasi(t.Context(), "fd_write", 1, 0, 1, 500)
	if logs := dropped.reply().Logs; len(logs) != 0 {
		t.Errorf("Logs without the grant = %v, want none", logs)
	}
}

// TestFixedClock: without the grant, and in deterministic calls with it, time
// starts at one moment and passes by being looked at.
func TestFixedClock(t *testing.T) {
	for name, v := range map[string]*vm{
		"no grant":      newWASI(t, vmhost.Grants{}, vmhost.Request{}),
		"deterministic": newWASI(t, vmhost.Grants{Clock: true}, vmhost.Request{Deterministic: true}),
	} {
		ctx := t.Context()
		v.wasi(ctx, "clock_time_get", clockRealtime, 0, 0)
		v.wasi(ctx, "clock_time_get", clockMonotonic, 0, 8)
		if wall, mono := v.get64(0), v.get64(8); wall != fixedEpoch+1000 || mono != 2000 {
			t.Errorf("%s: clocks at %d and %d, want %d and 2000", name, wall, mono, fixedEpoch+1000)
		}
		if e := v.wasi(ctx, "clock_time_get", 2, 0, 0); e != errnoInvalid {
			t.Errorf("%s: a clock of processor time gave errno %d, want %d", name, e, errnoInvalid)
		}
	}
	v := newWASI(t, vmhost.Grants{Clock: true}, vmhost.Request{})
	before := uint64(time.Now().UnixNano())
	v.wasi(t.Context(), "clock_time_get", clockRealtime, 0, 0)
	if got := v.get64(0); got < before || got > uint64(time.Now().UnixNano()) {
		t.Errorf("granted clock at %d, want between now and now", got)
	}
}

func TestRandom(t *testing.T) {
	draw := func(req vmhost.Request) []byte {
		v := newWASI(t, vmhost.Grants{}, req)
		if e := v.wasi(t.Context(), "random_get", 0, pageSize); e != errnoSuccess {
			t.Errorf("random_get = errno %d", e)
		}
		return bytes.Clone(v.memory.view())
	}
	a := draw(vmhost.Request{Deterministic: true, Seed: [32]byte{1}})
	if !bytes.Equal(a, draw(vmhost.Request{Deterministic: true, Seed: [32]byte{1}})) {
		t.Error("one seed gave different numbers")
	}
	for name, req := range map[string]vmhost.Request{
		"another seed": {Deterministic: true, Seed: [32]byte{2}},
		"no seed":      {Seed: [32]byte{1}},
	} {
		if bytes.Equal(a, draw(req)) {
			t.Errorf("%s gave the same numbers", name)
		}
	}
}

// putClock writes a subscription to a clock.
func (v *vm) putClock(at, id uint32, userdata, timeout uint64, flags uint16) {
	b := v.memory.view()[at:]
	binary.LittleEndian.PutUint64(b, userdata)
	b[8] = tagClock
	binary.LittleEndian.PutUint32(b[16:], id)
	binary.LittleEndian.PutUint64(b[24:], timeout)
	binary.LittleEndian.PutUint16(b[40:], flags)
}

func TestPoll(t *testing.T) {
	const events, count = 2000, 3000
	ctx := t.Context()
	t.Run("the shortest wait", func(t *testing.T) {
		v := newWASI(t, vmhost.Grants{}, vmhost.Request{})
		v.putClock(0, clockMonotonic, 11, uint64(time.Hour), 0)
		v.putClock(48, clockMonotonic, 12, uint64(time.Minute), 0)
		if e := v.wasi(ctx, "poll_oneoff", 0, events, 2, count); e != errnoSuccess || v.get32(count) != 1 || v.get64(events) != 12 {
			t.Errorf("poll_oneoff = errno %d, %d events, first for %d, want one for 12", e, v.get32(count), v.get64(events))
		}
		if now := v.clock.monotonic(); now < uint64(time.Minute) || now > uint64(time.Minute)+uint64(time.Millisecond) {
			t.Errorf("the fixed clock moved to %v, want a minute", time.Duration(now))
		}
	})
	t.Run("a moment that has passed", func(t *testing.T) {
		v := newWASI(t, vmhost.Grants{}, vmhost.Request{})
		v.putClock(0, clockRealtime, 1, 5, 1)
		v.wasi(ctx, "poll_oneoff", 0, events, 1, count)
		if now := v.clock.monotonic(); v.get32(count) != 1 || now > uint64(time.Millisecond) {
			t.Errorf("poll_oneoff: %d events, clock at %v, want one event at once", v.get32(count), time.Duration(now))
		}
	})
	t.Run("files and faults are ready", func(t *testing.T) {
		v := newWASI(t, vmhost.Grants{}, vmhost.Request{})
		v.putClock(0, clockMonotonic, 1, uint64(time.Hour), 0)
		v.putClock(48, 7, 2, 0, 0) // no such clock
		mem := v.memory.view()
		mem[96+8], mem[96+16] = tagWrite, 1
		mem[144+8], mem[144+16] = tagRead, 9
		mem[192+8] = 77
		if e := v.wasi(ctx, "poll_oneoff", 0, events, 5, count); e != errnoSuccess || v.get32(count) != 4 {
			t.Fatalf("poll_oneoff = errno %d, %d events, want 4", e, v.get32(count))
		}
		var got []uint16
		for i := range uint32(4) {
			got = append(got, binary.LittleEndian.Uint16(mem[events+i*eventSize+8:]))
		}
		if want := []uint16{uint16(errnoInvalid), 0, uint16(errnoBadFile), uint16(errnoInvalid)}; !slices.Equal(got, want) {
			t.Errorf("error numbers %v, want %v", got, want)
		}
	})
	t.Run("a real wait ends with the call", func(t *testing.T) {
		v := newWASI(t, vmhost.Grants{Clock: true}, vmhost.Request{})
		v.putClock(0, clockMonotonic, 1, math.MaxUint64, 0)
		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		defer func() {
			if err, ok := recover().(error); !ok || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("poll_oneoff ended with %v, want the call's deadline", err)
			}
		}()
		v.wasi(short, "poll_oneoff", 0, events, 1, count)
	})
}

// FuzzPoll reads subscriptions from any memory.
func FuzzPoll(f *testing.F) {
	f.Add(make([]byte, 200), uint32(0), uint32(100), uint32(2), uint32(0))
	f.Fuzz(func(t *testing.T, mem []byte, in, out, n, count uint32) {
		v := (&program{}).newVM()
		v.begin(vmhost.Request{})
		v.memory.region, v.memory.size = mem, int64(len(mem))
		e := v.wasi(t.Context(), "poll_oneoff", uint64(in), uint64(out), uint64(n), uint64(count))
		if e == errnoSuccess && (v.get32(count) == 0 || v.get32(count) > n) {
			t.Errorf("poll_oneoff of %d subscriptions gave %d events", n, v.get32(count))
		}
	})
}
