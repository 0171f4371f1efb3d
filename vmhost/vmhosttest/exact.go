package vmhosttest

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/vmhosttest/wasmbuild"
	"github.com/tars-project/tars/vmhost/wasm"
)

// edge is the first address outside the memory of a one-page guest.
const edge = 64 << 10

// testResults: whatever handle returns is read within bounds.
func testResults(t *testing.T, h Harness) {
	const text = 3000 // where the strings are; "hällo" and what follows are 6 bytes and 3
	strs := wasmbuild.Data{At: text, Bytes: []byte("h\xc3\xa4lloabc\xff\xfe")}
	at := func(ptr int32, result []byte) wasmbuild.Plugin {
		return wasmbuild.Plugin{Pages: 1, Handle: wasmbuild.I32(ptr), Data: []wasmbuild.Data{strs, {At: ptr, Bytes: result}}}
	}
	bare := func(ptr int32) wasmbuild.Plugin { return wasmbuild.Plugin{Pages: 1, Handle: wasmbuild.I32(ptr)} }
	const last = edge - 20
	for _, c := range []struct {
		name   string
		guest  wasmbuild.Plugin
		output string
		kind   error // nil: output is what comes
	}{
		{"in the middle", at(1024, wasmbuild.OK(text, 6)), "hällo", nil},
		{"at the last place", at(last, wasmbuild.OK(text, 6)), "hällo", nil},
		{"one word beyond the last place", bare(last + 4), "", vmhost.ErrTrapped},
		{"at the end of memory", bare(edge), "", vmhost.ErrTrapped},
		{"at the end of 32 bits", bare(-4), "", vmhost.ErrTrapped},
		{"at half of 32 bits", bare(math.MinInt32), "", vmhost.ErrTrapped},
		{"odd", at(1025, wasmbuild.OK(text, 6)), "", vmhost.ErrTrapped},
		{"even and no multiple of 4", at(1026, wasmbuild.OK(text, 6)), "", vmhost.ErrTrapped},
		{"case 2", at(1024, append([]byte{2}, wasmbuild.OK(text, 6)[1:]...)), "", vmhost.ErrTrapped},
		{"case 255", at(1024, append([]byte{255}, wasmbuild.OK(text, 6)[1:]...)), "", vmhost.ErrTrapped},
		{"padding after the case", at(1024, append([]byte{0, 9, 9, 9}, wasmbuild.OK(text, 6)[4:]...)), "hällo", nil},
		{"length 2^32-1 at 1", at(1024, wasmbuild.OK(1, math.MaxUint32)), "", vmhost.ErrTrapped},
		{"length 2^32-1 at 2^32-1", at(1024, wasmbuild.OK(math.MaxUint32, math.MaxUint32)), "", vmhost.ErrTrapped},
		{"length 2^31 at 2^31", at(1024, wasmbuild.OK(1<<31, 1<<31)), "", vmhost.ErrTrapped},
		{"up to the edge", at(1024, wasmbuild.OK(edge-3, 3)), "\x00\x00\x00", nil},
		{"over the edge by one", at(1024, wasmbuild.OK(edge-3, 4)), "", vmhost.ErrTrapped},
		{"nothing at 0", at(1024, wasmbuild.OK(0, 0)), "", nil},
		{"nothing at the edge", at(1024, wasmbuild.OK(edge, 0)), "", nil},
		{"nothing beyond the edge", at(1024, wasmbuild.OK(edge+1, 0)), "", vmhost.ErrTrapped},
		{"over the output cap", at(1024, wasmbuild.OK(0, 1001)), "", vmhost.ErrOutput},
		{"not UTF-8", at(1024, wasmbuild.OK(text+9, 2)), "", vmhost.ErrOutput},
		{"half a rune", at(1024, wasmbuild.OK(text, 2)), "", vmhost.ErrOutput},
		{"code outside", at(1024, wasmbuild.Error(edge, 1, text, 3)), "", vmhost.ErrTrapped},
		{"message outside", at(1024, wasmbuild.Error(text, 3, 1, math.MaxUint32)), "", vmhost.ErrTrapped},
		{"code not UTF-8", at(1024, wasmbuild.Error(text+9, 1, text, 3)), "", vmhost.ErrOutput},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := sourceOf(c.guest.Encode())
			src.Limits.Output = 1000
			g := load(t, h.host(t), src)
			if c.kind != nil {
				wantKind(t, g, request("x"), c.kind)
				return
			}
			wantOutput(t, g, request("x"), c.output)
		})
	}
	t.Run("long error", func(t *testing.T) {
		const heap = 32 << 10 // far from what the host puts into memory
		guest := at(1024, wasmbuild.Error(heap, 1000, heap, 10_000))
		guest.Data = append(guest.Data, wasmbuild.Data{At: heap, Bytes: []byte(strings.Repeat("€", 4000))})
		_, err := load(t, h.host(t), sourceOf(guest.Encode())).Call(t.Context(), request("x"))
		var refusal *vmhost.GuestError
		if !errors.As(err, &refusal) || refusal.Code != strings.Repeat("€", 21) || refusal.Message != strings.Repeat("€", 1365) {
			t.Errorf("Call error = %#v, want code and message cut to 63 and 4,095 bytes", err)
		}
	})
}

// testBreaches: guests that leave the rules elsewhere than in a result.
func testBreaches(t *testing.T, h Harness) {
	search := []wasmbuild.Import{wasmbuild.HostImport("search")}
	code := wasmbuild.Code
	n := wasmbuild.I32
	searchAt := func(ptr, length, ret int32) wasmbuild.Plugin {
		return wasmbuild.Plugin{Pages: 1, Imports: search, Handle: code(n(ptr), n(length), n(ret), wasmbuild.Call(0), n(ret))}
	}
	echo := code(wasmbuild.ReturnOK(wasmbuild.Get(2), wasmbuild.Get(3)))
	searchNow := code(n(0), n(0), n(1024), wasmbuild.Call(0))
	for _, c := range []struct {
		name  string
		guest wasmbuild.Plugin
		kind  error
	}{
		{"allocator beyond memory", wasmbuild.Plugin{Pages: 1, Realloc: n(edge), Handle: echo}, vmhost.ErrTrapped},
		{"allocator at the end of 32 bits", wasmbuild.Plugin{Pages: 1, Realloc: n(-1), Handle: echo}, vmhost.ErrTrapped},
		{"allocator that traps", wasmbuild.Plugin{Realloc: code(wasmbuild.Unreachable()), Handle: echo}, vmhost.ErrTrapped},
		{"allocator that asks the host", wasmbuild.Plugin{Imports: search, Realloc: code(searchNow, n(4096)), Handle: echo}, vmhost.ErrTrapped},
		{"end of the call that traps", wasmbuild.Plugin{Handle: echo, Post: wasmbuild.Unreachable()}, vmhost.ErrTrapped},
		{"end of the call that asks the host", wasmbuild.Plugin{Imports: search, Handle: echo, Post: searchNow}, vmhost.ErrTrapped},
		{"exit", wasmbuild.Plugin{Imports: []wasmbuild.Import{wasmbuild.WASIImport("proc_exit")}, Handle: code(n(0), wasmbuild.Call(0), n(1024))}, vmhost.ErrTrapped},
		{"argument beyond memory", searchAt(edge, 1, 1024), vmhost.ErrTrapped},
		{"argument of 2^32-1 bytes at 1", searchAt(1, -1, 1024), vmhost.ErrTrapped},
		{"result beyond memory", searchAt(0, 0, edge-16), vmhost.ErrTrapped},
		{"result at an odd address", searchAt(0, 0, 1025), vmhost.ErrTrapped},
		{"stack overflow", exactGuests()["recurse"], vmhost.ErrTrapped},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := load(t, h.host(t), sourceOf(c.guest.Encode()))
			req := request("!")
			req.Host = func(context.Context, vmhost.HostCall) ([]byte, error) { return []byte("{}"), nil }
			wantKind(t, g, req, c.kind)
		})
	}
	t.Run("argument that is not UTF-8", func(t *testing.T) {
		guest := searchAt(2048, 1, 1024)
		guest.Data = []wasmbuild.Data{{At: 2048, Bytes: []byte{0xff}}}
		wantKind(t, load(t, h.host(t), sourceOf(guest.Encode())), request("x"), vmhost.ErrTrapped)
	})
	t.Run("memory that grows under a host call", func(t *testing.T) {
		guest := wasmbuild.Plugin{
			Pages: 1, Imports: search,
			// A page for each block: it begins where memory ended.
			Realloc: code(n(1), wasmbuild.Grow(), n(edge), wasmbuild.Mul()),
			Handle:  code(wasmbuild.Get(2), wasmbuild.Get(3), n(1024), wasmbuild.Call(0), n(1024)),
		}
		req := request("{}")
		req.Host = func(context.Context, vmhost.HostCall) ([]byte, error) { return []byte("grown"), nil }
		wantOutput(t, load(t, h.host(t), sourceOf(guest.Encode())), req, "grown")
	})
	t.Run("memory that was refused and not needed", func(t *testing.T) {
		guest := wasmbuild.Plugin{Handle: code(n(1000), wasmbuild.Grow(), wasmbuild.Drop(), echo)}
		wantOutput(t, load(t, h.host(t), sourceOf(guest.Encode())), request("fine"), "fine")
	})
}

// testLoads: what is no plugin is refused, and says why.
func testLoads(t *testing.T, h Harness) {
	host := h.host(t)
	good := wasmbuild.Plugin{Handle: wasmbuild.I32(1024)}
	spoilt := func(spoil func(*wasmbuild.Module)) []byte {
		m := good.Module()
		spoil(&m)
		return m.Encode()
	}
	without := func(export string) []byte {
		return spoilt(func(m *wasmbuild.Module) {
			for i, e := range m.Exports {
				if e.Name == export {
					m.Exports = append(m.Exports[:i], m.Exports[i+1:]...)
					return
				}
			}
		})
	}
	for name, module := range map[string][]byte{
		"nothing":                {},
		"half a header":          []byte("\x00asm"),
		"no WebAssembly":         []byte("PK\x03\x04 a zip archive, or something like it"),
		"component":              []byte("\x00asm\x0d\x00\x01\x00"),
		"cut off":                good.Encode()[:len(good.Encode())-5],
		"no handle":              without("handle"),
		"no cabi_realloc":        without("cabi_realloc"),
		"no memory":              without("memory"),
		"handle of another type": spoilt(func(m *wasmbuild.Module) { m.Exports[2].Index = 2 }),
		"memory over its limit":  spoilt(func(m *wasmbuild.Module) { m.Memory.Min = 1000 }),
		"unknown import":         wasmbuild.Plugin{Imports: []wasmbuild.Import{{Module: "env", Name: "abort"}}, Handle: wasmbuild.I32(0)}.Encode(),
		"import of another type": wasmbuild.Plugin{Imports: []wasmbuild.Import{{Module: wasm.HostModule, Name: "search"}}, Handle: wasmbuild.I32(0)}.Encode(),
		"operand missing":        wasmbuild.Plugin{Handle: wasmbuild.Add()}.Encode(),
		"false type index":       []byte("\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x03\x02\x00\x05\x0a\x09\x02\x04\x00\x10\x01\x0b\x02\x00\x0b"),
		"data outside memory":    spoilt(func(m *wasmbuild.Module) { m.Data = []wasmbuild.Data{{At: -1, Bytes: []byte("x")}} }),
		"trap at the start":      wasmbuild.Plugin{Handle: wasmbuild.I32(0), Initialize: wasmbuild.Unreachable()}.Encode(),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := host.Load(t.Context(), sourceOf(module))
			checkKind(t, err, vmhost.ErrRefused)
			var refused *vmhost.RefusedError
			if !errors.As(err, &refused) || refused.Error() == "" {
				t.Errorf("Load error = %v, want a *RefusedError with a text", err)
			}
		})
	}
	t.Run("loop at the start", func(t *testing.T) {
		src := sourceOf(wasmbuild.Plugin{Handle: wasmbuild.I32(0), Initialize: forever()}.Encode())
		src.Limits.Wall = 200 * time.Millisecond
		_, err := host.Load(t.Context(), src)
		checkKind(t, err, vmhost.ErrRefused)
	})
	t.Run("limits", func(t *testing.T) { testLoadLimits(t, host, good.Encode()) })
	if n := host.Guests(); n != 0 {
		t.Errorf("Guests() = %d after refusals only, want 0", n)
	}
	g := load(t, host, sourceOf(good.Encode()))
	wantOutput(t, g, request("x"), "")
}

func testLoadLimits(t *testing.T, host *vmhost.Host, module []byte) {
	for name, change := range map[string]func(*vmhost.Source){
		"no wall clock":        func(s *vmhost.Source) { s.Limits.Wall = 0 },
		"no output":            func(s *vmhost.Source) { s.Limits.Output = 0 },
		"odd memory":           func(s *vmhost.Source) { s.Limits.Memory++ },
		"memory over the node": func(s *vmhost.Source) { s.Limits.Memory = 1 << 32 },
		"negative host calls":  func(s *vmhost.Source) { s.Limits.HostCalls = -1 },
		"another digest":       func(s *vmhost.Source) { s.Digest[0]++ },
	} {
		src := sourceOf(module)
		change(&src)
		if _, err := host.Load(t.Context(), src); !errors.Is(err, vmhost.ErrRefused) {
			t.Errorf("Load with %s: %v, want ErrRefused", name, err)
		}
	}
}
