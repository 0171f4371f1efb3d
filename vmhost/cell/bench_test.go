//go:build linux && (amd64 || arm64)

package cell_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell"
	"github.com/tars-project/tars/vmhost/vmhosttest"
)

// goSource is a program that Go compiled, of about 3 MB.
func goSource(b *testing.B) vmhost.Source {
	b.Helper()
	src := source(b, "echo")
	src.Module = vmhosttest.Guest(b, "echo")
	src.Digest = vmhost.DigestOf(src.Module)
	src.Limits.Memory = 64 << 20
	return src
}

// goDocument is what that program takes.
const goDocument = `{"abi":1,"candidates":[{"index":0,"text":"x"}]}`

// BenchmarkColdStart is from nothing to the first answer: process, seal, load,
// call. "cached" finds the artifact; "compiled" makes it first, in a cell of its
// own; "source" has nowhere to keep it, so that the cell compiles for itself.
func BenchmarkColdStart(b *testing.B) {
	for _, c := range []struct {
		name, input string
		src         vmhost.Source
		kind        string
	}{
		{"small", "x", source(b, "echo"), "cached"},
		{"small", "x", source(b, "echo"), "compiled"},
		{"small", "x", source(b, "echo"), "source"},
		{"go", goDocument, goSource(b), "cached"},
		{"go", goDocument, goSource(b), "compiled"},
		{"go", goDocument, goSource(b), "source"},
	} {
		b.Run(c.name+"-"+c.kind, func(b *testing.B) {
			dir := cacheDir(b)
			d := newDriver(b, binTars, inCache(dir, nil))
			switch c.kind {
			case "cached":
				if err := load(b, d, c.src).Close(); err != nil {
					b.Fatal(err)
				}
			case "source":
				if err := os.RemoveAll(dir); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(c.src.Module)), "module-bytes")
			for i := 0; b.Loop(); i++ {
				if c.kind == "compiled" {
					c.src.Account = vmhost.Account(strconv.Itoa(i)) // another's is not ours
				}
				p := load(b, d, c.src)
				wantAnswer(b, p, c.input)
				b.StopTimer()
				if err := p.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

// BenchmarkFirstCall is from nothing to the first answer with a blank cell ready.
func BenchmarkFirstCall(b *testing.B) {
	for _, c := range []struct {
		name, input string
		src         vmhost.Source
	}{{"small", "x", source(b, "echo")}, {"go", goDocument, goSource(b)}} {
		b.Run(c.name, func(b *testing.B) {
			d := withBlanks(b, binTars, 1, nil)
			for b.Loop() {
				p := load(b, d, c.src)
				wantAnswer(b, p, c.input)
				b.StopTimer()
				if err := p.Close(); err != nil {
					b.Fatal(err)
				}
				waitBlanks(b, d, 1)
				b.StartTimer()
			}
			b.ReportMetric(float64(d.Stats().ColdStarts), "cold-starts")
		})
	}
}

// BenchmarkSpawn is from nothing to a cell that is adopted, set up and has loaded a
// program of which there is nothing to compile: cold, and with a blank cell ready.
func BenchmarkSpawn(b *testing.B) {
	for _, blanks := range []int{0, 1} {
		b.Run(map[int]string{0: "cold", 1: "blank"}[blanks], func(b *testing.B) {
			d := withBlanks(b, binProbe, blanks, nil)
			for b.Loop() {
				p := load(b, d, probeSource("attempts"))
				b.StopTimer()
				if err := p.Close(); err != nil {
					b.Fatal(err)
				}
				waitBlanks(b, d, blanks)
				b.StartTimer()
			}
		})
	}
}

// BenchmarkCall is a call of a cell that runs, one after the other. The probe
// runs no WebAssembly: it shows what the process costs.
func BenchmarkCall(b *testing.B) {
	for _, c := range []struct {
		name, binary, capability, input string
		src                             vmhost.Source
	}{
		{"probe-1KB", binProbe, "echo", strings.Repeat("x", 1<<10), probeSource("attempts")},
		{"small-1KB", binTars, "rank", strings.Repeat("x", 1<<10), source(b, "echo")},
		{"small-64KB", binTars, "rank", strings.Repeat("x", 64<<10), source(b, "echo")},
		{"go", binTars, "rank", goDocument, goSource(b)},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := load(b, newDriver(b, c.binary, nil), c.src)
			ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
			defer cancel()
			for b.Loop() {
				reply, err := p.Call(ctx, vmhost.Request{Capability: c.capability, Input: []byte(c.input)})
				if err != nil || len(reply.Output) != len(c.input) {
					b.Fatalf("Call = %d bytes, %v, want %d", len(reply.Output), err, len(c.input))
				}
			}
		})
	}
}

// BenchmarkVectors is what it costs to hand stored vectors to a guest: a call that
// fetches 200 of 384 components ("fetch"), against one that asks and gets a single
// number ("ask") and one that does not ask ("none"); and plugins that compare each
// with a question's.
func BenchmarkVectors(b *testing.B) {
	const rows, dimension = 200, 384
	vectors := make([]byte, rows*dimension*4)
	for i := range vectors {
		vectors[i] = byte(i*7) & 0x3f // finite whatever the byte order
	}
	host := func(_ context.Context, call vmhost.HostCall) ([]byte, error) {
		if call.Func == "embed" {
			return vectors[:dimension*4], nil
		}
		return vectors[call.First*dimension*4:][:call.Count*dimension*4], nil
	}
	number := func(context.Context, vmhost.HostCall) ([]byte, error) { return vectors[:4], nil }
	candidates := func(text string) string {
		var list []string
		for i := range rows {
			list = append(list, fmt.Sprintf(`{"index":%d,"id":"manual/%d","collection":"manual","text":%q,"score":0.5,"legs":[{"leg":0,"row":%d}]}`, i, i, text, i))
		}
		return `{"abi":1,"query":{"text":"how do I restore?"},"candidates":[` + strings.Join(list, ",") + `]}`
	}
	reranker := func(module []byte) vmhost.Source {
		src := goSource(b)
		src.Module, src.Digest = module, vmhost.DigestOf(module)
		src.Limits.Input = 1 << 20
		return src
	}
	short, long := candidates("short"), candidates(strings.Repeat("Words of a passage. ", 40))
	for _, c := range []struct {
		name, input string
		src         vmhost.Source
		host        vmhost.HostFunc
	}{
		{"none", "x", source(b, "echo"), nil},
		{"ask", "x", source(b, "rows"), number},
		{"fetch", "x", source(b, "rows"), host},
		{"c-short", short, reranker(vmhosttest.Language(b, "c-rerank")), host},
		{"c-long", long, reranker(vmhosttest.Language(b, "c-rerank")), host},
		{"go-short", short, reranker(vmhosttest.Guest(b, "rerank")), host},
		{"go-long", long, reranker(vmhosttest.Guest(b, "rerank")), host},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := load(b, newDriver(b, binTars, nil), c.src)
			ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
			defer cancel()
			var vm, cpu time.Duration
			for b.Loop() {
				reply, err := p.Call(ctx, vmhost.Request{Capability: "rank", Input: []byte(c.input), Host: c.host})
				if err != nil {
					b.Fatal(err)
				}
				vm, cpu = vm+reply.Usage.VM, cpu+reply.Usage.CPU
			}
			b.ReportMetric(float64(vm.Microseconds())/float64(b.N), "vm-µs/op")
			b.ReportMetric(float64(cpu.Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// BenchmarkCallers is many callers of one program at once, as the driver ships:
// its cell takes a few calls at a time, the others wait for it.
func BenchmarkCallers(b *testing.B) {
	for _, c := range []struct {
		name, binary, capability string
		src                      vmhost.Source
		callers                  int
	}{
		{"probe-16", binProbe, "echo", probeSource("attempts"), 16},
		{"probe-32", binProbe, "echo", probeSource("attempts"), 32},
		{"small-16", binTars, "rank", source(b, "echo"), 16},
		{"small-32", binTars, "rank", source(b, "echo"), 32},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := load(b, newDriver(b, c.binary, nil), c.src)
			ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
			defer cancel()
			req := vmhost.Request{Capability: c.capability, Input: []byte(strings.Repeat("x", 1<<10))}
			var left atomic.Int64
			left.Store(int64(b.N))
			var callers sync.WaitGroup
			b.ResetTimer()
			for range c.callers {
				callers.Go(func() {
					for left.Add(-1) >= 0 {
						if reply, err := p.Call(ctx, req); err != nil || len(reply.Output) != len(req.Input) {
							b.Errorf("Call = %d bytes, %v, want %d", len(reply.Output), err, len(req.Input))
							return
						}
					}
				})
			}
			callers.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
		})
	}
}

// BenchmarkIdleMemory reports what eight idle cells keep, each: its share of
// all memory, and what is its own.
func BenchmarkIdleMemory(b *testing.B) {
	for _, c := range []struct {
		name string
		src  vmhost.Source
	}{{"small", source(b, "echo")}, {"go", goSource(b)}} {
		b.Run(c.name, func(b *testing.B) {
			const cells = 8
			d := newDriver(b, binTars, func(o *cell.Options) { o.MaxCells = cells })
			for range cells {
				load(b, d, c.src)
			}
			var pss, private int
			for b.Loop() {
				pss, private = 0, 0
				for _, pid := range children(os.Getpid()) {
					rollup, err := os.ReadFile("/proc/" + pid + "/smaps_rollup")
					if err != nil {
						b.Fatal(err)
					}
					pss += kilobytes(b, string(rollup), "Pss:")
					private += kilobytes(b, string(rollup), "Private_Dirty:")
				}
			}
			b.ReportMetric(float64(pss)/cells, "KiB-share/cell")
			b.ReportMetric(float64(private)/cells, "KiB-own/cell")
		})
	}
}

func kilobytes(b *testing.B, rollup, field string) int {
	b.Helper()
	_, after, ok := strings.Cut(rollup, "\n"+field)
	words := strings.Fields(after)
	if !ok || len(words) == 0 {
		b.Fatal(fmt.Errorf("no %s in %q", field, rollup))
	}
	n, err := strconv.Atoi(words[0])
	if err != nil {
		b.Fatal(err)
	}
	return n
}
