package answer_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tars-project/tars/plugins/guests/cited/answer"
)

const question = "how do I restore to a point in time?"

// Passages about a question, and others that share words with it.
const (
	target = "Backup > Recovery\n\nNormally, recovery ends with the log. If you want to recover to some previous point in time, " +
		"just specify the required stopping point. You can specify it by date, by name or by transaction."
	command = "Backup > Recovery\n\nThe simplest useful restore command is something like:\n\n    restore_command = 'cp /mnt/%f %p'\n\n" +
		"It returns zero if the file was found."
	types  = "Data Types > Geometry\n\nA point is a pair of numbers. Each time a point is read, it is checked."
	colors = "Colors > Blue\n\nThe sky has the color blue when there are no clouds."
)

func TestRankPutsWhatAnswersFirst(t *testing.T) {
	candidates := []answer.Candidate{{Text: colors}, {Text: types}, {Text: command}, {Text: target}}
	got := answer.Rank(question, candidates, 1)
	if len(got) != len(candidates) {
		t.Fatalf("Rank gives %d scores, want %d", len(got), len(candidates))
	}
	if !(got[3].Score > got[2].Score && got[3].Score > got[1].Score && got[2].Score > got[0].Score) {
		t.Errorf("Rank = %+v, want the last candidate highest and the first lowest", got)
	}
	if got[3].Score != 1 || got[0].Score != 0 {
		t.Errorf("Rank gives from %v to %v, want 0 to 1", got[0].Score, got[3].Score)
	}
	if want := "holds recovery, point, time"; got[3].Reason != want {
		t.Errorf("the reason is %q, want %q", got[3].Reason, want)
	}
}

func TestRankMixesTheScoreOfTheSearch(t *testing.T) {
	candidates := []answer.Candidate{{Text: target, Score: -3}, {Text: colors, Score: 5}, {Text: types, Score: 1}}
	for _, tt := range []struct {
		lexical float64
		first   int
	}{{0, 1}, {0.2, 1}, {0.8, 0}, {1, 0}} {
		got := answer.Rank(question, candidates, tt.lexical)
		best := 0
		for i, r := range got {
			if r.Score < 0 || r.Score > 1 {
				t.Errorf("Rank with %v gives the score %v, want one in [0, 1]", tt.lexical, r.Score)
			}
			if r.Score > got[best].Score {
				best = i
			}
		}
		if best != tt.first {
			t.Errorf("Rank with %v puts candidate %d first, want %d", tt.lexical, best, tt.first)
		}
	}
}

func TestRankPrefersTitles(t *testing.T) {
	candidates := []answer.Candidate{
		{Text: "Server > Planner\n\nThe planner looks at work_mem and then at work_mem again, and more."},
		{Text: "Server > Memory > work_mem (integer)\n\nSets how much memory a sort may use before it writes files."},
	}
	got := answer.Rank("what does work_mem do?", candidates, 1)
	if got[1].Score <= got[0].Score {
		t.Errorf("Rank = %+v, want the passage that is titled work_mem first", got)
	}
}

func TestRankOfNothing(t *testing.T) {
	if got := answer.Rank(question, nil, 1); len(got) != 0 {
		t.Errorf("Rank(no candidates) = %v, want nothing", got)
	}
	for _, q := range []string{"", "??", "how do I"} {
		for _, r := range answer.Rank(q, []answer.Candidate{{Text: ""}, {Text: target, Score: 1}}, 0.5) {
			if !(r.Score >= 0 && r.Score <= 1) {
				t.Errorf("Rank(%q) gives the score %v, want one in [0, 1]", q, r.Score)
			}
		}
	}
}

func TestOf(t *testing.T) {
	passages := []string{types, command, target, colors}
	got := answer.Of(question, passages, 3)
	if len(got.Quotes) == 0 || got.Quotes[0].Passage != 2 {
		t.Fatalf("Of = %+v, want a first quote of passage 2", got)
	}
	want := "If you want to recover to some previous point in time, just specify the required stopping point. [1]"
	if !strings.HasPrefix(got.Text, want) {
		t.Errorf("Of = %q, want it to begin %q", got.Text, want)
	}
	for i, q := range got.Quotes {
		quote := passages[q.Passage][q.Start:q.End]
		if q.Passage == 3 {
			t.Errorf("quote %d is %q, want none about colors", i, quote)
		}
		if mark := fmt.Sprintf("[%d]", i+1); !strings.Contains(got.Text, quote) || !strings.Contains(got.Text, mark) {
			t.Errorf("Of = %q, want it to hold %q and %s", got.Text, quote, mark)
		}
	}
}

func TestOfQuotesAnnouncedCode(t *testing.T) {
	got := answer.Of("what is a restore command like?", []string{command}, 1)
	want := "The simplest useful restore command is something like:\n\n    restore_command = 'cp /mnt/%f %p'"
	if len(got.Quotes) != 1 || command[got.Quotes[0].Start:got.Quotes[0].End] != want {
		t.Errorf("Of = %+v, want the one quote %q", got, want)
	}
}

func TestOfLeavesOut(t *testing.T) {
	twice := "Recovery\n\nYou can restore the cluster to any point in time. It is so."
	for _, tt := range []struct {
		name     string
		question string
		passages []string
		want     []string
	}{
		{"all without the question's words", question, []string{colors}, nil},
		{"all of no passages", question, nil, nil},
		{"all of no words", "what is zq81x?", []string{target, command}, nil},
		{"what was said", question, []string{twice, twice}, []string{"You can restore the cluster to any point in time."}},
		{
			"marks of lists", "who stops the server?",
			[]string{"Steps\n\n1. The operator stops the server.\n- Nobody starts it for him."},
			[]string{"The operator stops the server."},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var quotes []string
			for _, q := range answer.Of(tt.question, tt.passages, 3).Quotes {
				quotes = append(quotes, tt.passages[q.Passage][q.Start:q.End])
			}
			if !slices.Equal(quotes, tt.want) {
				t.Errorf("Of(%q) quotes %q, want %q", tt.question, quotes, tt.want)
			}
		})
	}
}

func TestOfFindsARareWord(t *testing.T) {
	secret := "The pass phrase of the observatory is zq81xvv7."
	for _, text := range []string{secret, "Notes\n\n" + secret, "It rains. " + secret + " It snows."} {
		got := answer.Of("what is zq81xvv7?", []string{target, command, text}, 3)
		if len(got.Quotes) != 1 || text[got.Quotes[0].Start:got.Quotes[0].End] != secret {
			t.Errorf("Of = %+v for %q, want the quote %q", got, text, secret)
		}
	}
}

func TestInflectionsAreOneWord(t *testing.T) {
	for _, pair := range [][2]string{
		{"restoring", "restored"},
		{"indexes", "index"},
		{"queries", "query"},
		{"recovery", "recover"},
		{"replicate", "replication"},
		{"configure", "configuration"},
		{"stopped", "stop"},
		{"automatically", "automatic"},
		{"server's", "servers"},
		{"Files", "file"},
		{"committed", "commit"},
		{"running", "run"},
		{"locks", "locking"},
		{"tables", "table"},
		{"ÉTÉ", "été"},
	} {
		text := "This passage is about the " + pair[1] + " alone and nothing else."
		if got := answer.Of(pair[0]+"?", []string{text}, 1); len(got.Quotes) != 1 {
			t.Errorf("Of(%q) finds nothing in %q, want the sentence", pair[0], text)
		}
	}
	for _, pair := range [][2]string{{"status", "stat"}, {"process", "proceed"}, {"string", "str"}} {
		text := "This passage is about the " + pair[1] + " alone and nothing else."
		if got := answer.Of(pair[0]+"?", []string{text}, 1); len(got.Quotes) != 0 {
			t.Errorf("Of(%q) = %q, want nothing", pair[0], got.Text)
		}
	}
}

func FuzzOf(f *testing.F) {
	f.Add(question, target, command)
	f.Add("é?", "É. é", "\n\n    é")
	f.Add("a_b_ c", "A\n\nb_a (c)\nB c d e f.", "1. \xff")
	f.Fuzz(func(t *testing.T, question, a, b string) {
		passages := []string{a, b}
		got := answer.Of(question, passages, 2)
		if len(got.Quotes) > 2 {
			t.Fatalf("Of gives %d quotes, want at most 2", len(got.Quotes))
		}
		for _, q := range got.Quotes {
			text := passages[q.Passage]
			if q.Start < 0 || q.End <= q.Start || q.End > len(text) {
				t.Fatalf("Of quotes [%d,%d) of %d bytes, want a range of them", q.Start, q.End, len(text))
			}
			if quote := text[q.Start:q.End]; utf8.ValidString(text) && !utf8.ValidString(quote) {
				t.Fatalf("Of quotes %q, want whole characters", quote)
			}
		}
		for _, r := range answer.Rank(question, []answer.Candidate{{Text: a, Score: 1}, {Text: b}}, 0.5) {
			if !(r.Score >= 0 && r.Score <= 1) || len(r.Reason) > 1024 {
				t.Fatalf("Rank gives %+v, want a score in [0, 1] and at most 1024 bytes", r)
			}
		}
	})
}
