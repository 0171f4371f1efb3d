//go:build linux && (amd64 || arm64)

package cell_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell"
)

// BenchmarkNeighbour is how long an account's calls wait while another account runs
// its worst on the same node: loops, memory to the cap, recursion, floods of output
// and of log, as many at once as it may, with a cell for each. The calls come at a
// fixed rate, whether or not the last is back. Half of them are made before, on a
// quiet node.
func BenchmarkNeighbour(b *testing.B) {
	const each = 5_000 // calls, quiet and under attack
	most := limits()
	most.Memory, most.Output, most.Input = 64<<20, 8<<20, 8<<20
	d := newDriver(b, binTars, func(o *cell.Options) { o.Logger = nil })
	host, err := vmhost.New(d, vmhost.Options{Slots: 16, PerAccount: 8, MaxLimits: most})
	if err != nil {
		b.Fatal(err)
	}
	guest := func(account vmhost.Account, name string, wall time.Duration) *vmhost.Guest {
		src := source(b, name)
		src.Account, src.Limits.Wall = account, wall
		g, err := host.Load(b.Context(), src)
		if err != nil {
			b.Fatal(err)
		}
		return g
	}
	victim := guest("victim", "echo", 5*time.Second)
	var worst []*vmhost.Guest
	for _, name := range []string{"loop", "hog", "recurse", "flood", "logflood"} {
		worst = append(worst, guest("attacker", name, 200*time.Millisecond))
	}
	for b.Loop() {
		quiet, errQuiet := atRate(b, victim, each)
		ctx, stop := context.WithCancel(b.Context())
		var attack sync.WaitGroup
		for i := range 16 {
			attack.Go(func() {
				for n := i; ctx.Err() == nil; n++ {
					_, _ = worst[n%len(worst)].Call(ctx, request("!")) // every end is one that it may come to
				}
			})
		}
		attacked, errAttacked := atRate(b, victim, each)
		stop()
		attack.Wait()
		for p, name := range map[int]string{50: "p50", 95: "p95", 99: "p99"} {
			q, a := quiet[len(quiet)*p/100], attacked[len(attacked)*p/100]
			b.ReportMetric(float64(q.Microseconds()), name+"-quiet-us")
			b.ReportMetric(float64(a.Microseconds()), name+"-attacked-us")
			b.ReportMetric(float64(a)/float64(q), name+"-ratio")
		}
		b.ReportMetric(float64(errQuiet+errAttacked), "errors")
	}
	if err := host.Close(context.Background()); err != nil && !errors.Is(err, context.Canceled) {
		b.Error(err)
	}
}

// atRate makes calls of a guest that echoes, 500 a second, and returns how long each
// took from when it was due, sorted, and how many failed.
func atRate(b *testing.B, g *vmhost.Guest, calls int) (took []time.Duration, failed int) {
	const interval = 2 * time.Millisecond
	took = make([]time.Duration, calls)
	failures := make([]bool, calls)
	var group sync.WaitGroup
	start := time.Now()
	for i := range calls {
		due := start.Add(time.Duration(i) * interval)
		time.Sleep(time.Until(due))
		group.Go(func() {
			reply, err := g.Call(b.Context(), request("hello"))
			took[i], failures[i] = time.Since(due), err != nil || string(reply.Output) != "hello"
		})
	}
	group.Wait()
	for _, f := range failures {
		if f {
			failed++
		}
	}
	slices.Sort(took)
	return took, failed
}
