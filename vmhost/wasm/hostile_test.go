package wasm_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tars-project/tars/vmhost/wasm"
	wt "github.com/tars-project/tars/vmhost/wasm/wasmtest"
)

// goPlugin returns testdata/plugin built by the Go toolchain of this test.
var goPlugin = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "wasm-test-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "plugin.wasm")
	build := exec.Command("go", "build", "-buildmode=c-shared", "-o", out, "./testdata/plugin")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=")
	if text, err := build.CombinedOutput(); err != nil {
		return nil, errors.New("go build: " + string(text))
	}
	return os.ReadFile(out)
})

func mustGoPlugin(tb testing.TB) []byte {
	tb.Helper()
	module, err := goPlugin()
	if err != nil {
		tb.Fatal(err)
	}
	return module
}

func TestGoModule(t *testing.T) {
	got, err := wasm.Check(mustGoPlugin(t), wasm.DefaultLimits())
	if err != nil {
		t.Fatalf("Check(Go plugin) = %v, want no error", err)
	}
	if got.Functions < 1_000 || got.CodeBytes < 500_000 || got.DataBytes < 100_000 || len(got.Tables) != 1 || got.Memory.Min == 0 {
		t.Errorf("Check(Go plugin) = %+v, want the figures of a Go program", got)
	}
	if !slices.ContainsFunc(got.Producers, func(p wasm.Tool) bool { return p.Role == "language" && p.Name == "Go" }) {
		t.Errorf("Producers = %v, want the language Go", got.Producers)
	}
	for _, name := range []string{"search", "log"} {
		if !slices.ContainsFunc(got.Imports, func(i wasm.Import) bool { return i.Module == wasm.HostModule && i.Name == name }) {
			t.Errorf("Imports = %v, want %s of the host", got.Imports, name)
		}
	}
	for name, need := range wasm.PluginExports() {
		e, found := got.Export(name)
		if !found && !need.Optional || found && e.Kind != need.Kind {
			t.Errorf("Export(%s) = %v, %t, want %v", name, e, found, need)
		}
	}
}

// ends returns the offsets at which the sections of a module end.
func ends(module []byte) map[int]bool {
	at := map[int]bool{len(wt.Preamble): true}
	for pos := len(wt.Preamble); pos < len(module); {
		pos++
		size, shift := 0, 0
		for {
			b := module[pos]
			pos++
			size |= int(b&0x7f) << shift
			shift += 7
			if b < 0x80 {
				break
			}
		}
		pos += size
		at[pos] = true
	}
	return at
}

func TestTruncated(t *testing.T) {
	module := rich()
	for n := range module {
		refusal(t, module[:n], wasm.DefaultLimits())
	}
	// A large module is cut at every byte of its first sections, at the ends
	// of all, and at places spread over the rest. What is left after the last
	// section that matters may be missing.
	module = mustGoPlugin(t)
	sections := ends(module)
	const head, spread = 3_000, 30
	for n := range head {
		refusal(t, module[:n], wasm.DefaultLimits())
	}
	for i := range spread {
		n := head + i*((len(module)-head)/spread)
		if !sections[n] {
			refusal(t, module[:n], wasm.DefaultLimits())
		}
	}
	for n := range sections {
		if n < len(module)/2 {
			refusal(t, module[:n], wasm.DefaultLimits())
		}
		refusal(t, module[:n-1], wasm.DefaultLimits())
	}
}

// checkAny checks a module that may or may not be accepted.
func checkAny(tb testing.TB, module []byte) {
	tb.Helper()
	i, err := wasm.Check(module, wasm.DefaultLimits())
	var e *wasm.Error
	switch {
	case err == nil:
		if handle, found := i.Export("handle"); !found || handle.Kind != wasm.KindFunc || i.Size != int64(len(module)) {
			tb.Errorf("Check = %+v and no error, want what a plugin needs", i)
		}
	case i != nil:
		tb.Errorf("Check = %+v, %v, want one of the two", i, err)
	case !errors.As(err, &e):
		tb.Errorf("Check = %T, want *wasm.Error", err)
	case e.Offset < -1 || e.Offset > int64(len(module)):
		tb.Errorf("Check = offset %d, want one within the %d bytes", e.Offset, len(module))
	}
}

func TestFlippedBits(t *testing.T) {
	module := rich()
	for bit := range 8 * len(module) {
		module[bit/8] ^= 1 << (bit % 8)
		checkAny(t, module)
		module[bit/8] ^= 1 << (bit % 8)
	}
	module = slices.Clone(mustGoPlugin(t))
	random := rand.New(rand.NewPCG(1, 2))
	const flips = 60
	for range flips {
		bit := random.IntN(8 * len(module))
		module[bit/8] ^= 1 << (bit % 8)
		checkAny(t, module)
		module[bit/8] ^= 1 << (bit % 8)
	}
}

// Each byte of a module becomes the first of a number of 2^32-1, so that every
// count, size and index lies once.
func TestLyingNumbers(t *testing.T) {
	module := rich()
	lie := []byte{0xff, 0xff, 0xff, 0xff, 0x0f}
	for at := len(wt.Preamble); at < len(module); at++ {
		over := slices.Clone(module)
		copy(over[at:], lie)
		checkAny(t, over)
		checkAny(t, slices.Concat(module[:at], lie, module[at+1:]))
		refusal(t, slices.Concat(module[:at], lie), wasm.DefaultLimits())
	}
}

// allocated returns the bytes that f allocates, all of them counted.
func allocated(f func()) int64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}

// allowance is the most that Check says it allocates for a module.
func allowance(size int) int64 { return 16*int64(size) + 512<<10 }

func TestMemoryIsBounded(t *testing.T) {
	one := wt.FuncType("", "")
	wide := wt.FuncType(strings.Repeat("\x7f", 255), strings.Repeat("\x7e", 255))
	exports := make([][]byte, 990)
	for i := range exports {
		exports[i] = wt.ExportOf(string([]byte{'a' + byte(i%26), 'a' + byte(i/26%26), 'a' + byte(i/676)}), 0, 0)
	}
	modules := map[string][]byte{
		"rich":        rich(),
		"Go":          mustGoPlugin(t),
		"exports":     wt.Plugin(wt.Parts{Types: slices.Repeat([][]byte{wide}, 100), Exports: exports}),
		"types":       wt.Plugin(wt.Parts{Types: slices.Repeat([][]byte{one}, 9_998)}),
		"functions":   wt.Module(wt.Section(wt.Type, wt.Vec(one)), wt.Section(wt.Function, wt.U32(65_536), make([]byte, 65_536))),
		"globals":     wt.Plugin(wt.Parts{Globals: wt.Section(wt.Global, wt.Vec(slices.Repeat([][]byte{{0x7f, 0, 0x41, 0, wt.End}}, 10_000)...))}),
		"nesting":     wt.Plugin(wt.Parts{Code: nest(0x02, 4_999)}),
		"br_table":    wt.Plugin(wt.Parts{Code: brTable(9_999)}),
		"data":        wt.Plugin(wt.Parts{Data: wt.Section(wt.Data, wt.Vec(slices.Repeat([][]byte{{1, 0}}, 100_000)...))}),
		"elements":    wt.Plugin(wt.Parts{Elements: wt.Section(wt.Element, wt.Vec(slices.Repeat([][]byte{{1, 0, 0}}, 10_000)...))}),
		"custom":      wt.Plugin(wt.Parts{Last: slices.Repeat(wt.CustomSection("c"), 999)}),
		"custom size": wt.Plugin(wt.Parts{Last: wt.CustomSection("c", make([]byte, 8<<20))}),
		"names":       wt.Plugin(wt.Parts{Last: wt.CustomSection("name", wt.Section(1, wt.Vec(slices.Repeat([][]byte{{0, 0}}, 500_000)...)))}),
		"locals":      wt.Plugin(wt.Parts{Locals: 49_000}),
	}
	for name, module := range modules {
		got := allocated(func() { checkAny(t, module) })
		if limit := allowance(len(module)); got > limit {
			t.Errorf("Check(%s) allocated %d bytes for a module of %d, want at most %d", name, got, len(module), limit)
		}
	}
	lie := []byte{0xff, 0xff, 0xff, 0xff, 0x0f}
	for id := range byte(14) {
		module := wt.Module(wt.Section(id, lie, make([]byte, 1_000)))
		got := allocated(func() { checkAny(t, module) })
		if limit := allowance(len(module)); got > limit {
			t.Errorf("Check(section %d with 2^32-1 elements) allocated %d bytes, want at most %d", id, got, limit)
		}
	}
}

func TestCheckLeavesTheModuleAlone(t *testing.T) {
	module := rich()
	before := slices.Clone(module)
	checkAny(t, module)
	if !slices.Equal(module, before) {
		t.Error("Check changed the module")
	}
}

func FuzzCheck(f *testing.F) {
	f.Add(rich())
	f.Add(wt.Plugin(wt.Parts{}))
	f.Add([]byte(wt.Preamble))
	f.Add(wt.Plugin(wt.Parts{Last: wt.CustomSection("name", wt.Section(1, wt.Vec([]byte{0, 1, 'f'})), wt.Section(2, wt.Vec([]byte{0, 1, 0, 1, 'x'})))}))
	f.Add(wt.Plugin(wt.Parts{Last: wt.CustomSection("producers", wt.Vec(slices.Concat(wt.Name("language"), wt.Vec(slices.Concat(wt.Name("Go"), wt.Name("1"))))))}))
	f.Fuzz(func(t *testing.T, module []byte) { checkAny(t, module) })
}

func BenchmarkCheck(b *testing.B) {
	module := mustGoPlugin(b)
	limits := wasm.DefaultLimits()
	b.SetBytes(int64(len(module)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := wasm.Check(module, limits); err != nil {
			b.Fatal(err)
		}
	}
}
