package plugins_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
	"github.com/tars-project/tars/knowledge/tenancy"
	"github.com/tars-project/tars/plugins"
	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/fakevm"
)

// guests are the fakes of these tests; config.say of the input is the output of
// "says".
func guests(seen *[]byte) vmhost.Driver {
	return fakevm.New(map[string]fakevm.Func{
		"echo": echo,
		"says": func(_ context.Context, c *fakevm.Call) ([]byte, error) {
			*seen = c.Input
			var in struct{ Config struct{ Say string } }
			if err := json.Unmarshal(c.Input, &in); err != nil {
				return nil, err
			}
			c.Log(1, "said "+in.Config.Say)
			return []byte(in.Config.Say), nil
		},
		"loop":  func(ctx context.Context, _ *fakevm.Call) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() },
		"panic": func(context.Context, *fakevm.Call) ([]byte, error) { panic("as asked") },
		"hog":   func(context.Context, *fakevm.Call) ([]byte, error) { return nil, vmhost.ErrMemory },
		"crash": func(context.Context, *fakevm.Call) ([]byte, error) { return nil, vmhost.ErrCrashed },
		"flood": func(context.Context, *fakevm.Call) ([]byte, error) { return make([]byte, 1<<20+1), nil },
		"error": func(context.Context, *fakevm.Call) ([]byte, error) {
			return nil, &vmhost.GuestError{Code: "bad-config", Message: "weight is missing"}
		},
	})
}

// ready is a node with every fake uploaded for alice under its own name.
func ready(t *testing.T) (*node, *[]byte) {
	t.Helper()
	seen := new([]byte)
	n := newNode(t, guests(seen), 16)
	for _, name := range []plugins.Name{"echo", "says", "loop", "panic", "hog", "crash", "flood", "error"} {
		m := manifest(name)
		m.Grants = []plugins.Grant{plugins.GrantLog}
		n.upload(t, alice, m, fakevm.Module(string(name)))
	}
	return n, seen
}

func say(output string) json.RawMessage {
	config, err := json.Marshal(map[string]string{"say": output})
	if err != nil {
		panic(err) // a string is always JSON
	}
	return config
}

func candidates() []query.Candidate {
	var list []query.Candidate
	for i, id := range []knowledge.RecordID{"a", "b", "c"} {
		list = append(list, query.Candidate{
			Match: knowledge.Match{ID: id, Collection: "docs", Text: "the text of " + string(id), Metadata: map[string]any{"z": 1.0, "a": "x", "m": nil}},
			Score: float64(3 - i),
		})
	}
	list[2].Owner = "rival"
	return list
}

func scores(list []query.Scored) string {
	var b strings.Builder
	for _, s := range list {
		fmt.Fprintf(&b, "%d:%g%s ", s.Index, s.Score, s.Reason)
	}
	return strings.TrimSpace(b.String())
}

func TestRank(t *testing.T) {
	n, seen := ready(t)
	for _, tc := range []struct{ output, want string }{
		{`{"scores":[{"index":2,"score":5},{"index":0,"score":7,"reason":"so"},{"index":1,"score":6}]}`, "2:5 0:7so 1:6"},
		{`{"scores":[{"index":2,"score":-1}]}`, "2:-1"},
		{`{"scores":[]}`, ""},
	} {
		ranked, receipt, err := n.rank(t.Context(), alice, query.PluginCall{Name: "says", Capability: query.Rank, Config: say(tc.output)}, "why?", candidates())
		if err != nil || scores(ranked) != tc.want {
			t.Errorf("Rank by %s = %s, %v, want %s", tc.output, scores(ranked), err, tc.want)
		}
		version, _ := n.catalog.Version(t.Context(), alice, "says", plugins.Ref{})
		if receipt.Plugin != "says" || receipt.Version != 1 || receipt.Digest != version.Digest.String() || receipt.Capability != query.Rank ||
			receipt.Tier != "inproc" || receipt.Grade != "fake" || len(receipt.Logs) != 1 || receipt.Logs[0] != "said "+tc.output {
			t.Errorf("receipt = %+v, want all of the call", receipt)
		}
	}
	want := `{"abi":1,"query":{"text":"why?"},"config":{"say":"{\"scores\":[]}"},"candidates":[` +
		`{"index":0,"id":"a","collection":"docs","text":"the text of a","score":3,"metadata":{"a":"x","m":null,"z":1}},` +
		`{"index":1,"id":"b","collection":"docs","text":"the text of b","score":2,"metadata":{"a":"x","m":null,"z":1}},` +
		`{"index":2,"id":"c","collection":"docs","owner":"rival","text":"the text of c","score":1,"metadata":{"a":"x","m":null,"z":1}}]}`
	if string(*seen) != want {
		t.Errorf("the plugin was given %s, want %s", *seen, want)
	}
	if _, _, err := n.rank(t.Context(), alice, query.PluginCall{Name: "says", Capability: query.Rank, Config: json.RawMessage{}}, "q", nil); reason(t, "Rank with a configuration of no bytes", err) != "output" {
		t.Errorf("Rank with a configuration of no bytes = %v, want it called, to say nothing", err)
	}
	if ranked, _, err := n.rank(t.Context(), alice, query.PluginCall{Name: "says", Capability: query.Rank, Config: say(`{"scores":[]}`)}, "q", nil); err != nil || len(ranked) != 0 {
		t.Errorf("Rank of nothing = %v, %v, want nothing", ranked, err)
	}
	if !strings.Contains(string(*seen), `"candidates":[]`) {
		t.Errorf("a plugin was given %s for no candidates, want an empty list", *seen)
	}
}

func TestSynthesize(t *testing.T) {
	n, seen := ready(t)
	call := query.PluginCall{Name: "says", Capability: query.Synthesize, Config: say(citing(1, 4, 8, "text"))}
	draft, receipt, err := n.synthesize(t.Context(), alice, call, "why?", candidates())
	if err != nil || draft.Text != "a" || len(draft.Citations) != 1 || draft.Citations[0] != (query.DraftCitation{Index: 1, Start: 4, End: 8, Quote: "text"}) {
		t.Errorf("Synthesize = %+v, %v, want the answer with its citation", draft, err)
	}
	if receipt.Capability != query.Synthesize || !strings.Contains(string(*seen), `"passages":[{"index":0,"id":"a"`) {
		t.Errorf("receipt = %+v of the input %s", receipt, *seen)
	}
}

// reason is how a call failed, by its *query.PluginError.
func reason(t *testing.T, what string, err error) string {
	t.Helper()
	var fault *query.PluginError
	if !errors.As(err, &fault) {
		t.Errorf("%s = %v, want a *PluginError", what, err)
		return ""
	}
	if fault.Detail == "" || fault.Plugin == "" {
		t.Errorf("%s = %+v, want it to name the plugin and the detail", what, fault)
	}
	return fault.Reason
}

func TestReasons(t *testing.T) {
	n, _ := ready(t)
	for name, want := range map[string]string{
		"panic": "trapped", "hog": "memory", "crash": "crashed", "flood": "output", "error": "error", "echo": "output",
	} {
		call := query.PluginCall{Name: name, Capability: query.Rank}
		_, receipt, err := n.rank(t.Context(), alice, call, "q", candidates())
		if got := reason(t, "Rank by "+name, err); got != want {
			t.Errorf("Rank by %s = %q, want %q", name, got, want)
		}
		if receipt.Plugin != name || receipt.Grade != "fake" {
			t.Errorf("receipt of %s = %+v, want one: it ran", name, receipt)
		}
		call.Capability = query.Synthesize
		_, _, err = n.synthesize(t.Context(), alice, call, "q", candidates())
		if got := reason(t, "Synthesize by "+name, err); got != want {
			t.Errorf("Synthesize by %s = %q, want %q", name, got, want)
		}
	}
	_, _, err := n.rank(t.Context(), alice, query.PluginCall{Name: "error", Capability: query.Rank}, "q", candidates())
	var fault *query.PluginError
	if errors.As(err, &fault) && fault.Detail != "bad-config: weight is missing" {
		t.Errorf("detail = %q, want the plugin's own words", fault.Detail)
	}
}

// TestInputIsBounded: a document that no guest takes is not even made whole.
func TestInputIsBounded(t *testing.T) {
	n, seen := ready(t)
	big := candidates()
	big[1].Text = strings.Repeat("x", 1<<20)
	_, receipt, err := n.rank(t.Context(), alice, query.PluginCall{Name: "says", Capability: query.Rank, Config: say("{}")}, "q", big)
	if got := reason(t, "Rank of a megabyte", err); got != "input" || *seen != nil {
		t.Errorf("Rank of a megabyte = %q and the plugin was given %d bytes, want input and none", got, len(*seen))
	}
	if receipt.Plugin != "" {
		t.Errorf("receipt = %+v, want none: it did not run", receipt)
	}
	if _, err := n.runner.Invoke(t.Context(), alice, "echo", plugins.Ref{}, "rank", make([]byte, 1<<20+1), false); reason(t, "Invoke with a megabyte", err) != "input" {
		t.Errorf("Invoke with a megabyte = %v, want the reason input", err)
	}
}

func TestCallRefuses(t *testing.T) {
	n, _ := ready(t)
	config := func(s string) query.PluginCall {
		return query.PluginCall{Name: "says", Capability: query.Rank, Config: json.RawMessage(s)}
	}
	for _, tc := range []struct {
		name  string
		call  query.PluginCall
		kind  error
		field string
	}{
		{"no name", query.PluginCall{Capability: query.Rank}, knowledge.ErrInvalid, "name"},
		{"a path", query.PluginCall{Name: "../says", Capability: query.Rank}, knowledge.ErrInvalid, "name"},
		{"unknown", query.PluginCall{Name: "nobody", Capability: query.Rank}, knowledge.ErrNotFound, ""},
		{"bad version", query.PluginCall{Name: "says", Version: "0", Capability: query.Rank}, knowledge.ErrInvalid, "version"},
		{"unknown version", query.PluginCall{Name: "says", Version: "2", Capability: query.Rank}, knowledge.ErrNotFound, ""},
		{"huge version", query.PluginCall{Name: "says", Version: "9999999999", Capability: query.Rank}, knowledge.ErrNotFound, ""},
		{"unknown alias", query.PluginCall{Name: "says", Version: "canary", Capability: query.Rank}, knowledge.ErrNotFound, ""},
		{"unknown digest", query.PluginCall{Name: "says", Version: "sha256:" + digits, Capability: query.Rank}, knowledge.ErrNotFound, ""},
		{"capability not in the manifest", query.PluginCall{Name: "says", Capability: "guard"}, knowledge.ErrInvalid, "capability"},
		{"no capability", query.PluginCall{Name: "says"}, knowledge.ErrInvalid, "capability"},
		{"config a list", config(`[]`), knowledge.ErrInvalid, "config"},
		{"config cut", config(`{"a":`), knowledge.ErrInvalid, "config"},
		{"config with repeated members", config(`{"a":1,"a":2}`), knowledge.ErrInvalid, "config"},
		{"config of bad UTF-8", config("{\"a\":\"\xff\"}"), knowledge.ErrInvalid, "config"},
	} {
		loads := n.driver.loads.Load()
		_, receipt, err := n.rank(t.Context(), alice, tc.call, "q", candidates())
		if !errors.Is(err, tc.kind) || receipt.Plugin != "" {
			t.Errorf("%s: Rank = %v with receipt %+v, want %v and none", tc.name, err, receipt, tc.kind)
		}
		var invalid *knowledge.InvalidError
		if errors.As(err, &invalid) && invalid.Field != tc.field {
			t.Errorf("%s: Rank = %v, want it at %q", tc.name, err, tc.field)
		}
		if n.driver.loads.Load() != loads {
			t.Errorf("%s: a guest was loaded for it", tc.name)
		}
	}
	if _, err := n.runner.Invoke(t.Context(), alice, "says", plugins.Ref{}, "reason", []byte("{}"), false); !errors.Is(err, knowledge.ErrInvalid) {
		t.Errorf("Invoke for a capability not in the manifest = %v, want ErrInvalid", err)
	}
}

func TestReferencesOfCalls(t *testing.T) {
	n, _ := ready(t)
	m := manifest("echo")
	m.Description = "the second"
	second, created, err := n.registry.Upload(t.Context(), alice, tenancy.Policy{}, m, fakevm.Module("echo"))
	if err != nil || !created {
		t.Fatalf("Upload = %v, want nil", err)
	}
	if err := n.catalog.SetAlias(t.Context(), alice, "echo", "canary", 2); err != nil {
		t.Fatal(err)
	}
	for version, want := range map[string]int{"": 1, "live": 1, "1": 1, "2": 2, "canary": 2, second.Digest.String(): 2} {
		ref, err := plugins.ParseRef(version)
		if err != nil {
			t.Fatal(err)
		}
		got, err := n.runner.Invoke(t.Context(), alice, "echo", ref, "rank", []byte(`{"a":[1]}`), false)
		if err != nil || got.Version.Number != want || got.Receipt.Version != want || string(got.Output) != `{"a":[1]}` {
			t.Errorf("Invoke(%q) = version %d, %s, %v, want version %d and its own input", version, got.Version.Number, got.Output, err, want)
		}
	}
	for _, output := range []string{"", "{", "{} {}", strings.Repeat("[", 100_000), `{"a":1,"a":2}`} {
		if _, err := n.runner.Invoke(t.Context(), alice, "echo", plugins.Ref{}, "rank", []byte(output), false); reason(t, "Invoke", err) != "output" {
			t.Errorf("Invoke with the output %.20q = %v, want the reason output", output, err)
		}
	}
}

// TestTenantsAreApart: another tenant's plugin is not there, and the same module
// of two tenants is two guests.
func TestTenantsAreApart(t *testing.T) {
	n, _ := ready(t)
	version, err := n.catalog.Version(t.Context(), alice, "echo", plugins.Ref{})
	if err != nil {
		t.Fatal(err)
	}
	unknown := func(name plugins.Name, ref plugins.Ref) string {
		_, err := n.runner.Invoke(t.Context(), bob, name, ref, "rank", []byte("{}"), false)
		if !errors.Is(err, knowledge.ErrNotFound) {
			t.Errorf("Invoke of %s by bob = %v, want ErrNotFound", name, err)
			return ""
		}
		return strings.ReplaceAll(err.Error(), string(name), "NAME")
	}
	for _, ref := range []plugins.Ref{{}, {Number: 1}, {Digest: &version.Digest}} {
		if foreign, none := unknown("echo", ref), unknown("nobody", ref); foreign != none {
			t.Errorf("bob is told %q of alice's plugin and %q of none, want no difference", foreign, none)
		}
	}
	m := manifest("echo")
	m.Grants = []plugins.Grant{plugins.GrantLog}
	loads := n.driver.loads.Load()
	if v := n.upload(t, bob, m, fakevm.Module("echo")); v.Digest != version.Digest {
		t.Fatalf("digest = %v, want that of alice's %v", v.Digest, version.Digest)
	}
	if _, err := n.runner.Invoke(t.Context(), bob, "echo", plugins.Ref{}, "rank", []byte("{}"), false); err != nil {
		t.Errorf("Invoke of bob's own = %v, want nil", err)
	}
	if got := n.driver.loads.Load() - loads; got != 1 {
		t.Errorf("%d loads for bob, want 1 of his own", got)
	}
	if last := n.driver.sources[len(n.driver.sources)-1]; last.Account != "bob" {
		t.Errorf("account = %q, want bob", last.Account)
	}
}

func TestIsolationFloor(t *testing.T) {
	for _, tc := range []struct {
		tier  vmhost.Tier
		floor string
		ok    bool
	}{
		{vmhost.TierInProc, "", true},
		{vmhost.TierInProc, "process", false},
		{vmhost.TierProcess, "", true},
		{vmhost.TierProcess, "process", true},
		{vmhost.TierProcess, "microvm", false},
		{vmhost.TierMicroVM, "microvm", true},
		{vmhost.TierMicroVM, "process", true},
		{vmhost.TierMicroVM, "enclave", false}, // doubt fails closed
		{vmhost.TierMicroVM, "Process", false},
	} {
		n := newNode(t, fakes(), 4)
		n.upload(t, alice, manifest("a"), fakevm.Module("a"))
		n.policies[alice] = tenancy.Policy{MinIsolation: tc.floor}
		n.runner.Tier = tc.tier
		_, err := n.runner.Invoke(t.Context(), alice, "a", plugins.Ref{}, "rank", []byte("{}"), false)
		if tc.ok && err != nil || !tc.ok && !errors.Is(err, knowledge.ErrUnavailable) {
			t.Errorf("Invoke on %v with the floor %q = %v, want success %v, else ErrUnavailable", tc.tier, tc.floor, err, tc.ok)
		}
	}
	n := newNode(t, fakes(), 4)
	n.upload(t, alice, manifest("a"), fakevm.Module("a"))
	n.runner.Policies = noPolicies{}
	if _, err := n.runner.Invoke(t.Context(), alice, "a", plugins.Ref{}, "rank", []byte("{}"), false); !errors.Is(err, knowledge.ErrUnavailable) {
		t.Errorf("Invoke without the policy = %v, want its error", err)
	}
}

type noPolicies struct{}

func (noPolicies) Tenant(context.Context, knowledge.TenantID) (tenancy.Tenant, error) {
	return tenancy.Tenant{}, knowledge.ErrUnavailable
}

// TestPolicyHoldsAtEachCall: one that was lowered binds the plugins that were
// uploaded before.
func TestPolicyHoldsAtEachCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _ := ready(t)
		n.policies[alice] = tenancy.Policy{PluginWall: 30 * time.Millisecond}
		start := time.Now()
		_, err := n.runner.Invoke(t.Context(), alice, "loop", plugins.Ref{}, "rank", []byte("{}"), false)
		if got := reason(t, "Invoke", err); got != "deadline" || time.Since(start) != 30*time.Millisecond {
			t.Errorf("Invoke under a policy of 30ms = %q after %v, want deadline after 30ms", got, time.Since(start))
		}
		n.policies[alice] = tenancy.Policy{PluginMemory: 64 << 10} // the module needs a megabyte
		_, err = n.runner.Invoke(t.Context(), alice, "echo", plugins.Ref{}, "rank", []byte("{}"), false)
		if got := reason(t, "Invoke", err); got != "refused" {
			t.Errorf("Invoke under a policy of one page = %q, want refused", got)
		}
	})
}

// TestDeadlines: which of the deadlines a call meets decides what it is told.
func TestDeadlines(t *testing.T) {
	for _, tc := range []struct {
		name           string
		call, wall, of time.Duration // timeout_ms, the manifest's limit, the query's time
		want           error         // nil: a *PluginError with the reason deadline
		after          time.Duration
	}{
		{"timeout_ms first", time.Second, 5 * time.Second, 9 * time.Second, nil, time.Second},
		{"wall first", 5 * time.Second, 2 * time.Second, 9 * time.Second, nil, 2 * time.Second},
		{"wall alone", 0, 2 * time.Second, 9 * time.Second, nil, 2 * time.Second},
		{"query first", 5 * time.Second, 6 * time.Second, time.Second, context.DeadlineExceeded, time.Second},
		{"query alone", 0, 6 * time.Second, time.Second, context.DeadlineExceeded, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := newNode(t, guests(new([]byte)), 4)
			m := manifest("loop")
			m.Limits.Wall = tc.wall
			n.upload(t, alice, m, fakevm.Module("loop"))
			ctx, cancel := context.WithTimeout(t.Context(), tc.of)
			defer cancel()
			start := time.Now()
			_, receipt, err := n.rank(ctx, alice, query.PluginCall{Name: "loop", Capability: query.Rank, Timeout: tc.call}, "q", candidates())
			if took := time.Since(start); took != tc.after {
				t.Errorf("%s: Rank took %v, want %v", tc.name, took, tc.after)
			}
			var fault *query.PluginError
			switch {
			case tc.want == nil:
				if got := reason(t, tc.name, err); got != "deadline" || !errors.Is(err, vmhost.ErrDeadline) {
					t.Errorf("%s: Rank = %v, want the reason deadline", tc.name, err)
				}
			case !errors.Is(err, tc.want) || errors.As(err, &fault):
				t.Errorf("%s: Rank = %v, want %v and no *PluginError", tc.name, err, tc.want)
			}
			if receipt.Plugin != "loop" {
				t.Errorf("%s: receipt = %+v, want one: it ran", tc.name, receipt)
			}
		})
	}
}

func TestCallerOfPluginCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _ := ready(t)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, _, err := n.rank(ctx, alice, query.PluginCall{Name: "loop", Capability: query.Rank, Timeout: 5 * time.Second}, "q", candidates())
		var fault *query.PluginError
		if !errors.Is(err, context.Canceled) || errors.As(err, &fault) {
			t.Errorf("Rank = %v, want Canceled and no *PluginError", err)
		}
	})
}

// TestTimeoutWhileLoading: the time of a call includes the load that it waits
// for; a load that fails by its own time is no deadline.
func TestTimeoutWhileLoading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, fakes(), 1)
		n.upload(t, alice, manifest("a"), fakevm.Module("a"))
		n.upload(t, alice, manifest("b"), fakevm.Module("b")) // and a is no longer there
		n.driver.set(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		call := query.PluginCall{Name: "a", Capability: query.Rank, Timeout: time.Second}
		_, receipt, err := n.rank(t.Context(), alice, call, "q", candidates())
		if got := reason(t, "Rank", err); got != "deadline" || receipt.Plugin != "" {
			t.Errorf("Rank within 1s of a load without end = %q, %+v, want deadline and no receipt", got, receipt)
		}
		call.Timeout = 0
		_, _, err = n.rank(t.Context(), alice, call, "q", candidates())
		if got := reason(t, "Rank", err); got != "unavailable" {
			t.Errorf("Rank after a load without end = %q, want unavailable", got)
		}
	})
}

// TestBusy: a call that gets no slot did not run.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _ := ready(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		for range 8 { // all slots of the node
			go func() {
				_, _ = n.runner.Invoke(ctx, alice, "loop", plugins.Ref{}, "rank", []byte("{}"), false) // ends with ctx
				done <- struct{}{}
			}()
		}
		synctest.Wait()
		_, receipt, err := n.rank(t.Context(), alice, query.PluginCall{Name: "says", Capability: query.Rank, Timeout: time.Second, Config: say(`{"scores":[]}`)}, "q", candidates())
		if got := reason(t, "Rank", err); got != "busy" || receipt.Plugin != "" || !errors.Is(err, vmhost.ErrBusy) {
			t.Errorf("Rank without a slot for 1s = %q, %+v, want busy and no receipt", got, receipt)
		}
		wantBudget(t, err, query.BudgetUse{Name: "queue_time", Used: 1_000_000, Allowed: 1_000_000, Unit: "us"})
		hurried, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		_, err = n.runner.Invoke(hurried, alice, "says", plugins.Ref{}, "rank", []byte("{}"), false)
		var fault *query.PluginError
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, vmhost.ErrBusy) || errors.As(err, &fault) {
			t.Errorf("Invoke by a caller who has 1s = %v, want DeadlineExceeded, ErrBusy and no *PluginError", err)
		}
		cancel()
		for range 8 {
			<-done
		}
	})
}
