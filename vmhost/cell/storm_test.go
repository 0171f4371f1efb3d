//go:build linux && (amd64 || arm64)

package cell_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell"
)

// TestCrashStorm: while 32 programs of one account kill their cells in parallel,
// until all are in quarantine, every call of another account's program answers from
// the cell that it has. How long its calls take is only said: it is the machine's.
func TestCrashStorm(t *testing.T) {
	const culprits = 32
	d := withBlanks(t, binProbe, 2, func(o *cell.Options) { o.QuarantineAfter = 4 })
	neighbour := probeSource("neighbour")
	neighbour.Account = "neighbour"
	good := load(t, d, neighbour)
	t.Logf("alone:          %v", times(t, good, 300, func(n int) bool { return n < 300 }))
	// The kinds of death take turns, so that the storm is of all.
	kinds := []string{"panic", "close-wire", "huge-frame", "execve"}
	programs := make([]vmhost.Program, culprits)
	for i := range programs {
		src := probeSource(fmt.Sprintf("culprit %d", i))
		src.Account = "culprit"
		programs[i] = load(t, d, src)
	}
	over := make(chan struct{})
	var storm sync.WaitGroup
	for i, p := range programs {
		storm.Go(func() {
			for {
				_, err := p.Call(within(t, time.Minute), vmhost.Request{Capability: kinds[i%len(kinds)]})
				switch {
				case errors.Is(err, vmhost.ErrQuarantined):
					return
				case errors.Is(err, vmhost.ErrUnavailable): // kept back for a moment
					time.Sleep(10 * time.Millisecond)
				case !errors.Is(err, vmhost.ErrCrashed):
					t.Errorf("culprit %d: Call = %v, want ErrCrashed, ErrUnavailable or ErrQuarantined", i, err)
					return
				}
			}
		})
	}
	go func() {
		storm.Wait()
		close(over)
	}()
	t.Logf("in the storm:   %v", times(t, good, 300, func(int) bool {
		select {
		case <-over:
			return false
		default:
			return true
		}
	}))
	s := d.Stats()
	if s.Quarantined != culprits {
		t.Errorf("%d programs in quarantine, want %d", s.Quarantined, culprits)
	}
	eventually(t, "only the neighbour's cell and blank ones are left", func() bool {
		s := d.Stats()
		return s.Cells == 1 && s.Blanks == 2 && len(children(os.Getpid())) == 3
	})
	t.Logf("%+v", s)
}

// quantiles are of how long calls took.
type quantiles struct {
	calls         int
	p50, p99, max time.Duration
}

func (q quantiles) String() string {
	return fmt.Sprintf("%d calls, p50 %v, p99 %v, longest %v", q.calls, q.p50, q.p99, q.max)
}

// times calls a program that echoes, at least so often and as long as it should go
// on.
func times(t *testing.T, p vmhost.Program, least int, on func(n int) bool) quantiles {
	t.Helper()
	var took []time.Duration
	for n := 0; n < least || on(n); n++ {
		start := time.Now()
		wantEcho(t, p)
		took = append(took, time.Since(start))
		time.Sleep(time.Millisecond)
	}
	slices.Sort(took)
	return quantiles{len(took), took[len(took)/2], took[len(took)*99/100], took[len(took)-1]}
}
