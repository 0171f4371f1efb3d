package plugins_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/document"
	"github.com/tars-project/tars/knowledge/ledger"
	"github.com/tars-project/tars/knowledge/ledger/ledgertest"
	"github.com/tars-project/tars/knowledge/query"
	"github.com/tars-project/tars/plugins"
	"github.com/tars-project/tars/vmhost/fakevm"
)

// TestCallsAreNoted: a call that ran is in the ledger once, whatever became of it and by
// whatever way it came, with what its receipt says; one that did not run is not there.
func TestCallsAreNoted(t *testing.T) {
	n, _ := ready(t)
	store := ledgertest.NewMemory()
	book := ledger.NewBook(store, ledger.Options{})
	n.runner.Ledger = book
	t.Cleanup(func() { _ = book.Close(context.Background()) }) // in memory
	ctx := knowledge.AskedBy(t.Context(), "key_a")
	rank := func(ctx context.Context, name, config string) (query.Receipt, error) {
		_, receipt, err := n.rank(ctx, alice, query.PluginCall{Name: name, Capability: query.Rank, Config: say(config), Timeout: 50 * time.Millisecond}, "q", candidates())
		return receipt, err
	}
	for _, c := range []struct {
		what, plugin, outcome string
		call                  func() (query.Receipt, error)
	}{
		{"rank", "says", "ok", func() (query.Receipt, error) { return rank(ctx, "says", `{"scores":[]}`) }},
		{"rank with output that is none", "says", "output", func() (query.Receipt, error) { return rank(ctx, "says", `{"scores":[{"index":9,"score":1}]}`) }},
		{"synthesize with output that is none", "says", "output", func() (query.Receipt, error) {
			_, receipt, err := n.synthesize(ctx, alice, query.PluginCall{Name: "says", Capability: query.Synthesize, Config: say("1")}, "q", nil)
			return receipt, err
		}},
		{"invoke", "echo", "ok", func() (query.Receipt, error) {
			called, err := n.runner.Invoke(ctx, alice, "echo", plugins.Ref{}, "rank", []byte(`"an input"`), false)
			return called.Receipt, err
		}},
		{"guest's error", "error", "error", func() (query.Receipt, error) { return rank(ctx, "error", "") }},
		{"trap", "panic", "trapped", func() (query.Receipt, error) { return rank(ctx, "panic", "") }},
		{"memory", "hog", "memory", func() (query.Receipt, error) { return rank(ctx, "hog", "") }},
		{"output too long", "flood", "output", func() (query.Receipt, error) { return rank(ctx, "flood", "") }},
		{"the query's time for it", "loop", "deadline", func() (query.Receipt, error) { return rank(ctx, "loop", "") }},
		{"a caller who left", "loop", "cancelled", func() (query.Receipt, error) {
			gone, leave := context.WithCancel(ctx)
			defer time.AfterFunc(10*time.Millisecond, leave).Stop()
			return rank(gone, "loop", "")
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			before := time.Now()
			receipt, err := c.call()
			if (err == nil) != (c.outcome == "ok") || receipt.ID == "" {
				t.Fatalf("call = receipt %+v, %v, want it to end %s, with an id", receipt, err, c.outcome)
			}
			if err := book.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			got, err := store.Call(ctx, alice, ledger.ID(receipt.ID))
			if err != nil {
				t.Fatalf("Call(%s) = %v, want it", receipt.ID, err)
			}
			if got.Key != "key_a" || got.Plugin != c.plugin || got.Outcome != c.outcome || got.Version != 1 || got.Digest != receipt.Digest || got.Capability != string(receipt.Capability) ||
				got.Tier != "inproc" || got.Grade != "fake" || got.VM != receipt.VM.Truncate(time.Microsecond) || got.Input == 0 || got.Started.Before(before.Add(-time.Millisecond)) || got.Started.After(time.Now()) {
				t.Errorf("noted %+v of the receipt %+v, want all of it, for key_a, outcome %s", got, receipt, c.outcome)
			}
			if c.what == "invoke" && (got.Input != 10 || got.Output != 10) {
				t.Errorf("noted %d bytes in and %d out, want 10 each", got.Input, got.Output)
			}
			if _, err := ledger.ParseID(receipt.ID); err != nil {
				t.Errorf("id %q: %v", receipt.ID, err)
			}
		})
	}
	if _, err := n.runner.Invoke(ctx, alice, "nothing", plugins.Ref{}, "rank", []byte("1"), false); !errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("Invoke of no plugin = %v, want ErrNotFound", err)
	}
	if _, err := n.runner.Invoke(ctx, alice, "echo", plugins.Ref{}, "rank", make([]byte, 1<<20+1), false); err == nil {
		t.Error("Invoke with too much = nil, want an error")
	}
	if _, err := n.runner.Invoke(ctx, alice, "echo", plugins.Ref{}, "guard", []byte("1"), false); !errors.Is(err, knowledge.ErrInvalid) {
		t.Errorf("Invoke for what the manifest has not = %v, want ErrInvalid", err)
	}
	if err := book.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	day := ledger.DayOf(time.Now())
	sums, err := store.Usage(ctx, alice, ledger.Question{From: day, To: day})
	if err != nil || len(sums) != 1 || sums[0].Calls != 10 || sums[0].Failed != 8 {
		t.Errorf("usage = %+v, %v, want 10 calls, 8 of them failed", sums, err)
	}
}

// TestChunksAreNoted: as are calls that cut documents.
func TestChunksAreNoted(t *testing.T) {
	n, _ := ready(t)
	m := manifest("cuts")
	m.Capabilities = []plugins.Capability{plugins.Chunk}
	n.upload(t, alice, m, fakevm.Module("echo")) // its input is no list of passages
	store := ledgertest.NewMemory()
	book := ledger.NewBook(store, ledger.Options{})
	n.runner.Ledger = book
	t.Cleanup(func() { _ = book.Close(context.Background()) }) // in memory
	_, receipt, err := n.runner.Chunk(t.Context(), alice, query.PluginCall{Name: "cuts"}, document.About{ID: "d"}, document.Text{Text: "t"})
	if err == nil {
		t.Fatal("Chunk = nil, want an error: its output is none")
	}
	if err := book.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := store.Call(t.Context(), alice, ledger.ID(receipt.ID)); err != nil || got.Outcome != "output" || got.Capability != "chunk" || got.Key != "" {
		t.Errorf("noted %+v, %v, want a call for chunk with the outcome output, of no key", got, err)
	}
}

// TestHostReadsAreNoted: records that a call has its host read are the call's, and no
// other's.
func TestHostReadsAreNoted(t *testing.T) {
	n := newNode(t, fakevm.New(map[string]fakevm.Func{"search": saysOf("search")}), 4)
	m := manifest("search")
	m.Grants = []plugins.Grant{plugins.GrantSearch}
	m.Limits.HostCalls = 1
	n.upload(t, alice, m, fakevm.Module("search"))
	n.runner.REST = restAPI{search: func(ctx context.Context, _ knowledge.TenantID, _ []byte) ([]byte, error) {
		ledger.AddRead(ctx, 3)
		return []byte("found"), nil
	}}
	store := ledgertest.NewMemory()
	book := ledger.NewBook(store, ledger.Options{})
	n.runner.Ledger = book
	t.Cleanup(func() { _ = book.Close(context.Background()) }) // in memory
	var outer ledger.Read
	ctx := ledger.CountRead(t.Context(), &outer)
	for range 2 {
		called, err := n.runner.Invoke(ctx, alice, "search", plugins.Ref{}, "synthesize", []byte("{}"), false)
		if err != nil {
			t.Fatal(err)
		}
		if err := book.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		if got, err := store.Call(ctx, alice, ledger.ID(called.Receipt.ID)); err != nil || got.Rows != 3 || got.HostCalls != 1 {
			t.Errorf("noted %+v, %v, want 3 rows read by one host call", got, err)
		}
	}
	if n := outer.Records(); n != 0 {
		t.Errorf("%d records were counted outside of the calls, want none", n)
	}
}
