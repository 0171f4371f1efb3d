package words_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tars-project/tars/knowledge/embed/local/internal/words"
)

func split(text string) []string {
	var s words.Splitter
	var got []string
	s.Split(text, func(word []byte) bool {
		got = append(got, string(word))
		return true
	})
	return got
}

func TestSplit(t *testing.T) {
	for _, test := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{" \t\n\x00\u200b", nil},
		{"The server's pg_restore, v15.2!", []string{"the", "server", "pg", "restore", "v15", "2"}},
		{"Don't, can’t, won't, isn't", []string{"do", "not", "can", "not", "will", "not", "is", "not"}},
		{"we're they've I'll he'd I'm", []string{"we", "they", "i", "he", "i"}},
		{"O'Brien, rock'n'roll", []string{"o", "brien", "rock", "n", "roll"}},
		{"the users' 'quoted' words", []string{"the", "users", "quoted", "words"}},
		{"Ünïcödé ﬁle ＡＢＣ №5", []string{"ünïcödé", "file", "abc", "no5"}},
		{"e\u0301te\u0301", []string{"été"}},
		{"क्षेत्र", []string{"क्षेत्र"}},
		{"数据库 復", []string{"数据", "据库", "復"}},
		{"SQL数据go", []string{"sql", "数据", "go"}},
		{"ｶﾅ", []string{"カナ"}},
		{"a\xffb", []string{"a", "b"}},
		{"👍 ok", []string{"ok"}},
		{"👍 ?!", []string{"👍", "?", "!"}},
		{strings.Repeat("x", 70), []string{strings.Repeat("x", 64), "xxxxxx"}},
	} {
		if got := split(test.text); !slices.Equal(got, test.want) {
			t.Errorf("Split(%q) = %q, want %q", test.text, got, test.want)
		}
	}
}

func TestSplitStops(t *testing.T) {
	var s words.Splitter
	for _, text := range []string{"one two three", "don't stop", "数据库存", "? ! .", "ﬁ one two"} {
		n := 0
		s.Split(text, func([]byte) bool {
			n++
			return false
		})
		if n != 1 {
			t.Errorf("Split(%q) went on for %d words after stop, want 1 word in all", text, n)
		}
	}
	if got, want := split("one"), []string{"one"}; !slices.Equal(got, want) {
		t.Errorf("Split after a stop = %q, want %q", got, want)
	}
}

func TestStem(t *testing.T) {
	for word, want := range map[string]string{
		"replication": "replic", "replicated": "replic", "databases": "databas", "is": "is", "its": "it",
		"running": "run", "v15s": "v15s", "été": "été", "數據": "數據", "": "",
	} {
		if got := words.Stem(word); got != want {
			t.Errorf("Stem(%q) = %q, want %q", word, got, want)
		}
	}
}

// Whatever the text, words are short, not empty, UTF-8, and can be stemmed.
func FuzzSplit(f *testing.F) {
	for _, text := range []string{"Don't panic", "数据库 ﬁ e\u0301", "\xff'\x00''", strings.Repeat("\u0301", 200), "ﷺ"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, word := range split(text) {
			if word == "" || len(word) > words.MaxLength || !utf8.ValidString(word) {
				t.Errorf("Split(%q) gave %q, want 1 to %d bytes of UTF-8", text, word, words.MaxLength)
			}
			if stem := words.Stem(word); stem == "" || len(stem) > len(word)+1 {
				t.Errorf("Stem(%q) = %q, want 1 to %d bytes", word, stem, len(word)+1)
			}
		}
	})
}
