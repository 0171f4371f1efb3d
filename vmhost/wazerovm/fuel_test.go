package wazerovm_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/vmhosttest"
	"github.com/tars-project/tars/vmhost/wazerovm"
)

func loadGuest(t *testing.T, name string) vmhost.Program {
	t.Helper()
	driver := wazerovm.New(nil)
	t.Cleanup(func() {
		if err := driver.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	module := vmhosttest.ExactGuest(t, name)
	p, err := driver.Load(t.Context(), vmhost.Source{
		Module: module, Digest: vmhost.DigestOf(module),
		Limits: vmhost.Limits{Wall: time.Minute, Memory: 1 << 20, Input: 1 << 16, Output: 1 << 16, Logs: 1 << 10, HostCalls: 10},
		Grants: vmhost.Grants{Search: true, Embed: true, Vectors: true, Log: true},
	})
	if err != nil {
		t.Fatalf("Load(%s) = %v, want no error", name, err)
	}
	return p
}

// TestFuelIsTheSame: the same work costs the same fuel, more work more.
func TestFuelIsTheSame(t *testing.T) {
	p := loadGuest(t, "echo")
	fuel := func(input string) int64 {
		reply, err := p.Call(t.Context(), vmhost.Request{Capability: "rank", Input: []byte(input)})
		if err != nil {
			t.Fatalf("Call = %v, want no error", err)
		}
		return reply.Usage.Fuel
	}
	first := fuel("a")
	if first <= 0 {
		t.Errorf("fuel of a call = %d, want some", first)
	}
	for range 3 {
		if again := fuel("a"); again != first {
			t.Errorf("fuel of the same call = %d, want %d as before", again, first)
		}
	}
}

// TestEndlessLoopEndsByItself: without anybody killing anything, a loop that calls
// nothing ends at its deadline, and its fuel is told.
func TestEndlessLoopEndsByItself(t *testing.T) {
	p := loadGuest(t, "loop")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	reply, err := p.Call(ctx, vmhost.Request{Capability: "rank", Input: []byte("!")})
	if !errors.Is(err, context.DeadlineExceeded) || reply.Usage.Fuel < 1_000_000 {
		t.Errorf("Call of an endless loop = %v after %d units, want the deadline after millions", err, reply.Usage.Fuel)
	}
}
