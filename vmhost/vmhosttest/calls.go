package vmhosttest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
)

// testCalls: a call gives back what the guest gave, from a VM that no other
// call has touched.
func testCalls(t *testing.T, h Harness) {
	t.Run("echo", func(t *testing.T) {
		g := h.load(t, "echo", nil)
		for _, input := range []string{"", "x", `{"abi":1}`, "größer", strings.Repeat("a", int(limits().Input))} {
			wantOutput(t, g, request(input), input)
		}
		reply := wantOutput(t, g, request("usage"), "usage")
		if u := reply.Usage; u.VM <= 0 || u.HostCalls != 0 || u.LogsDropped != 0 {
			t.Errorf("Usage = %+v, want time in the VM, no host calls, nothing dropped", u)
		}
		if !h.native() && reply.Usage.PeakMemory != 1<<20 {
			t.Errorf("PeakMemory = %d, want %d: the module's own size", reply.Usage.PeakMemory, 1<<20)
		}
	})
	t.Run("fresh state", func(t *testing.T) {
		g := h.load(t, "state", nil)
		for range 3 {
			wantOutput(t, g, request(""), "11")
		}
		concurrently(32, func(int) { wantOutput(t, g, request(""), "11") })
	})
	t.Run("no cross-talk", func(t *testing.T) {
		g := h.load(t, "echo", nil)
		concurrently(32, func(i int) {
			for n := range 8 {
				input := fmt.Sprintf("call %d of %d: %s", n, i, strings.Repeat(string(rune('a'+i%26)), 1000*n))
				wantOutput(t, g, request(input), input)
			}
		})
	})
	t.Run("error of the guest", func(t *testing.T) {
		g := h.load(t, "refusal", nil)
		_, err := g.Call(t.Context(), request("!"))
		var refusal *vmhost.GuestError
		if !errors.As(err, &refusal) || refusal.Code != "bad-config" || refusal.Message != "no weight" {
			t.Errorf("Call error = %#v, want the guest's own: bad-config, no weight", err)
		}
		wantOutput(t, g, request("next"), "next")
	})
	t.Run("log", func(t *testing.T) {
		reply := wantOutput(t, h.load(t, "log", nil), request("hello"), "hello")
		want := []vmhost.Log{{Level: 3, Text: "hello"}, {Level: 0, Text: ""}}
		if fmt.Sprint(reply.Logs) != fmt.Sprint(want) {
			t.Errorf("Logs = %v, want %v", reply.Logs, want)
		}
	})
}

// testLimits: caps hold, each with its own kind of error, and a call that broke
// one leaves nothing behind.
func testLimits(t *testing.T, h Harness) {
	t.Run("trap", func(t *testing.T) {
		g := h.load(t, "trap", nil)
		for range 2 {
			wantKind(t, g, request("!"), vmhost.ErrTrapped)
			wantOutput(t, g, request("next"), "next")
		}
	})
	t.Run("wall clock", func(t *testing.T) {
		const wall = 200 * time.Millisecond
		g := h.load(t, "loop", func(s *vmhost.Source) { s.Limits.Wall = wall })
		start := time.Now()
		wantKind(t, g, request("!"), vmhost.ErrDeadline)
		if took := time.Since(start); took < wall || took > wall+10*time.Second {
			t.Errorf("an endless loop took %v, want %v and little more", took, wall)
		}
		retryDeadline(t, g)
	})
	t.Run("memory", func(t *testing.T) {
		g := h.load(t, "hog", nil)
		reply := wantKind(t, g, request("!"), vmhost.ErrMemory)
		if peak := reply.Usage.PeakMemory; peak > limits().Memory {
			t.Errorf("PeakMemory = %d, want at most %d", peak, limits().Memory)
		}
		wantOutput(t, g, request("next"), "next")
	})
	t.Run("output", func(t *testing.T) {
		g := h.load(t, "flood", nil)
		wantKind(t, g, request("!"), vmhost.ErrOutput)
		wantOutput(t, g, request("next"), "next")
	})
	t.Run("output that is not UTF-8", func(t *testing.T) {
		g := h.load(t, "binary", nil)
		wantKind(t, g, request("!"), vmhost.ErrOutput)
		wantOutput(t, g, request("next"), "next")
	})
	t.Run("input", func(t *testing.T) {
		g := h.load(t, "echo", nil)
		wantKind(t, g, request(strings.Repeat("a", int(limits().Input)+1)), vmhost.ErrInput)
		wantKind(t, g, request("\xff"), vmhost.ErrInput)
		wantKind(t, g, vmhost.Request{Input: []byte("no capability")}, vmhost.ErrInput)
		wantOutput(t, g, request("next"), "next")
	})
	t.Run("log", func(t *testing.T) { testLogLimit(t, h) })
}

// retryDeadline checks that a guest answers after a call of it was ended. Its
// wall-clock limit is short and the machine may be busy: one of several calls
// has to come through.
func retryDeadline(t *testing.T, g *vmhost.Guest) {
	t.Helper()
	const attempts = 20
	for range attempts {
		reply, err := g.Call(t.Context(), request("next"))
		if err == nil && string(reply.Output) == "next" {
			return
		}
		if !errors.Is(err, vmhost.ErrDeadline) {
			t.Fatalf("Call after an endless one = %q, %v, want next", reply.Output, err)
		}
	}
	t.Errorf("%d calls after an endless one passed their deadline too", attempts)
}

func testLogLimit(t *testing.T, h Harness) {
	g := h.load(t, "logflood", nil)
	line := strings.Repeat("x", 1000)
	reply := wantOutput(t, g, request(line), line)
	if n := len(reply.Logs); n == 0 || n > 8 || n+reply.Usage.LogsDropped != 10_000 {
		t.Errorf("%d messages kept and %d dropped, want 1 to 8 kept, 10,000 in all", n, reply.Usage.LogsDropped)
	}
	reply = wantOutput(t, g, request(""), "")
	if n := len(reply.Logs); n == 0 || n > 1000 {
		t.Errorf("%d empty messages kept, want some, and far fewer than 10,000", n)
	}
	long := strings.Repeat("é", vmhost.MaxLogText)
	reply = wantOutput(t, g, request(long), long)
	if len(reply.Logs) == 0 || reply.Logs[0].Text != long[:vmhost.MaxLogText] {
		t.Errorf("a message of %d bytes gave %d messages, want one cut at %d", len(long), len(reply.Logs), vmhost.MaxLogText)
	}
}

// concurrently runs f n times at once and waits.
func concurrently(n int, f func(i int)) {
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { f(i) })
	}
	group.Wait()
}
