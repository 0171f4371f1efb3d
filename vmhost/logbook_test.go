package vmhost

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCutText(t *testing.T) {
	for _, c := range []struct {
		in    string
		limit int
		want  string
	}{
		{"", 0, ""},
		{"abc", 3, "abc"},
		{"abcd", 3, "abc"},
		{"aé", 2, "a"},
		{"a€", 3, "a"},
		{"a€b", 4, "a€"},
		{"😀", 3, ""},
		{"\xff", 10, "\uFFFD"},
		{"\xff", 2, ""},
		{strings.Repeat("\xff", 3), 3, "\uFFFD"},
		{strings.Repeat("\x80", 10), 4, ""},
		{strings.Repeat("\x80", 10), 8, "\uFFFD"},
	} {
		if got := CutText(c.in, c.limit); got != c.want {
			t.Errorf("CutText(%q, %d) = %q, want %q", c.in, c.limit, got, c.want)
		}
	}
}

func FuzzCutText(f *testing.F) {
	f.Add("a€\xff", 3)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = max(limit, 0) % 1000
		got := CutText(s, limit)
		if len(got) > limit || !utf8.ValidString(got) {
			t.Errorf("CutText(%q, %d) = %q, want UTF-8 of at most %d bytes", s, limit, got, limit)
		}
		if utf8.ValidString(s) && !strings.HasPrefix(s, got) {
			t.Errorf("CutText(%q, %d) = %q, want a prefix", s, limit, got)
		}
	})
}

func TestLogBook(t *testing.T) {
	book := NewLogBook(2*32 + 5)
	book.Add(-1, "abc")
	book.Add(9, "four") // does not fit any more
	book.Add(9, "de")
	book.Add(1, "")
	if got := book.Logs(); len(got) != 2 || got[0] != (Log{0, "abc"}) || got[1] != (Log{3, "de"}) || book.Dropped() != 2 {
		t.Errorf("Logs() = %v, Dropped() = %d, want abc and de, 2 dropped", got, book.Dropped())
	}
}
