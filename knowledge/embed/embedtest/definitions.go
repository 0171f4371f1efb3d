package embedtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/embed"
	"github.com/tars-project/tars/knowledge/tenancy"
)

// Pin makes a collection that is pinned to an embedder.
type Pin func(ctx context.Context, tenant knowledge.TenantID, name knowledge.CollectionName, to knowledge.EmbedderInfo) error

// RunDefinitions tests what [embed.Definitions] promises. It calls open once for each
// test, which returns an empty store in which the tenants alice and bob are, and what
// makes collections beside it.
func RunDefinitions(t *testing.T, open func(t *testing.T) (embed.Definitions, Pin)) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, embed.Definitions, Pin)
	}{
		{"ComesBack", testComesBack},
		{"ReplacedWhole", testReplacedWhole},
		{"OfOthers", testOfOthers},
		{"List", testList},
		{"Bound", testBound},
		{"SpaceInUse", testSpaceInUse},
		{"DeleteInUse", testDeleteInUse},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, pin := open(t)
			test.run(t, d, pin)
		})
	}
}

func full(name embed.Name) embed.Definition {
	return embed.Definition{
		Name: name, Provider: embed.ProviderOpenAI, BaseURL: "https://example.com/v1", Model: "Möbius/7b",
		Options: embed.Options{Dimensions: 3, QueryPrefix: "q: ", DocumentPrefix: "d: ", BatchSize: 7, Parallel: 2, Timeout: 1500 * time.Millisecond},
		Space:   "möbius+prefix-1", Dimension: 3, Key: tenancy.Sealed{KeyID: "k1", Bytes: []byte{0, 1, 255}},
	}
}

func bare(name embed.Name) embed.Definition {
	return embed.Definition{Name: name, Provider: embed.ProviderOpenAI, BaseURL: "https://example.com", Model: "m", Space: "m", Dimension: 2}
}

func put(t *testing.T, s embed.Definitions, tenant knowledge.TenantID, d embed.Definition) embed.Definition {
	t.Helper()
	stored, _, err := s.PutEmbedder(t.Context(), tenant, d)
	if err != nil {
		t.Fatalf("PutEmbedder(%s, %s) = %v, want no error", tenant, d.Name, err)
	}
	return stored
}

// wantKind fails the test unless an error is of a kind and, unless that is empty,
// names something.
func wantKind(t *testing.T, what string, err, kind error, names string) {
	t.Helper()
	if !errors.Is(err, kind) || !strings.Contains(err.Error(), names) {
		t.Errorf("%s = %v, want %v that names %q", what, err, kind, names)
	}
}

func testComesBack(t *testing.T, s embed.Definitions, _ Pin) {
	for _, want := range []embed.Definition{full("full"), bare("bare")} {
		stored, created, err := s.PutEmbedder(t.Context(), "alice", want)
		if err != nil || !created {
			t.Fatalf("PutEmbedder = created %t, %v, want true, no error", created, err)
		}
		if stored.Version != 1 || stored.Created.IsZero() || !stored.Updated.Equal(stored.Created) {
			t.Errorf("PutEmbedder = version %d, created %s, updated %s; want 1 and one time", stored.Version, stored.Created, stored.Updated)
		}
		got, err := s.Embedder(t.Context(), "alice", want.Name)
		if diff := cmp.Diff(stored, got); diff != "" || err != nil {
			t.Errorf("Embedder = %v, differs from what Put returned:\n%s", err, diff)
		}
		got.Version, got.Created, got.Updated = 0, time.Time{}, time.Time{}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Embedder differs from what was put:\n%s", diff)
		}
	}
}

func testReplacedWhole(t *testing.T, s embed.Definitions, _ Pin) {
	first := put(t, s, "alice", full("e"))
	second, created, err := s.PutEmbedder(t.Context(), "alice", bare("e"))
	if err != nil || created {
		t.Fatalf("second PutEmbedder = created %t, %v, want false, no error", created, err)
	}
	if second.Version <= first.Version || !second.Created.Equal(first.Created) || second.HasKey() || second.Options != (embed.Options{}) {
		t.Errorf("second PutEmbedder = %+v, want a higher version, the same creation, and neither key nor options", second)
	}
}

func testOfOthers(t *testing.T, s embed.Definitions, _ Pin) {
	put(t, s, "alice", full("e"))
	_, err := s.Embedder(t.Context(), "bob", "e")
	wantKind(t, "Embedder of another tenant", err, knowledge.ErrNotFound, "")
	wantKind(t, "DeleteEmbedder of another tenant", s.DeleteEmbedder(t.Context(), "bob", "e"), knowledge.ErrNotFound, "")
	if all, err := s.ListEmbedders(t.Context(), "bob", "", 10); len(all) != 0 || err != nil {
		t.Errorf("ListEmbedders of another tenant = %v, %v, want none", all, err)
	}
	put(t, s, "bob", bare("e"))
	if got, err := s.Embedder(t.Context(), "alice", "e"); err != nil || got.Model != full("e").Model {
		t.Errorf("Embedder after another tenant's of the same name = %+v, %v, want it unchanged", got, err)
	}
}

func testList(t *testing.T, s embed.Definitions, _ Pin) {
	for _, name := range []embed.Name{"b", "a", "a-1", "c"} {
		put(t, s, "alice", bare(name))
	}
	for _, test := range []struct {
		after embed.Name
		limit int
		want  []embed.Name
	}{
		{"", 10, []embed.Name{"a", "a-1", "b", "c"}},
		{"", 2, []embed.Name{"a", "a-1"}},
		{"a-1", 1, []embed.Name{"b"}},
		{"c", 1, nil},
	} {
		all, err := s.ListEmbedders(t.Context(), "alice", test.after, test.limit)
		var names []embed.Name
		for _, d := range all {
			names = append(names, d.Name)
		}
		if err != nil || !slices.Equal(names, test.want) {
			t.Errorf("ListEmbedders(after %q, %d) = %q, %v, want %q", test.after, test.limit, names, err, test.want)
		}
	}
}

func testBound(t *testing.T, s embed.Definitions, _ Pin) {
	for i := range embed.MaxOwn {
		put(t, s, "alice", bare(embed.Name(fmt.Sprintf("e%d", i))))
	}
	_, _, err := s.PutEmbedder(t.Context(), "alice", bare("more"))
	wantKind(t, "PutEmbedder of one too many", err, knowledge.ErrLimit, "")
	_, err = s.Embedder(t.Context(), "alice", "more")
	wantKind(t, "Embedder of what was refused", err, knowledge.ErrNotFound, "")
	put(t, s, "alice", full("e0"))
	put(t, s, "bob", bare("more"))
}

func testSpaceInUse(t *testing.T, s embed.Definitions, pin Pin) {
	before := put(t, s, "alice", full("e"))
	if err := pin(t.Context(), "alice", "notes", before.Info()); err != nil {
		t.Fatalf("make a collection: %v", err)
	}
	for what, change := range map[string]func(*embed.Definition){
		"another space":     func(d *embed.Definition) { d.Space = "other" },
		"another dimension": func(d *embed.Definition) { d.Dimension = 4 },
	} {
		d := full("e")
		change(&d)
		_, _, err := s.PutEmbedder(t.Context(), "alice", d)
		wantKind(t, "PutEmbedder with "+what, err, knowledge.ErrConflict, `"notes"`)
		if got, err := s.Embedder(t.Context(), "alice", "e"); err != nil || !cmp.Equal(got, before) {
			t.Errorf("Embedder after that = %+v, %v, want it unchanged", got, err)
		}
	}
	d := full("e")
	d.BaseURL, d.Key, d.Options.BatchSize = "https://elsewhere.example.com", tenancy.Sealed{KeyID: "k2", Bytes: []byte{9}}, 9
	put(t, s, "alice", d)
	other := bare("e")
	put(t, s, "bob", other) // whom alice's collection does not bind
}

func testDeleteInUse(t *testing.T, s embed.Definitions, pin Pin) {
	d := put(t, s, "alice", full("e"))
	put(t, s, "alice", bare("free"))
	put(t, s, "bob", full("e"))
	if err := pin(t.Context(), "alice", "notes", d.Info()); err != nil {
		t.Fatalf("make a collection: %v", err)
	}
	wantKind(t, "DeleteEmbedder in use", s.DeleteEmbedder(t.Context(), "alice", "e"), knowledge.ErrConflict, `"notes"`)
	if _, err := s.Embedder(t.Context(), "alice", "e"); err != nil {
		t.Errorf("Embedder after a refused deletion = %v, want it there", err)
	}
	if err := s.DeleteEmbedder(t.Context(), "alice", "free"); err != nil {
		t.Errorf("DeleteEmbedder of a free one = %v, want no error", err)
	}
	if err := s.DeleteEmbedder(t.Context(), "bob", "e"); err != nil {
		t.Errorf("DeleteEmbedder of another tenant's = %v, want no error", err)
	}
	wantKind(t, "DeleteEmbedder of nothing", s.DeleteEmbedder(t.Context(), "alice", "free"), knowledge.ErrNotFound, "")
}
