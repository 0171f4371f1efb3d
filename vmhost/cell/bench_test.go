//go:build linux && (amd64 || arm64)

package cell_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
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

// BenchmarkColdStart is from nothing to the first answer: process, seal,
// compilation, call.
func BenchmarkColdStart(b *testing.B) {
	for _, c := range []struct {
		name, input string
		src         vmhost.Source
	}{{"small", "x", source(b, "echo")}, {"go", goDocument, goSource(b)}} {
		b.Run(c.name, func(b *testing.B) {
			d := newDriver(b, binTars, nil)
			b.ReportMetric(float64(len(c.src.Module)), "module-bytes")
			for b.Loop() {
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
