package vmhosttest

import (
	"context"
	"testing"
	"time"

	"github.com/tars-project/tars/vmhost"
)

// running is a call of the guest searchloop, which is inside the guest for
// certain: it has asked the host something and loops since, or is about to.
type running struct {
	asked chan struct{} // closed by the guest's search
	done  chan error    // what the call gave
}

// startLoop calls the guest searchloop and returns once its search has come.
func startLoop(ctx context.Context, t *testing.T, g *vmhost.Guest) *running {
	t.Helper()
	r := &running{asked: make(chan struct{}), done: make(chan error, 1)}
	req := request("{}")
	req.Host = func(context.Context, vmhost.HostCall) ([]byte, error) {
		close(r.asked)
		return []byte("{}"), nil
	}
	go func() {
		_, err := g.Call(ctx, req)
		r.done <- err
	}()
	select {
	case <-r.asked:
	case err := <-r.done:
		t.Fatalf("Call of an endless guest = %v before it asked the host", err)
	}
	return r
}

// result waits for the call's end.
func (r *running) result(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.done:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("the call did not end")
		return nil
	}
}

// testEnds: what ends a call from outside can be told apart.
func testEnds(t *testing.T, h Harness) {
	t.Run("cancelled by the caller", func(t *testing.T) {
		g := h.load(t, "searchloop", nil)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r := startLoop(ctx, t, g)
		cancel()
		checkKind(t, r.result(t), context.Canceled)
	})
	t.Run("deadline of the caller", func(t *testing.T) {
		g := h.load(t, "loop", nil)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := g.Call(ctx, request("!"))
		checkKind(t, err, context.DeadlineExceeded)
	})
	t.Run("cancelled before", func(t *testing.T) {
		g := h.load(t, "echo", nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := g.Call(ctx, request("x"))
		checkKind(t, err, context.Canceled)
	})
	t.Run("guest closed", func(t *testing.T) {
		host := h.host(t)
		g := load(t, host, h.source(t, "searchloop"))
		r := startLoop(t.Context(), t, g)
		if err := g.Close(); err != nil {
			t.Errorf("Close during a call: %v", err)
		}
		checkKind(t, r.result(t), vmhost.ErrUnavailable)
		wantKind(t, g, request("x"), vmhost.ErrUnavailable)
		if err := g.Close(); err != nil {
			t.Errorf("Close again: %v", err)
		}
		if n := host.Guests(); n != 0 {
			t.Errorf("Guests() = %d, want 0", n)
		}
	})
	t.Run("host closed", func(t *testing.T) { testHostClosed(t, h) })
}

func testHostClosed(t *testing.T, h Harness) {
	host := h.host(t)
	g := load(t, host, h.source(t, "searchloop"))
	calls := make([]*running, 4)
	for i := range calls {
		calls[i] = startLoop(t.Context(), t, g)
	}
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	checkKind(t, host.Close(impatient), context.Canceled)
	for _, r := range calls {
		checkKind(t, r.result(t), vmhost.ErrUnavailable)
	}
	wantKind(t, g, request("x"), vmhost.ErrUnavailable)
	if _, err := host.Load(t.Context(), h.source(t, "echo")); err == nil {
		t.Error("Load on a closed host succeeded")
	}
}
