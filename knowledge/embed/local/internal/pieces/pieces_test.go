package pieces_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tars-project/tars/knowledge/embed/local/internal/pieces"
)

func open(t testing.TB) *pieces.Cutter {
	t.Helper()
	data, err := os.ReadFile("../../data/pieces.txt")
	if err != nil {
		t.Fatal(err)
	}
	v, err := pieces.Open(string(data))
	if err != nil || v.Len() != 8000 {
		t.Fatalf("Open = %v, want 8000 pieces", err)
	}
	return &pieces.Cutter{Vocabulary: v}
}

// What real texts are cut into is compared with the original in package encoder.
func TestCut(t *testing.T) {
	c := open(t)
	if got := c.Cut("", nil); len(got) != 0 {
		t.Errorf("Cut of nothing = %v, want none", got)
	}
	if got := c.Cut("数据库", nil); !slices.Equal(got, []int32{30, pieces.Unknown}) {
		t.Errorf("Cut of unknown characters = %v, want a space and one unknown", got)
	}
	if got := c.Cut("x", []int32{7}); len(got) != 2 || got[0] != 7 {
		t.Errorf("Cut does not append: %v", got)
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, data := range map[string]string{
		"nothing": "", "no tab": strings.Repeat("a 1\n", 9), "no number": strings.Repeat("a\tb\n", 9), "no piece": strings.Repeat("\t1\n", 9),
		"reserved alone": strings.Repeat("a\t0\n", 6),
	} {
		if _, err := pieces.Open(data); err == nil {
			t.Errorf("Open(%s) = nil, want an error", name)
		}
	}
}

// FuzzCut: whatever the text, ids are in range, and there are at most as many as
// characters and one more.
func FuzzCut(f *testing.F) {
	for _, s := range []string{"How do I?", "\xff\x00▁▁", "ﷺ", strings.Repeat("a", 1000), "e\u0301\u0301\u0301"} {
		f.Add(s)
	}
	c := open(f)
	f.Fuzz(func(t *testing.T, text string) {
		ids := c.Cut(text, nil)
		if most := 20*len(text) + 1; len(ids) > most { // no character has a longer NFKC
			t.Fatalf("Cut(%q) has %d pieces, want at most %d", text, len(ids), most)
		}
		for _, id := range ids {
			if id < 0 || int(id) >= c.Len() || 0 < id && id < 6 {
				t.Fatalf("Cut(%q) has the id %d", text, id)
			}
		}
	})
}

func BenchmarkCut(b *testing.B) {
	c := open(b)
	text := strings.Repeat("The quick brown fox jumps over the lazy dog. ", 20)
	var ids []int32
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		ids = c.Cut(text, ids[:0])
	}
}
