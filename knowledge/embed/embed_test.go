package embed_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/embed"
)

// named is an embedder of which only the info matters.
type named knowledge.EmbedderInfo

func (n named) Info() knowledge.EmbedderInfo { return knowledge.EmbedderInfo(n) }

func (n named) Embed(context.Context, knowledge.EmbedKind, []string) ([][]float32, error) {
	panic("the set must not embed")
}

func TestSet(t *testing.T) {
	a, b := named{"a", "1", 2}, named{"b", "1", 3}
	set, err := embed.NewSet(b, a)
	if err != nil {
		t.Fatalf("NewSet(b, a) = %v, want no error", err)
	}
	if got, want := set.IDs(), []string{"a", "b"}; !slices.Equal(got, want) {
		t.Errorf("IDs() = %q, want %q", got, want)
	}
	if got, err := set.Get(t.Context(), "alice", "a"); got != a || err != nil {
		t.Errorf("Get(a) = %v, %v, want %v, no error", got, err, a)
	}
	if got, err := set.Get(t.Context(), "alice", "c"); got != nil || !errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("Get(c) = %v, %v, want nil, ErrNotFound", got, err)
	}
}

func TestSetOfNothing(t *testing.T) {
	var set embed.Set
	if got, err := set.Get(t.Context(), "alice", "a"); got != nil || !errors.Is(err, knowledge.ErrNotFound) {
		t.Errorf("zero Set: Get(a) = %v, %v, want nil, ErrNotFound", got, err)
	}
	if got := set.IDs(); len(got) != 0 {
		t.Errorf("zero Set: IDs() = %q, want none", got)
	}
}

func TestNewSetRefuses(t *testing.T) {
	good := named{"a", "1", 2}
	for _, test := range []struct {
		name      string
		embedders []knowledge.Embedder
		want      string
	}{
		{"nil", []knowledge.Embedder{good, nil}, "embedder 1 is nil"},
		{"no id", []knowledge.Embedder{named{"", "1", 2}}, "must not be empty"},
		{"id of none", []knowledge.Embedder{named{knowledge.NoEmbedder, "1", 2}}, "means that there is none"},
		{"no version", []knowledge.Embedder{named{"a", "", 2}}, "must not be empty"},
		{"no dimension", []knowledge.Embedder{named{"a", "1", 0}}, "dimension 0"},
		{"huge dimension", []knowledge.Embedder{named{"a", "1", knowledge.MaxDimension + 1}}, "dimension"},
		{"id twice", []knowledge.Embedder{good, named{"a", "2", 2}}, "id is taken"},
	} {
		t.Run(test.name, func(t *testing.T) {
			set, err := embed.NewSet(test.embedders...)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("NewSet = %v, %v, want an error with %q", set, err, test.want)
			}
		})
	}
}

func TestForRefusesAnotherSpace(t *testing.T) {
	mine := knowledge.EmbedderInfo{ID: "a", Version: "1", Dimension: 2}
	set, err := embed.NewSet(named(mine))
	if err != nil {
		t.Fatalf("NewSet = %v, want no error", err)
	}
	for _, test := range []struct {
		name string
		info knowledge.EmbedderInfo
		want error
	}{
		{"the same", mine, nil},
		{"no embedder", knowledge.EmbedderInfo{ID: knowledge.NoEmbedder, Dimension: 2}, knowledge.ErrInvalid},
		{"unknown", knowledge.EmbedderInfo{ID: "b", Version: "1", Dimension: 2}, knowledge.ErrUnavailable},
		{"other version", knowledge.EmbedderInfo{ID: "a", Version: "2", Dimension: 2}, knowledge.ErrConflict},
		{"other dimension", knowledge.EmbedderInfo{ID: "a", Version: "1", Dimension: 3}, knowledge.ErrConflict},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := set.For(t.Context(), "alice", knowledge.Collection{Embedder: test.info})
			if !errors.Is(err, test.want) || (err == nil) != (got == named(mine)) {
				t.Errorf("For = %v, %v, want error %v", got, err, test.want)
			}
		})
	}
}
