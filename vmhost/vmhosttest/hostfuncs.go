package vmhosttest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tars-project/tars/vmhost"
)

// testHostFunctions: what a guest asks reaches the host, what the host answers
// reaches the guest, within the budget and the grants.
func testHostFunctions(t *testing.T, h Harness) {
	t.Run("answers", func(t *testing.T) { testAnswers(t, h) })
	t.Run("refusals", func(t *testing.T) { testRefusals(t, h) })
	t.Run("failure of the host", func(t *testing.T) {
		broken := errors.New("database gone")
		req := request("{}")
		req.Host = func(context.Context, vmhost.HostCall) ([]byte, error) { return nil, broken }
		for _, name := range []string{"search", "embed", "vectors"} {
			wantKind(t, h.load(t, name, nil), req, broken)
		}
	})
	t.Run("budget", func(t *testing.T) {
		g := h.load(t, "searches", nil)
		asked := 0
		req := request("{}")
		req.Host = func(context.Context, vmhost.HostCall) ([]byte, error) { asked++; return []byte("{}"), nil }
		reply, err := g.Call(t.Context(), req)
		checkRefusal(t, err, vmhost.CodeOverBudget)
		if most := limits().HostCalls; asked != most || reply.Usage.HostCalls != most {
			t.Errorf("6 searches: %d reached the host and %d were counted, want %d", asked, reply.Usage.HostCalls, most)
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		_, err := h.load(t, "search", nil).Call(t.Context(), request("{}"))
		checkRefusal(t, err, vmhost.CodeUnavailable)
	})
	t.Run("text over the input cap", func(t *testing.T) {
		req := request("{}")
		req.Host = func(context.Context, vmhost.HostCall) ([]byte, error) {
			t.Error("the call reached the host")
			return nil, nil
		}
		_, err := h.load(t, "searchlong", nil).Call(t.Context(), req)
		checkRefusal(t, err, vmhost.CodeInvalid)
	})
	t.Run("not granted", func(t *testing.T) { testGrants(t, h) })
}

func testAnswers(t *testing.T, h Harness) {
	const floats = "\x00\x00\x80?ABCDEFGH" // three of them; as text it is what the guest hands on
	for _, c := range []struct {
		guest  string
		want   vmhost.HostCall
		answer string
	}{
		{"search", vmhost.HostCall{Func: "search", Text: `{"text":"né"}`}, `{"matches":[]}`},
		{"search", vmhost.HostCall{Func: "search", Text: `{"text":"né"}`}, ""},
		{"search", vmhost.HostCall{Func: "search", Text: `{"text":"né"}`}, strings.Repeat("m", 60_000)},
		{"embed", vmhost.HostCall{Func: "embed", Text: `{"text":"né"}`}, floats[4:]},
		{"embed", vmhost.HostCall{Func: "embed", Text: `{"text":"né"}`}, ""},
		{"vectors", vmhost.HostCall{Func: "vectors", Leg: 7, First: 1<<32 - 1, Count: 3}, floats[4:]},
	} {
		var got []vmhost.HostCall
		req := request(`{"text":"né"}`)
		req.Host = func(_ context.Context, call vmhost.HostCall) ([]byte, error) {
			got = append(got, call)
			return []byte(c.answer), nil
		}
		reply := wantOutput(t, h.load(t, c.guest, nil), req, c.answer)
		if len(got) != 1 || got[0] != c.want {
			t.Errorf("guest %s asked %+v, want once %+v", c.guest, got, c.want)
		}
		if reply.Usage.HostCalls != 1 {
			t.Errorf("guest %s: HostCalls = %d, want 1", c.guest, reply.Usage.HostCalls)
		}
	}
}

// testRefusals: the error case of a host function's result reaches the guest,
// which hands it back as its own.
func testRefusals(t *testing.T, h Harness) {
	for _, name := range []string{"search", "embed", "vectors"} {
		req := request("{}")
		req.Host = func(context.Context, vmhost.HostCall) ([]byte, error) {
			return nil, &vmhost.GuestError{Code: "not-found", Message: strings.Repeat("é", vmhost.MaxErrorMessage)}
		}
		reply, err := h.load(t, name, nil).Call(t.Context(), req)
		var refusal *vmhost.GuestError
		if !errors.As(err, &refusal) || refusal.Code != "not-found" || refusal.Message != strings.Repeat("é", vmhost.MaxErrorMessage/2) {
			t.Errorf("%s: Call = %.40q, %.80v, want not-found with a message cut at %d bytes", name, reply.Output, err, vmhost.MaxErrorMessage)
		}
	}
}

func checkRefusal(t *testing.T, err error, code string) {
	t.Helper()
	var refusal *vmhost.GuestError
	if !errors.As(err, &refusal) || refusal.Code != code {
		t.Errorf("Call error = %v, want the code %s from the host, handed back by the guest", err, code)
	}
}

// testGrants: a module that imports what it is not granted is not loaded.
func testGrants(t *testing.T, h Harness) {
	host := h.host(t)
	for name, without := range map[string]func(*vmhost.Grants){
		"search":  func(g *vmhost.Grants) { g.Search = false },
		"embed":   func(g *vmhost.Grants) { g.Embed = false },
		"vectors": func(g *vmhost.Grants) { g.Vectors = false },
		"log":     func(g *vmhost.Grants) { g.Log = false },
	} {
		src := h.source(t, name)
		without(&src.Grants)
		_, err := host.Load(t.Context(), src)
		checkKind(t, err, vmhost.ErrRefused)
	}
}
