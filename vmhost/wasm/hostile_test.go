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
	t "github.com/tars-project/tars/vmhost/wasm/wasmtest"
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

func TestGoModule(tt *testing.T) {
	got, err := wasm.Check(mustGoPlugin(tt), wasm.DefaultLimits())
	if err != nil {
		tt.Fatalf("Check(Go plugin) = %v, want no error", err)
	}
	if got.Functions < 1_000 || got.CodeBytes < 500_000 || got.DataBytes < 100_000 || len(got.Tables) != 1 || got.Memory.Min == 0 {
		tt.Errorf("Check(Go plugin) = %+v, want the figures of a Go program", got)
	}
	if !slices.ContainsFunc(got.Producers, func(p wasm.Tool) bool { return p.Role == "language" && p.Name == "Go" }) {
		tt.Errorf("Producers = %v, want the language Go", got.Producers)
	}
	for _, name := range []string{"search", "log"} {
		if !slices.ContainsFunc(got.Imports, func(i wasm.Import) bool { return i.Module == wasm.HostModule && i.Name == name }) {
			tt.Errorf("Imports = %v, want %s of the host", got.Imports, name)
		}
	}
	for name, need := range wasm.PluginExports() {
		e, found := got.Export(name)
		if !found && !need.Optional || found && e.Kind != need.Kind {
			tt.Errorf("Export(%s) = %v, %t, want %v", name, e, found, need)
		}
	}
}

// ends returns the offsets at which the sections of a module end.
func ends(module []byte) map[int]bool {
	at := map[int]bool{len(t.Preamble): true}
	for pos := len(t.Preamble); pos < len(module); {
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

func TestTruncated(tt *testing.T) {
	module := rich()
	for n := range module {
		refusal(tt, module[:n], wasm.DefaultLimits())
	}
	// A large module is cut at every byte of its first sections, at the ends
	// of all, and at places spread over the rest. What is left after the last
	// section that matters may be missing.
	module = mustGoPlugin(tt)
	sections := ends(module)
	const head, spread = 3_000, 150
	for n := range head {
		refusal(tt, module[:n], wasm.DefaultLimits())
	}
	for i := range spread {
		n := head + i*((len(module)-head)/spread)
		if !sections[n] {
			refusal(tt, module[:n], wasm.DefaultLimits())
		}
	}
	for n := range sections {
		if n < len(module)/2 {
			refusal(tt, module[:n], wasm.DefaultLimits())
		}
		refusal(tt, module[:n-1], wasm.DefaultLimits())
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

func TestFlippedBits(tt *testing.T) {
	module := rich()
	for bit := range 8 * len(module) {
		module[bit/8] ^= 1 << (bit % 8)
		checkAny(tt, module)
		module[bit/8] ^= 1 << (bit % 8)
	}
	module = slices.Clone(mustGoPlugin(tt))
	random := rand.New(rand.NewPCG(1, 2))
	const flips = 200
	for range flips {
		bit := random.IntN(8 * len(module))
		module[bit/8] ^= 1 << (bit % 8)
		checkAny(tt, module)
		module[bit/8] ^= 1 << (bit % 8)
	}
}

// Each byte of a module becomes the first of a number of 2^32-1, so that every
// count, size and index lies once.
func TestLyingNumbers(tt *testing.T) {
	module := rich()
	lie := []byte{0xff, 0xff, 0xff, 0xff, 0x0f}
	for at := len(t.Preamble); at < len(module); at++ {
		over := slices.Clone(module)
		copy(over[at:], lie)
		checkAny(tt, over)
		checkAny(tt, slices.Concat(module[:at], lie, module[at+1:]))
		refusal(tt, slices.Concat(module[:at], lie), wasm.DefaultLimits())
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

func TestMemoryIsBounded(tt *testing.T) {
	one := t.FuncType("", "")
	wide := t.FuncType(strings.Repeat("\x7f", 255), strings.Repeat("\x7e", 255))
	exports := make([][]byte, 990)
	for i := range exports {
		exports[i] = t.ExportOf(string([]byte{'a' + byte(i%26), 'a' + byte(i/26%26), 'a' + byte(i/676)}), 0, 0)
	}
	modules := map[string][]byte{
		"rich":        rich(),
		"Go":          mustGoPlugin(tt),
		"exports":     t.Plugin(t.Parts{Types: slices.Repeat([][]byte{wide}, 100), Exports: exports}),
		"types":       t.Plugin(t.Parts{Types: slices.Repeat([][]byte{one}, 9_998)}),
		"functions":   t.Module(t.Section(t.Type, t.Vec(one)), t.Section(t.Function, t.U32(65_536), make([]byte, 65_536))),
		"globals":     t.Plugin(t.Parts{Globals: t.Section(t.Global, t.Vec(slices.Repeat([][]byte{{0x7f, 0, 0x41, 0, t.End}}, 10_000)...))}),
		"nesting":     t.Plugin(t.Parts{Code: nest(0x02, 4_999)}),
		"br_table":    t.Plugin(t.Parts{Code: brTable(9_999)}),
		"data":        t.Plugin(t.Parts{Data: t.Section(t.Data, t.Vec(slices.Repeat([][]byte{{1, 0}}, 100_000)...))}),
		"elements":    t.Plugin(t.Parts{Elements: t.Section(t.Element, t.Vec(slices.Repeat([][]byte{{1, 0, 0}}, 10_000)...))}),
		"custom":      t.Plugin(t.Parts{Last: slices.Repeat(t.CustomSection("c"), 999)}),
		"custom size": t.Plugin(t.Parts{Last: t.CustomSection("c", make([]byte, 8<<20))}),
		"names":       t.Plugin(t.Parts{Last: t.CustomSection("name", t.Section(1, t.Vec(slices.Repeat([][]byte{{0, 0}}, 500_000)...)))}),
		"locals":      t.Plugin(t.Parts{Locals: 49_000}),
	}
	for name, module := range modules {
		got := allocated(func() { checkAny(tt, module) })
		if limit := allowance(len(module)); got > limit {
			tt.Errorf("Check(%s) allocated %d bytes for a module of %d, want at most %d", name, got, len(module), limit)
		}
	}
	lie := []byte{0xff, 0xff, 0xff, 0xff, 0x0f}
	for id := range byte(14) {
		module := t.Module(t.Section(id, lie, make([]byte, 1_000)))
		got := allocated(func() { checkAny(tt, module) })
		if limit := allowance(len(module)); got > limit {
			tt.Errorf("Check(section %d with 2^32-1 elements) allocated %d bytes, want at most %d", id, got, limit)
		}
	}
}

func TestCheckLeavesTheModuleAlone(tt *testing.T) {
	module := rich()
	before := slices.Clone(module)
	checkAny(tt, module)
	if !slices.Equal(module, before) {
		tt.Error("Check changed the module")
	}
}

func FuzzCheck(f *testing.F) {
	f.Add(rich())
	f.Add(t.Plugin(t.Parts{}))
	f.Add([]byte(t.Preamble))
	f.Add(t.Plugin(t.Parts{Last: t.CustomSection("name", t.Section(1, t.Vec([]byte{0, 1, 'f'})), t.Section(2, t.Vec([]byte{0, 1, 0, 1, 'x'})))}))
	f.Add(t.Plugin(t.Parts{Last: t.CustomSection("producers", t.Vec(slices.Concat(t.Name("language"), t.Vec(slices.Concat(t.Name("Go"), t.Name("1"))))))}))
	f.Fuzz(func(tt *testing.T, module []byte) { checkAny(tt, module) })
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
