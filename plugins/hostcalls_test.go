package plugins_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
	"github.com/tars-project/tars/plugins"
	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/fakevm"
)

// saysOf is a guest that says what its host told it: one host function, by its name.
func saysOf(function string) fakevm.Func {
	return func(ctx context.Context, c *fakevm.Call) ([]byte, error) {
		var (
			got any
			err error
		)
		switch function {
		case "search":
			var answer []byte
			answer, err = c.Search(ctx, "{}")
			got = string(answer)
		case "embed":
			got, err = c.Embed(ctx, "four")
		default:
			got, err = c.Vectors(ctx, 0, 0, 1)
		}
		var refusal *vmhost.GuestError
		if err != nil && !errors.As(err, &refusal) {
			return nil, err
		}
		return fmt.Appendf(nil, `{"answer":"%v %v","citations":[]}`, got, err), nil
	}
}

// restAPI answers searches by a function.
type restAPI struct {
	rest
	search func(ctx context.Context, tenant knowledge.TenantID, body []byte) ([]byte, error)
}

func (r restAPI) Search(ctx context.Context, tenant knowledge.TenantID, body []byte) ([]byte, error) {
	return r.search(ctx, tenant, body)
}

func TestHostCalls(t *testing.T) {
	n := newNode(t, fakevm.New(map[string]fakevm.Func{"search": saysOf("search"), "embed": saysOf("embed"), "vectors": saysOf("vectors")}), 16)
	for _, name := range []plugins.Name{"search", "embed", "vectors"} {
		m := manifest(name)
		m.Grants = []plugins.Grant{plugins.GrantSearch, plugins.GrantEmbed, plugins.GrantVectors}
		m.Limits.HostCalls = 1
		n.upload(t, alice, m, fakevm.Module(string(name)))
	}
	internal := errors.New("the disk is gone")
	for _, tc := range []struct {
		name, function string
		err            error // of what is asked
		want           string
		kind           error // that ends the query
	}{
		{"search", "search", nil, "alice {} <nil>", nil},
		{"bad search", "search", knowledge.Invalid("limit", "is 0"), " invalid: limit: is 0", nil},
		{"search of an unknown collection", "search", fmt.Errorf("search: %w", knowledge.NotFound("collection", "secret")), " not-found: there is no such collection", nil},
		{"search of what it may not see", "search", knowledge.Forbidden("no"), " invalid: no", nil},
		{"search that is too much", "search", knowledge.Limit("later"), " unavailable: it may succeed later", nil},
		{"search of a store that fails", "search", internal, "", internal},
		{"embed", "embed", nil, "[1 -2.5] <nil>", nil},
		{"embed without an embedder", "embed", knowledge.Invalid("", "none"), "[] invalid: none", nil},
		{"embed by an embedder that fails", "embed", internal, "", internal},
		{"no such rows", "vectors", nil, "[] invalid: leg: is none of the query's", nil},
	} {
		n.runner.REST = restAPI{search: func(_ context.Context, tenant knowledge.TenantID, body []byte) ([]byte, error) {
			return fmt.Appendf(nil, "%s %s", tenant, body), tc.err
		}}
		handout := &query.Handout{Embed: func(_ context.Context, text string) ([]float32, error) {
			return []float32{1, -2.5}, tc.err
		}}
		call := query.PluginCall{Name: tc.function, Capability: query.Synthesize}
		draft, receipt, err := n.runner.Synthesize(t.Context(), query.Task{Tenant: alice, Call: call, Handout: handout})
		if !errors.Is(err, tc.kind) || draft.Text != tc.want || receipt.HostCalls != 1 {
			t.Errorf("%s: Synthesize = %q with %d host calls, %v, want %q with one, %v", tc.name, draft.Text, receipt.HostCalls, err, tc.want, tc.kind)
		}
	}
}

// TestHostCallsOutsideOfQueries: only what needs no query is answered.
func TestHostCallsOutsideOfQueries(t *testing.T) {
	n := newNode(t, fakevm.New(map[string]fakevm.Func{"search": saysOf("search"), "embed": saysOf("embed"), "vectors": saysOf("vectors")}), 16)
	n.runner.REST = restAPI{search: func(context.Context, knowledge.TenantID, []byte) ([]byte, error) { return []byte("found"), nil }}
	for name, want := range map[plugins.Name]string{
		"search":  `{"answer":"found <nil>","citations":[]}`,
		"embed":   `{"answer":"[] invalid: only a query answers this","citations":[]}`,
		"vectors": `{"answer":"[] invalid: only a query answers this","citations":[]}`,
	} {
		m := manifest(name)
		m.Grants = []plugins.Grant{plugins.GrantSearch, plugins.GrantEmbed, plugins.GrantVectors}
		m.Limits.HostCalls = 1
		n.upload(t, alice, m, fakevm.Module(string(name)))
		got, err := n.runner.Invoke(t.Context(), alice, name, plugins.Ref{}, "synthesize", []byte("{}"), false)
		if err != nil || string(got.Output) != want {
			t.Errorf("Invoke of %s = %s, %v, want %s", name, got.Output, err, want)
		}
	}
}
