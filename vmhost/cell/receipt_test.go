//go:build linux && (amd64 || arm64)

package cell_test

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/vmhosttest/wasmbuild"
)

// toucher is a program that grows its memory by so many pages, writes to each,
// and then asks the host something, during which it can be looked at from
// outside.
func toucher(pages int32) vmhost.Source {
	const address, next = 4, 5 // locals
	code := wasmbuild.Code
	plugin := wasmbuild.Plugin{
		Imports: []wasmbuild.Import{wasmbuild.HostImport("search")},
		Handle: code(
			wasmbuild.I32(pages), wasmbuild.Grow(), wasmbuild.I32(vmhost.PageSize), wasmbuild.Mul(), wasmbuild.Set(address),
			// Each 4 KiB of the new memory.
			wasmbuild.I32(pages*16), wasmbuild.Set(next),
			wasmbuild.Loop(code(
				wasmbuild.Get(address), wasmbuild.I32(1), wasmbuild.Store8(0),
				wasmbuild.Get(address), wasmbuild.I32(4096), wasmbuild.Add(), wasmbuild.Set(address),
				wasmbuild.Get(next), wasmbuild.I32(1), wasmbuild.Sub(), wasmbuild.Tee(next), wasmbuild.BranchIf(0),
			)),
			wasmbuild.Get(2), wasmbuild.Get(3), wasmbuild.I32(wasmbuild.ResultAt), wasmbuild.Call(0), wasmbuild.I32(wasmbuild.ResultAt),
		),
	}
	module := plugin.Encode()
	l := limits()
	l.Memory = 128 << 20
	return vmhost.Source{Account: "test", Module: module, Digest: vmhost.DigestOf(module), Limits: l, Grants: vmhost.Grants{Search: true}}
}

// resident returns the anonymous memory of a process, by the kernel's account.
func resident(t *testing.T, pid string) int64 {
	t.Helper()
	rollup, err := os.ReadFile("/proc/" + pid + "/smaps_rollup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(rollup)) {
		if after, ok := strings.CutPrefix(line, "Anonymous:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatalf("no Anonymous in %q", rollup)
	return 0
}

// TestReceiptOfMemory: what the receipt says of memory is what the kernel says
// that the cell grew by.
func TestReceiptOfMemory(t *testing.T) {
	const pages = 1000
	const touched = pages * vmhost.PageSize
	p := load(t, newDriver(t, binTars, nil), toucher(pages))
	pids := children(os.Getpid())
	if len(pids) != 1 {
		t.Fatalf("%d cells, want one", len(pids))
	}
	before := resident(t, pids[0])
	var grown int64
	req := request("x")
	req.Host = func(context.Context, vmhost.HostCall) ([]byte, error) {
		grown = resident(t, pids[0]) - before
		return []byte("{}"), nil
	}
	reply, err := p.Call(within(t, 30*time.Second), req)
	if err != nil {
		t.Fatalf("Call: %v", err)
	}
	if want := int64(touched + 1<<20); reply.Usage.PeakMemory != want {
		t.Errorf("PeakMemory = %d, want %d: what it began with and what it grew by", reply.Usage.PeakMemory, want)
	}
	const slack = 8 << 20 // the runtime's own
	if grown < touched || grown > touched+slack {
		t.Errorf("the cell grew by %d bytes while the guest wrote to %d, want that and at most %d more", grown, touched, slack)
	}
}

// TestBudgetOfMemory: what a guest asks for beyond its limit is named, and does not
// come.
func TestBudgetOfMemory(t *testing.T) {
	src := toucher(1000)
	src.Limits.Memory = 4 << 20
	p := load(t, newDriver(t, binTars, nil), src)
	reply, err := p.Call(within(t, 30*time.Second), request("x"))
	var spent *vmhost.BudgetError
	if !errors.As(err, &spent) || *spent != (vmhost.BudgetError{Budget: vmhost.BudgetMemory, Used: 1000*vmhost.PageSize + 1<<20, Allowed: 4 << 20}) {
		t.Errorf("Call = %v, want the memory's budget with %d asked for of %d", err, 1000*vmhost.PageSize+1<<20, 4<<20)
	}
	if reply.Usage.PeakMemory != 1<<20 {
		t.Errorf("PeakMemory = %d, want %d", reply.Usage.PeakMemory, 1<<20)
	}
}
