package plugins_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
	"github.com/tars-project/tars/plugins"
	"github.com/tars-project/tars/vmhost/fakevm"
)

func TestDecodePostGuard(t *testing.T) {
	given := texts("Größe zählt.", "b")
	for name, output := range map[string]string{
		"nothing": `{}`,
		"all":     `{"drop":[1,1],"redact":[{"index":0,"start":0,"end":7},{"index":0,"start":4,"end":15}],"hide":[{"index":1,"fields":["a",""]}]}`,
		"refusal": `{"refuse":"` + strings.Repeat("é", 1024) + `"}`,
	} {
		if _, err := plugins.DecodePostGuard([]byte(output), given); err != nil {
			t.Errorf("%s: DecodePostGuard = %v, want nil", name, err)
		}
	}
	bad := notDocuments()
	delete(bad, "no members") // lets all through
	delete(bad, "deep objects")
	for name, output := range map[string]string{
		"empty refusal":       `{"refuse":""}`,
		"long refusal":        `{"refuse":"` + strings.Repeat("é", 1025) + `"}`,
		"of the other stage":  `{"narrow":[]}`,
		"limit":               `{"limit":1}`,
		"drop out of range":   `{"drop":[2]}`,
		"drop negative":       `{"drop":[-1]}`,
		"span out of range":   `{"redact":[{"index":2,"start":0,"end":1}]}`,
		"span negative":       `{"redact":[{"index":0,"start":-1,"end":1}]}`,
		"span empty":          `{"redact":[{"index":0,"start":1,"end":1}]}`,
		"span backwards":      `{"redact":[{"index":0,"start":2,"end":1}]}`,
		"span beyond":         `{"redact":[{"index":0,"start":0,"end":16}]}`,
		"span in a character": `{"redact":[{"index":0,"start":3,"end":4}]}`,
		"span without end":    `{"redact":[{"index":0,"start":3}]}`,
		"text of its own":     `{"redact":[{"index":0,"start":0,"end":1,"text":"x"}]}`,
		"many spans":          `{"redact":[` + strings.Repeat(`{"index":0,"start":0,"end":1},`, 10_000) + `{"index":0,"start":0,"end":1}]}`,
		"hide out of range":   `{"hide":[{"index":-1,"fields":["a"]}]}`,
		"hide nothing":        `{"hide":[{"index":0,"fields":[]}]}`,
		"many hidden":         `{"hide":[{"index":0,"fields":["a"]},{"index":0,"fields":["a"]},{"index":0,"fields":["a"]}]}`,
	} {
		bad[name] = output
	}
	for name, output := range bad {
		if v, err := plugins.DecodePostGuard([]byte(output), given); err == nil {
			t.Errorf("%s: DecodePostGuard = %+v, want an error", name, v)
		}
	}
}

func FuzzDecodePostGuard(f *testing.F) {
	f.Add([]byte(`{"refuse":"r","drop":[0],"redact":[{"index":0,"start":0,"end":3}],"hide":[{"index":0,"fields":["a"]}]}`), "Größe")
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		if !utf8.ValidString(text) {
			return
		}
		v, err := plugins.DecodePostGuard(data, texts(text))
		if err != nil {
			return
		}
		for _, s := range v.Redact {
			if s.Index != 0 || !utf8.ValidString(text[s.Start:s.End]) || s.End <= s.Start {
				t.Errorf("DecodePostGuard(%q, %q) = %+v", data, text, v)
			}
		}
	})
}

// TestGuardBefore: what a guard says before a search, and what it is given.
func TestGuardBefore(t *testing.T) {
	n, seen := ready(t)
	m := manifest("warden")
	m.Capabilities = []plugins.Capability{plugins.Guard}
	n.upload(t, alice, m, fakevm.Module("says"))
	lang := knowledge.Filter{Op: knowledge.OpEq, Field: "lang", Values: []any{"go"}}
	ask := func(output string) (query.Verdict, error) {
		handout := &query.Handout{Text: "why?", Limit: 7, Legs: []query.HandedLeg{
			{Leg: 0, Collection: "docs", Mode: query.Vector, Filter: lang}, {Leg: 2, Collection: "more", Owner: "rival", Mode: query.Hybrid},
		}}
		call := query.PluginCall{Name: "warden", Capability: query.Guard, Stage: query.Pre, Config: say(output)}
		v, _, err := n.runner.Guard(t.Context(), query.Task{Tenant: alice, Call: call, Handout: handout})
		return v, err
	}
	v, err := ask(`{"narrow":[{"leg":2,"filter":{"field":"lang","eq":"go"}}],"drop_legs":[0],"limit":3}`)
	if err != nil || len(v.Narrow) != 1 || v.Narrow[0].Leg != 2 || !v.Narrow[0].Filter.Equal(lang) || v.DropLegs[0] != 0 || v.Limit != 3 {
		t.Errorf("Guard = %+v, %v, want all that it said", v, err)
	}
	const want = `{"abi":1,"stage":"pre","query":{"text":"why?","limit":7},"legs":[` +
		`{"leg":0,"collection":"docs","mode":"vector","rows":0,"dimension":0,"filter":{"eq":"go","field":"lang"}},` +
		`{"leg":2,"collection":"more","owner":"rival","mode":"hybrid","rows":0,"dimension":0}],"config":`
	if !strings.HasPrefix(string(*seen), want) {
		t.Errorf("the guard was given %s, want %s…", *seen, want)
	}
	bad := notDocuments()
	delete(bad, "no members") // lets all through
	delete(bad, "deep objects")
	for name, output := range map[string]string{
		"of the other stage":  `{"drop":[0]}`,
		"leg that is gone":    `{"drop_legs":[1]}`,
		"leg out of range":    `{"narrow":[{"leg":3,"filter":{"field":"a","eq":1}}]}`,
		"no leg":              `{"narrow":[{"filter":{"field":"a","eq":1}}]}`,
		"no filter":           `{"narrow":[{"leg":0}]}`,
		"filter that is none": `{"narrow":[{"leg":0,"filter":{"field":"a"}}]}`,
		"filter null":         `{"narrow":[{"leg":0,"filter":null}]}`,
		"many":                `{"narrow":[` + strings.Repeat(`{"leg":0,"filter":{"field":"a","eq":1}},`, 2) + `{"leg":0,"filter":{"field":"a","eq":1}}]}`,
		"limit 0":             `{"limit":0}`,
	} {
		bad[name] = output
	}
	for name, output := range bad {
		if v, err := ask(output); reason(t, name, err) != "output" {
			t.Errorf("%s: Guard = %+v, %v, want the reason output", name, v, err)
		}
	}
}
