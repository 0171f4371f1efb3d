package main

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestBuilder(t *testing.T) {
	long := strings.Repeat("word ", leastWords)
	b := builder{corpus: corpus{name: "c"}}
	b.add("x", section{"Once", long + "one"})
	b.add("x", section{"Twice", long + "two"})
	b.add("y", section{"twice", long + "three"})
	b.add("x", section{"Short", "too short to say anything"})
	b.add("y", section{"Same text", long + "one"})
	most := strings.TrimSpace(strings.Repeat("most ", mostWords))
	b.add("y", section{"Last", most + " and more"})
	c := b.finish()
	wantPassages := []string{long + "one", most}
	wantQuestions := []question{{"x", "Once", 0}, {"y", "Last", 1}}
	if c.name != "c" || !slices.Equal(c.passages, wantPassages) || !slices.Equal(c.questions, wantQuestions) {
		t.Errorf("finish() = %+v, want passages %q and questions %v", c, wantPassages, wantQuestions)
	}
}

func TestSample(t *testing.T) {
	var c corpus
	for i, text := range []string{"a", "b", "c", "d", "e"} {
		c.passages = append(c.passages, text)
		c.questions = append(c.questions, question{"s", strings.ToUpper(text), i})
	}
	got := c.sample(2)
	if !slices.Equal(got.passages, []string{"a", "c", "e"}) || !slices.Equal(got.questions, []question{{"s", "A", 0}, {"s", "C", 1}, {"s", "E", 2}}) {
		t.Errorf("sample(2) = %+v, want a, c and e, each with its own question", got)
	}
}

func TestCut(t *testing.T) {
	for _, test := range []struct {
		text string
		most int
		want string
	}{
		{"one two", 7, "one two"},
		{"one two", 6, "one"},
		{"one two", 3, "one"},
		{"onetwo", 3, "one"},
		{"aé", 2, "a"},
	} {
		if got := cut(test.text, test.most); got != test.want {
			t.Errorf("cut(%q, %d) = %q, want %q", test.text, test.most, got, test.want)
		}
	}
}

func TestReadWeaknesses(t *testing.T) {
	const text = "a description that is long enough to be kept as a passage"
	c, err := readWeaknesses(strings.NewReader(`{
		"9": {"attr": {"@_ID": "9", "@_Name": "Nine", "@_Status": "Draft"}, "Description": "` + text + ` 9"},
		"10": {"attr": {"@_ID": "10", "@_Name": "Ten", "@_Status": "Deprecated"}, "Description": "` + text + ` 10"},
		"8": {"attr": {"@_ID": "8", "@_Name": "Eight", "@_Status": "Stable"}, "Description": "` + text + `\n 8"}}`))
	if err != nil || !slices.Equal(c.passages, []string{text + " 8", text + " 9"}) || !slices.Equal(c.questions, []question{{"cwe", "Eight", 0}, {"cwe", "Nine", 1}}) {
		t.Errorf("readWeaknesses = %+v, %v, want eight and nine", c, err)
	}
	for _, bad := range []string{"", "[]", `{"1": {"Description": 1}}`} {
		if _, err := readWeaknesses(strings.NewReader(bad)); err == nil {
			t.Errorf("readWeaknesses(%q) gave no error", bad)
		}
	}
}

func FuzzReadWeaknesses(f *testing.F) {
	f.Add(`{"1": {"attr": {"@_Name": "n"}, "Description": "d"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := readWeaknesses(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, p := range c.passages {
			if len(p) > mostBytes || !utf8.ValidString(p) {
				t.Errorf("readWeaknesses(%q) gave a passage of %d bytes, want valid text of at most %d", text, len(p), mostBytes)
			}
		}
		for _, q := range c.questions {
			if q.answer < 0 || q.answer >= len(c.passages) {
				t.Errorf("readWeaknesses(%q) gave a question to passage %d of %d", text, q.answer, len(c.passages))
			}
		}
	})
}
