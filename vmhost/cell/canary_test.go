package cell_test

import (
	"errors"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
)

// TestKilledCellLeavesNothing: after a cell is killed in the middle of a call that
// has left its traces everywhere, the next call finds what the first ever found.
func TestKilledCellLeavesNothing(t *testing.T) {
	d := newDriver(t, binTars, nil)
	src := source(t, "canary")
	src.Limits.Wall = 30 * time.Second
	p := load(t, d, src)
	report := func() string {
		t.Helper()
		reply, err := p.Call(within(t, 30*time.Second), request("r"))
		if err != nil {
			t.Fatalf("Call: %v", err)
		}
		return string(reply.Output)
	}
	want := report()
	for range 3 {
		ended := make(chan error, 1)
		go func() {
			_, err := p.Call(within(t, 30*time.Second), request("lx")) // leaves traces, then loops
			ended <- err
		}()
		time.Sleep(50 * time.Millisecond) // whether it is there yet does not matter
		for _, pid := range children(os.Getpid()) {
			n, err := strconv.Atoi(pid)
			if err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(n, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				t.Fatal(err)
			}
		}
		if err := <-ended; !errors.Is(err, vmhost.ErrCrashed) {
			t.Errorf("Call in a killed cell: %v, want ErrCrashed", err)
		}
		if got := report(); got != want {
			t.Errorf("after the kill the guest found %q, want %q", got, want)
		}
	}
}
