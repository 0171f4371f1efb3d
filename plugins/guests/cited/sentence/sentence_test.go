package sentence_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tars-project/tars/plugins/guests/cited/sentence"
)

func all(text string) []string {
	var out []string
	for s := range sentence.All(text) {
		out = append(out, text[s.Start:s.End])
	}
	return out
}

func TestAll(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"empty", "", nil},
		{"blank", " \n\t\n ", nil},
		{"one without end", "Timelines", []string{"Timelines"}},
		{"two", "Stop the server. Then restore it.", []string{"Stop the server.", "Then restore it."}},
		{"lines", "One\ntwo three.\n\nFour.", []string{"One", "two three.", "Four."}},
		{"abbreviations", "Use a tool, e.g. Tar, or others (i.e. C. Code). Done!", []string{"Use a tool, e.g. Tar, or others (i.e. C. Code).", "Done!"}},
		{"file names and versions", "Edit postgresql.conf in 17.1 now. Yes.", []string{"Edit postgresql.conf in 17.1 now.", "Yes."}},
		{"names begin sentences", "It ends. pg_dump begins. wal_level is next.", []string{"It ends.", "pg_dump begins.", "wal_level is next."}},
		{"quotes close", "He said “stop.” Then (it stopped.) And so on.", []string{"He said “stop.”", "Then (it stopped.)", "And so on."}},
		{"ellipsis", "Say ALTER ROLE ... PASSWORD '...', and wait. End.", []string{"Say ALTER ROLE ... PASSWORD '...', and wait.", "End."}},
		{"number at an end", "It is in chapter 25. The next is 26.", []string{"It is in chapter 25.", "The next is 26."}},
		{"items", "1. Stop it. Wait.\n- Start it.", []string{"1. Stop it.", "Wait.", "- Start it."}},
		{"code is left out", "Like this:\n\n    SELECT 1. FROM a;\n\nDone.", []string{"Like this:", "Done."}},
		{"question", "Why? Because. “Is it?” No.", []string{"Why?", "Because.", "“Is it?”", "No."}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := all(tt.text); !slices.Equal(got, tt.want) {
				t.Errorf("All(%q) = %q, want %q", tt.text, got, tt.want)
			}
		})
	}
}

func TestAllStopsWhenAsked(t *testing.T) {
	n := 0
	for range sentence.All("A b. C d.\nE f. G h.") {
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Errorf("All yielded %d sentences before the break, want 2", n)
	}
}

func FuzzAll(f *testing.F) {
	for _, s := range []string{"", "a. B", "1. x\n    y. Z", "é. “É.” e.g. x", "\xff. A.\xfe B", "...", ". . ."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at := 0
		for s := range sentence.All(text) {
			if s.Start < at || s.End <= s.Start || s.End > len(text) {
				t.Fatalf("All(%q) yields [%d,%d) after %d, want spans in order", text, s.Start, s.End, at)
			}
			if quote := text[s.Start:s.End]; strings.TrimSpace(quote) != quote || strings.Contains(quote, "\n") {
				t.Fatalf("All(%q) yields %q, want one trimmed line", text, quote)
			} else if utf8.ValidString(text) && !utf8.ValidString(quote) {
				t.Fatalf("All(%q) yields %q, want whole characters", text, quote)
			}
			at = s.End
		}
	})
}
