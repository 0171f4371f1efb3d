package query_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/memstore"
	"github.com/tars-project/tars/knowledge/query"
	"github.com/tars-project/tars/knowledge/shares"
	"github.com/tars-project/tars/knowledge/shares/sharestest"
)

const (
	owner   = knowledge.TenantID("owner")
	grantee = knowledge.TenantID("grantee")
)

// asked is an embedder that writes down for whom it is asked.
type asked struct {
	embedder
	mu   sync.Mutex
	fail error
	by   []string
}

func (a *asked) For(ctx context.Context, tenant knowledge.TenantID, c knowledge.Collection) (knowledge.Embedder, error) {
	guest, _ := knowledge.GuestOf(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.by = append(a.by, fmt.Sprintf("%s's %s for %q", tenant, c.Name, guest))
	if a.fail != nil {
		return nil, a.fail
	}
	return a.embedder.For(ctx, tenant, c)
}

// sharing are two tenants with the same names: a collection docs with the records 1 to 4,
// of which 1 and 2 are public, a view of these, and an alias.
type sharing struct {
	t        *testing.T
	engine   *query.Engine
	store    *memstore.Store
	shares   *shares.Registry
	embedder *asked
	log      *strings.Builder
}

func newSharing(t *testing.T, p plugins) *sharing {
	t.Helper()
	w := &sharing{t: t, store: memstore.New(memstore.Options{}), embedder: &asked{}, log: &strings.Builder{}}
	w.shares = shares.NewRegistry(sharestest.NewMemory(w.store), slog.New(slog.NewTextHandler(w.log, nil)))
	t.Cleanup(func() {
		if err := w.shares.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	w.engine = &query.Engine{Store: w.store, Embedders: w.embedder, Plugins: p, Shares: w.shares, Parallel: 4, Timeout: 10 * time.Second}
	ctx := t.Context()
	for _, tenant := range []knowledge.TenantID{owner, grantee} {
		c := knowledge.Collection{Name: "docs", Metric: knowledge.L2, Embedder: w.embedder.Info()}
		if _, _, err := w.store.PutCollection(ctx, tenant, c); err != nil {
			t.Fatal(err)
		}
		var records []knowledge.Record
		for i := 1; i <= 4; i++ {
			records = append(records, knowledge.Record{
				ID: knowledge.RecordID(fmt.Sprint(i)), Text: fmt.Sprintf("%s's apple number %d", tenant, i), Vector: []float32{float32(i), 1},
				Metadata: map[string]any{"public": i <= 2, "author": "somebody"},
			})
		}
		if _, err := w.store.PutRecords(ctx, tenant, "docs", knowledge.Write{Records: records}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.store.ChangeAliases(ctx, tenant, []knowledge.AliasAction{{Alias: "alias", Collection: "docs"}}); err != nil {
			t.Fatal(err)
		}
		w.putView(tenant, "public")
	}
	return w
}

func (w *sharing) putView(tenant knowledge.TenantID, name knowledge.CollectionName) {
	w.t.Helper()
	v := knowledge.View{
		Name: name, Collection: "docs", Hidden: []string{"author"},
		Filter:   knowledge.Filter{Op: knowledge.OpEq, Field: "public", Values: []any{true}},
		Defaults: knowledge.Defaults{Plugins: []knowledge.DefaultPlugin{{Name: "p", Capability: "rank"}}},
	}
	if _, _, err := w.store.PutView(w.t.Context(), tenant, v); err != nil {
		w.t.Fatal(err)
	}
}

func (w *sharing) grant(s knowledge.Share) knowledge.ShareID {
	w.t.Helper()
	if s.View == "" {
		s.View = "public"
	}
	s.Grantee, s.CreatedBy = grantee, "key_1"
	made, err := w.shares.Grant(w.t.Context(), owner, s)
	if err != nil {
		w.t.Fatalf("Grant = %v, want nil", err)
	}
	return made.ID
}

// leg is one of the owner's view, in each mode that finds everything.
func leg(mode query.Mode) query.Leg {
	l := query.Leg{Owner: owner, Collection: "public", Mode: mode, Text: "apple number 1 2 3 4"}
	if mode == query.Vector {
		l.Text, l.Vector = "", []float32{4, 1}
	}
	return l
}

// ask is a query of the grantee's.
func (w *sharing) ask(legs ...query.Leg) (query.Answer, error) {
	return w.engine.Answer(w.t.Context(), grantee, query.Query{Text: "apple", Legs: legs, Limit: 20, Plugins: []query.PluginCall{}})
}

// wantUnknown checks that a leg is answered as one of a collection that is not there.
func (w *sharing) wantUnknown(what string, l query.Leg) {
	w.t.Helper()
	for _, mode := range []query.Mode{query.Vector, query.Lexical, query.Hybrid, ""} {
		l.Mode, l.Vector, l.Text = mode, leg(mode).Vector, leg(mode).Text
		none := l
		none.Owner, none.Collection = "", "none"
		_, want := w.ask(none)
		answer, err := w.ask(l)
		if got := strings.ReplaceAll(fmt.Sprint(err), fmt.Sprintf("%q", l.Collection), `"none"`); err == nil || got != want.Error() || !errors.Is(err, knowledge.ErrNotFound) {
			w.t.Errorf("%s, %q: Answer = %d matches, %v, want as for no collection: %v", what, mode, len(answer.Matches), err, want)
		}
	}
}

// names are whose records were found, and which.
func names(candidates []query.Candidate) string {
	var all []string
	for _, c := range candidates {
		all = append(all, fmt.Sprintf("%s/%s/%s", c.Owner, c.Collection, c.ID))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// TestSharedLeg: by a share what its view shows is found, in every mode, beside the
// tenant's own of the same names, and nothing else.
func TestSharedLeg(t *testing.T) {
	w := newSharing(t, nil)
	w.wantUnknown("before it is shared", leg(""))
	w.grant(knowledge.Share{})
	for _, mode := range []query.Mode{query.Vector, query.Lexical, query.Hybrid, ""} {
		answer, err := w.ask(leg(mode))
		if err != nil || names(answer.Matches) != "owner/public/1 owner/public/2" {
			t.Errorf("%q: Answer = %s, %v, want the two that are public", mode, names(answer.Matches), err)
		}
		for _, m := range answer.Matches {
			if m.Metadata["author"] != nil || !strings.HasPrefix(m.Text, "owner's") {
				t.Errorf("%q: match = %+v, want the owner's, without its author", mode, m)
			}
		}
		for _, p := range answer.Plans {
			if p.Owner != owner || p.Collection != "public" || p.Found != 2 {
				t.Errorf("%q: plan = %+v, want the owner's view", mode, p)
			}
		}
		own := leg(mode)
		own.Owner = ""
		if answer, err = w.ask(leg(mode), own); err != nil || names(answer.Matches) != "/public/1 /public/2 owner/public/1 owner/public/2" {
			t.Errorf("%q: Answer with its own = %s, %v, want both tenants'", mode, names(answer.Matches), err)
		}
	}
	// A search names no owner, and finds its own.
	s := query.SearchText{Search: knowledge.Search{Collection: "public", Vector: []float32{1, 1}, Limit: 9}}
	if found, err := w.engine.Search(t.Context(), grantee, s); err != nil || names(found.Matches) != "/public/1 /public/2" {
		t.Errorf("Search = %s, %v, want its own", names(found.Matches), err)
	}
}

// TestOnlyWhatIsShared: all that is not shared is a collection that is not there.
func TestOnlyWhatIsShared(t *testing.T) {
	w := newSharing(t, nil)
	w.putView(owner, "other")
	w.grant(knowledge.Share{})
	for what, l := range map[string]query.Leg{
		"another view":          {Owner: owner, Collection: "other"},
		"the collection":        {Owner: owner, Collection: "docs"},
		"an alias":              {Owner: owner, Collection: "alias"},
		"a name of nothing":     {Owner: owner, Collection: "nothing"},
		"of nobody":             {Owner: "nobody", Collection: "public"},
		"of the tenant itself":  {Owner: grantee, Collection: "public"},
		"its own, as another's": {Owner: grantee, Collection: "docs"},
	} {
		w.wantUnknown(what, l)
	}
	if _, err := w.engine.Answer(t.Context(), owner, query.Query{Legs: []query.Leg{{Owner: grantee, Collection: "public", Vector: []float32{1, 1}}}}); !errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("Answer the other way round = %v, want ErrNotFound", err)
	}
	limited := knowledge.LimitToViews(t.Context(), []knowledge.CollectionName{"public"})
	if _, err := w.engine.Answer(limited, grantee, query.Query{Legs: []query.Leg{leg(query.Vector)}}); !errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("Answer for a key limited to views = %v, want ErrNotFound", err)
	}
	w.engine.Shares = nil
	w.wantUnknown("where nothing is shared", leg(""))
	if !strings.Contains(w.log.String(), "shared view refused") {
		t.Errorf("log = %s, want what was refused", w.log)
	}
}

// TestSharesEnd: a share that is revoked, that has expired, or whose view is gone is of
// no use from then on, nor is it when another view has the name.
func TestSharesEnd(t *testing.T) {
	w := newSharing(t, nil)
	works := func(when string) {
		t.Helper()
		if answer, err := w.ask(leg(query.Hybrid)); err != nil || len(answer.Matches) != 2 {
			t.Fatalf("%s: Answer = %s, %v, want 2 matches", when, names(answer.Matches), err)
		}
	}
	id := w.grant(knowledge.Share{})
	works("granted")
	if err := w.shares.Revoke(t.Context(), owner, id, "key_1"); err != nil {
		t.Fatal(err)
	}
	w.wantUnknown("revoked", leg(""))

	expires := time.Now().Add(200 * time.Millisecond)
	w.grant(knowledge.Share{Expires: expires})
	works("granted for a moment")
	time.Sleep(time.Until(expires))
	w.wantUnknown("expired", leg(""))

	w.grant(knowledge.Share{})
	works("granted anew")
	if err := w.store.DeleteView(t.Context(), owner, "public"); err != nil {
		t.Fatal(err)
	}
	w.wantUnknown("without its view", leg(""))
	w.putView(owner, "public")
	w.wantUnknown("with another view of the name", leg(""))
	w.grant(knowledge.Share{})
	works("granted once more")
}

// TestSharedViewChanges: what a share gives is what its view shows at the time.
func TestSharedViewChanges(t *testing.T) {
	w := newSharing(t, nil)
	w.grant(knowledge.Share{})
	v, err := w.store.View(t.Context(), owner, "public")
	if err != nil {
		t.Fatal(err)
	}
	v.Filter = knowledge.Filter{Op: knowledge.OpEq, Field: "public", Values: []any{false}}
	if _, _, err := w.store.PutView(t.Context(), owner, v); err != nil {
		t.Fatal(err)
	}
	if answer, err := w.ask(leg(query.Hybrid)); err != nil || names(answer.Matches) != "owner/public/3 owner/public/4" {
		t.Errorf("Answer = %s, %v, want what the view shows now", names(answer.Matches), err)
	}
	l := leg(query.Vector)
	l.Filter = knowledge.Filter{Op: knowledge.OpEq, Field: "author", Values: []any{"somebody"}}
	if _, err := w.ask(l); !errors.Is(err, knowledge.ErrInvalid) || !strings.Contains(err.Error(), "legs[0]") {
		t.Errorf("Answer by a hidden field = %v, want an InvalidError about legs[0]", err)
	}
}

// TestSharedLegHasNoDefaultPlugins: plugins that the owner's view names are not called,
// though the grantee has some of that name, and go for no other leg either.
func TestSharedLegHasNoDefaultPlugins(t *testing.T) {
	called := 0
	w := newSharing(t, plugins{"p": {rank: func(_ context.Context, candidates []query.Candidate) ([]query.Candidate, error) {
		called++
		return candidates, nil
	}}})
	w.grant(knowledge.Share{})
	own := query.Leg{Collection: "public"}
	for _, legs := range [][]query.Leg{{leg("")}, {own, leg("")}, {leg(""), own}} {
		if _, err := w.engine.Answer(t.Context(), grantee, query.Query{Text: "apple", Legs: legs}); err != nil || called != 0 {
			t.Errorf("Answer of %d legs = %v, %d plugins called, want none", len(legs), err, called)
		}
	}
	if _, err := w.engine.Answer(t.Context(), grantee, query.Query{Text: "apple", Legs: []query.Leg{own}}); err != nil || called != 1 {
		t.Errorf("Answer of its own leg = %v, %d plugins called, want 1", err, called)
	}
}

// TestSharedEmbedder: a question is embedded by the owner's embedder, for the grantee,
// which learns neither the collection's name nor what is wrong with the embedder; the
// grantee's plugins have no use of it.
func TestSharedEmbedder(t *testing.T) {
	w := newSharing(t, plugins{"p": {rank: func(_ context.Context, c []query.Candidate) ([]query.Candidate, error) { return c, nil }}})
	w.grant(knowledge.Share{})
	l := query.Leg{Owner: owner, Collection: "public", Mode: query.Vector}
	if _, err := w.ask(l); err != nil || len(w.embedder.by) != 1 || w.embedder.by[0] != `owner's public for "grantee"` {
		t.Errorf("Answer = %v, by %q, want the owner's embedder, for the grantee", err, w.embedder.by)
	}
	for _, fail := range []error{
		errors.New("hunter2"), knowledge.Unavailable("embedder hunter2 is down"), knowledge.Conflict("embedder", "hunter2 has another version"),
		knowledge.NotFound("embedder", "hunter2"),
	} {
		w.embedder.fail = fail
		_, err := w.ask(l)
		var lack *knowledge.UnavailableError
		if !errors.As(err, &lack) || strings.Contains(lack.Reason, "hunter2") || errors.Is(err, knowledge.ErrConflict) || errors.Is(err, knowledge.ErrNotFound) {
			t.Errorf("Answer with %v = %v, want an UnavailableError without a word of it", fail, err)
		}
	}
	w.embedder.fail = nil
	w.engine.Plugins = plugins{"p": {scores: func(ctx context.Context, task query.Task) ([]query.Scored, error) {
		_, err := task.Handout.Embed(ctx, "x")
		if !errors.Is(err, knowledge.ErrInvalid) {
			t.Errorf("Embed of a plugin = %v, want an InvalidError", err)
		}
		return nil, nil
	}}}
	q := query.Query{Text: "apple", Legs: []query.Leg{leg(query.Vector)}, Plugins: []query.PluginCall{{Name: "p", Capability: query.Rank}}}
	if _, err := w.engine.Answer(t.Context(), grantee, q); err != nil {
		t.Errorf("Answer = %v, want nil", err)
	}
}

// TestSharedCitations: a citation names the owner of its record.
func TestSharedCitations(t *testing.T) {
	w := newSharing(t, plugins{"p": {synthesize: func(_ context.Context, passages []query.Candidate) (query.Draft, error) {
		return query.Draft{Text: "t", Citations: []query.DraftCitation{{Index: 0, End: len(passages[0].Text), Quote: passages[0].Text}}}, nil
	}}})
	w.grant(knowledge.Share{})
	q := query.Query{Text: "apple", Legs: []query.Leg{leg(query.Vector)}, Plugins: []query.PluginCall{{Name: "p", Capability: query.Synthesize}}}
	answer, err := w.engine.Answer(t.Context(), grantee, q)
	if err != nil || len(answer.Results) != 1 || answer.Results[0].Citations[0].Owner != owner || !answer.Results[0].Grounded {
		t.Errorf("Answer = %+v, %v, want a citation of the owner's record", answer.Results, err)
	}
}

// TestPluginsKnowTheOwner: the tenant's plugins can tell what is another's, and a guard
// can drop it.
func TestPluginsKnowTheOwner(t *testing.T) {
	var seen []string
	w := newSharing(t, plugins{
		"own": {guard: func(_ context.Context, task query.Task) (v query.Verdict, err error) {
			for _, l := range task.Handout.Legs {
				if l.Owner != "" {
					v.DropLegs = append(v.DropLegs, l.Leg)
				}
			}
			return v, nil
		}},
		"p": {scores: func(_ context.Context, task query.Task) ([]query.Scored, error) {
			for _, c := range task.Handout.Candidates {
				seen = append(seen, string(c.Owner))
			}
			return nil, nil
		}},
	})
	w.grant(knowledge.Share{})
	q := query.Query{Text: "apple", Legs: []query.Leg{leg(query.Vector), {Collection: "public"}}, Plugins: []query.PluginCall{{Name: "p", Capability: query.Rank}}}
	if _, err := w.engine.Answer(t.Context(), grantee, q); err != nil || !slices.Contains(seen, "owner") || !slices.Contains(seen, "") {
		t.Errorf("Answer = %v, with candidates of %q, want both tenants'", err, seen)
	}
	q.Plugins = []query.PluginCall{{Name: "own", Capability: query.Guard, Stage: query.Pre}}
	if answer, err := w.engine.Answer(t.Context(), grantee, q); err != nil || names(answer.Matches) != "/public/1 /public/2" {
		t.Errorf("Answer with a guard = %s, %v, want its own", names(answer.Matches), err)
	}
}

// TestSharedReadsAreCounted: a query counts once for each share, with what the legs of
// the share found; one that fails to search counts nothing.
func TestSharedReadsAreCounted(t *testing.T) {
	w := newSharing(t, nil)
	w.putView(owner, "other")
	first, second := w.grant(knowledge.Share{}), w.grant(knowledge.Share{View: "other"})
	other := leg(query.Vector)
	other.Collection = "other"
	if _, err := w.ask(leg(query.Hybrid), leg(query.Vector), other, query.Leg{Collection: "docs"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.ask(other, query.Leg{Collection: "none"}); err == nil {
		t.Fatal("Answer of an unknown collection = nil, want an error")
	}
	if err := w.shares.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	given, err := w.shares.Given(t.Context(), owner, "", 9)
	if err != nil || len(given) != 2 {
		t.Fatalf("Given = %+v, %v, want two", given, err)
	}
	want := map[knowledge.ShareID]shares.Reads{first: {Queries: 1, Rows: 6}, second: {Queries: 1, Rows: 2}}
	for _, u := range given {
		if u.Today != want[u.ID] || u.Total != want[u.ID] {
			t.Errorf("%s was read %+v today, %+v in all, want %+v", u.View, u.Today, u.Total, want[u.ID])
		}
	}
}
