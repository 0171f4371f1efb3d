package lexicon_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/tars-project/tars/knowledge/embed/local/internal/lexicon"
)

var entries = []lexicon.Entry{
	{Word: "the", Stem: "the", Scale: 1, IDF: 900, Vector: []int8{127, -127, 0}},
	{Word: "happy", Stem: "happi", Scale: 1 << 31, IDF: 3000, Vector: []int8{1, 2, 127}},
	{Word: "skis", Stem: "ski", Scale: 77, IDF: 2000, Vector: []int8{-1, -2, -127}},
}

func encode(t testing.TB, entries []lexicon.Entry) string {
	t.Helper()
	var b bytes.Buffer
	if err := lexicon.Encode(&b, entries); err != nil {
		t.Fatalf("Encode = %v, want no error", err)
	}
	return b.String()
}

func TestOpenReadsWhatEncodeWrote(t *testing.T) {
	l, err := lexicon.Open(encode(t, entries))
	if err != nil {
		t.Fatalf("Open = %v, want no error", err)
	}
	if l.Len() != 3 || l.Dimension() != 3 || l.MaxIDF() != 3000 {
		t.Errorf("Len, Dimension, MaxIDF = %d, %d, %d, want 3, 3, 3000", l.Len(), l.Dimension(), l.MaxIDF())
	}
	for i, want := range entries {
		number, ok := l.Find([]byte(want.Word))
		if !ok || int(number) != i {
			t.Errorf("Find(%q) = %d, %t, want %d, true", want.Word, number, ok, i)
			continue
		}
		var vector []int8
		for _, component := range []byte(l.Vector(number)) {
			vector = append(vector, int8(component))
		}
		got := lexicon.Entry{Word: want.Word, Stem: want.Stem, Scale: l.Scale(number), IDF: l.IDF(number), Vector: vector}
		if got.Scale != want.Scale || got.IDF != want.IDF || !slices.Equal(vector, want.Vector) {
			t.Errorf("word %q = %+v, want %+v", want.Word, got, want)
		}
		if got, want := l.Stem(number), lexicon.StemHash(want.Stem); got != want {
			t.Errorf("Stem(%d) = %x, want %x", number, got, want)
		}
	}
	if number, ok := l.Find([]byte("sk")); ok {
		t.Errorf("Find(sk) = %d, true, want false", number)
	}
}

func TestEncodeRefuses(t *testing.T) {
	good := entries[0]
	for name, bad := range map[string]lexicon.Entry{
		"no word":         {Vector: good.Vector},
		"line break":      {Word: "a\nb", Vector: good.Vector},
		"other dimension": {Word: "a", Vector: []int8{1}},
	} {
		if err := lexicon.Encode(new(bytes.Buffer), []lexicon.Entry{good, bad}); err == nil {
			t.Errorf("%s: Encode = nil, want an error", name)
		}
	}
	if err := lexicon.Encode(new(bytes.Buffer), nil); err == nil {
		t.Error("Encode(no entries) = nil, want an error")
	}
}

func TestOpenRefusesDamage(t *testing.T) {
	good := encode(t, entries)
	for name, data := range map[string]string{
		"empty":       "",
		"other magic": "X" + good[1:],
		"cut short":   good[:len(good)-1],
		"too long":    good + "x",
		"no words":    good[:8] + strings.Repeat("\x00", 16),
		"huge counts": good[:8] + strings.Repeat("\xff", 16) + good[24:],
		"word twice":  encode(t, []lexicon.Entry{entries[0], entries[0]}),
		"break lost":  strings.Replace(good, "the\n", "the ", 1),
	} {
		if l, err := lexicon.Open(data); err == nil {
			t.Errorf("%s: Open = %d words, no error, want an error", name, l.Len())
		}
	}
}

// Any bytes open with an error or as a table that can be read throughout.
func FuzzOpen(f *testing.F) {
	good := encode(f, entries)
	f.Add(good)
	f.Add(good[:40])
	f.Fuzz(func(t *testing.T, data string) {
		l, err := lexicon.Open(data)
		if err != nil {
			return
		}
		for number := range int32(l.Len()) {
			if got := len(l.Vector(number)); got != l.Dimension() {
				t.Fatalf("len(Vector(%d)) = %d, want %d", number, got, l.Dimension())
			}
			_, _, _ = l.Scale(number), l.IDF(number), l.Stem(number)
		}
	})
}
