package main

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	tars "github.com/tars-project/tars/plugins/sdk/go"
)

// found are the parts of a text at spans.
func found(text string, spans []span) []string {
	parts := []string{}
	for _, s := range spans {
		parts = append(parts, text[s.start:s.end])
	}
	return parts
}

func TestAddresses(t *testing.T) {
	for text, want := range map[string][]string{
		"":                                {},
		"kim@example.com":                 {"kim@example.com"},
		"Write to kim@example.com.":       {"kim@example.com"},
		"<a.b+c@mail-1.example.org>, ok?": {"a.b+c@mail-1.example.org"},
		"two: a@b.cd, e@f.gh":             {"a@b.cd", "e@f.gh"},
		"jürgen@bücher.de, 李@例子.中国":       {"jürgen@bücher.de", "李@例子.中国"},
		"at @home, mail@host, @x.com":     {},
		"a@b@c.de":                        {"b@c.de"},
		"@":                               {},
		"a@..":                            {},
	} {
		if got := found(text, addresses(text)); !reflect.DeepEqual(got, want) {
			t.Errorf("addresses(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestWords(t *testing.T) {
	wanted := []string{"kim", "Öl", "7"}
	for text, want := range map[string][]string{
		"":                       {},
		"KIM's öl, no. 7":        {"KIM", "öl", "7"},
		"Kimono, kimchi 77 ölig": {},
		"(kim)-kim":              {"kim", "kim"},
		"\xffkim\xff":            {"kim"},
	} {
		if got := found(text, words(text, wanted)); !reflect.DeepEqual(got, want) {
			t.Errorf("words(%q) = %q, want %q", text, got, want)
		}
	}
	if got := words("kim", nil); got != nil {
		t.Errorf("words without wanted ones = %v, want none", got)
	}
}

func TestJoined(t *testing.T) {
	got := joined([]span{{8, 9}, {0, 4}, {2, 3}, {4, 6}, {8, 12}})
	if want := []span{{0, 6}, {8, 12}}; !reflect.DeepEqual(got, want) {
		t.Errorf("joined = %v, want %v", got, want)
	}
}

func TestPre(t *testing.T) {
	legs := []tars.AskedLeg{{Leg: 0}, {Leg: 1}}
	const settings = `{"refuse":["salary"],"narrow":{"field":"public","eq":true}}`
	for text, want := range map[string]string{
		"What is Kim's SALARY?": `{"refuse":"the question holds a word that is not answered to"}`,
		"What are salaries?":    `{"narrow":[{"leg":0,"filter":{"field":"public","eq":true}},{"leg":1,"filter":{"field":"public","eq":true}}]}`,
	} {
		out, err := pre(&tars.Context{}, tars.GuardPreInput{Query: tars.AskedQuery{Text: text}, Legs: legs, Config: tars.Config(settings)})
		if got, _ := json.Marshal(out); string(got) != want || err != nil {
			t.Errorf("pre(%q) = %s, %v; want %s", text, got, err, want)
		}
	}
	if out, err := pre(&tars.Context{}, tars.GuardPreInput{Query: tars.AskedQuery{Text: "anything"}, Legs: legs}); !reflect.DeepEqual(out, tars.GuardPreOutput{}) || err != nil {
		t.Errorf("pre without a config = %+v, %v; want nothing taken", out, err)
	}
}

func TestPost(t *testing.T) {
	in := tars.GuardPostInput{
		Candidates: []tars.Passage{
			{Index: 0, Text: "Größe: öl@example.com knows Kim.", Metadata: json.RawMessage(`{"secret":false}`)},
			{Index: 1, Text: "kim@example.com", Metadata: json.RawMessage(`{"a":1,"secret":true}`)},
			{Index: 2, Text: "nothing", Metadata: json.RawMessage(`{"secret":"true"}`)},
			{Index: 3, Text: "kim"},
		},
		Config: tars.Config(`{"redact":["kim","example"]}`),
	}
	out, err := post(&tars.Context{}, in)
	want := tars.GuardPostOutput{Drop: []int{1}, Redact: []tars.Redaction{{Index: 0, Start: 9, End: 24}, {Index: 0, Start: 31, End: 34}, {Index: 3, Start: 0, End: 3}}}
	if err != nil || !reflect.DeepEqual(out, want) {
		t.Errorf("post = %+v, %v; want %+v", out, err, want)
	}
}

func TestConfig(t *testing.T) {
	for _, config := range []string{`{"refuse":"a"}`, `{"refuse":["two words"]}`, `{"redact":[""]}`, `{"redact":["a.b"]}`, `{"mask":[]}`} {
		_, err := read(tars.Config(config))
		var e *tars.Error
		if !errors.As(err, &e) || e.Code != tars.CodeBadConfig {
			t.Errorf("read(%s) fails with %v, want the code %s", config, err, tars.CodeBadConfig)
		}
	}
}
