package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	tars "github.com/tars-project/tars/plugins/sdk/go"
)

// always is a lie that does not depend on the input.
func always(output string) lie { return func(input) string { return output } }

// commonLies are no documents of any capability.
func commonLies() map[string]lie {
	return map[string]lie{
		"bad-json":   always(`{"scores":[`),
		"empty":      always(``),
		"null":       always(`null`),
		"array":      always(`[]`),
		"deep":       always(strings.Repeat("[", 100_000)),
		"no-members": always(`{}`),
	}
}

// rankLies break the rules for the output of rank.
func rankLies() map[string]lie {
	lies := commonLies()
	lies["trailing"] = always(`{"scores":[]} {"scores":[]}`)
	lies["unknown-member"] = always(`{"scores":[],"tenant":"other"}`)
	lies["duplicate-member"] = always(`{"scores":[],"scores":[{"index":0,"score":1}]}`)
	lies["bad-utf8"] = always("{\"scores\":[{\"index\":0,\"score\":1,\"reason\":\"\xff\xfe\"}]}")
	lies["out-of-range"] = func(in input) string {
		return fmt.Sprintf(`{"scores":[{"index":%d,"score":1}]}`, len(in.Candidates))
	}
	lies["negative"] = always(`{"scores":[{"index":-1,"score":1}]}`)
	lies["fraction"] = always(`{"scores":[{"index":0.5,"score":1}]}`)
	lies["repeated"] = always(`{"scores":[{"index":0,"score":2},{"index":0,"score":1}]}`)
	lies["nan"] = always(`{"scores":[{"index":0,"score":"NaN"}]}`)
	lies["infinite"] = always(`{"scores":[{"index":0,"score":1e999}]}`)
	lies["no-score"] = always(`{"scores":[{"index":0}]}`)
	lies["long-reason"] = always(`{"scores":[{"index":0,"score":1,"reason":"` + strings.Repeat("a", 100_000) + `"}]}`)
	return lies
}

// synthesizeLies break the rules for the output of synthesize, or say what is
// not so. Those about words need a first passage of at least 40 bytes;
// inside-rune needs one with a character of more than one byte.
func synthesizeLies() map[string]lie {
	lies := commonLies()
	lies["trailing"] = always(`{"answer":"a","citations":[]} x`)
	lies["unknown-member"] = always(`{"answer":"a","citations":[],"verified":true}`)
	lies["bad-utf8"] = always("{\"answer\":\"\xff\xfe\",\"citations\":[]}")
	lies["out-of-range"] = func(in input) string { return cite(len(in.Passages), 0, 4, "text") }
	lies["negative"] = always(cite(0, -4, 4, "text"))
	lies["backwards"] = always(cite(0, 8, 4, "text"))
	lies["beyond-end"] = func(in input) string {
		text := first(in)
		return cite(0, 0, len(text)+1, text+"!")
	}
	lies["wrong-quote"] = always(cite(0, 0, 40, strings.Repeat("w", 40)))
	lies["wrong-length"] = func(in input) string {
		text := first(in)
		return cite(0, 0, min(20, len(text)), text)
	}
	lies["inside-rune"] = func(in input) string {
		text := first(in)
		for i, r := range text {
			if utf8.RuneLen(r) > 1 {
				return cite(0, i+1, len(text), text[i+utf8.RuneLen(r):])
			}
		}
		return `{"answer":"the first passage has no character of more than one byte","citations":[]}`
	}
	return lies
}

// first returns the text of the first passage, or nothing.
func first(in input) string {
	if len(in.Passages) == 0 {
		return ""
	}
	return in.Passages[0].Text
}

// cite makes an output with one citation.
func cite(index, start, end int, quote string) string {
	output, err := json.Marshal(tars.SynthesizeOutput{
		Answer:    "See [1].",
		Citations: []tars.Citation{{Index: index, Start: start, End: end, Quote: quote}},
	})
	if err != nil {
		panic(err) // numbers and strings are always JSON
	}
	return string(output)
}
