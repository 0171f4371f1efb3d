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

// rankLies break the rules for the output of rank, and of merge.
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
		inside := insideRune(text)
		if inside < 0 {
			return `{"answer":"the first passage has no character of more than one byte","citations":[]}`
		}
		return cite(0, inside, len(text), strings.ToValidUTF8(text[inside:], ""))
	}
	return lies
}

// guardLies break the rules for the output of guard: those of both stages, and
// those of the stage that they stand below. narrow-twice needs a query of one leg.
func guardLies() map[string]lie {
	lies := commonLies()
	delete(lies, "no-members") // takes nothing away, which is allowed
	lies["trailing"] = always(`{} {}`)
	lies["unknown-member"] = always(`{"add":[{"id":"mine","text":"words"}]}`)
	lies["bad-utf8"] = always("{\"refuse\":\"\xff\xfe\"}")
	lies["long-refusal"] = always(`{"refuse":"` + strings.Repeat("a", 100_000) + `"}`)
	lies["other-stage"] = func(in input) string {
		if in.Stage == "pre" {
			return `{"drop":[0]}`
		}
		return `{"limit":1}`
	}
	// Before the search.
	lies["no-limit"] = always(`{"limit":0}`)
	lies["no-leg"] = func(in input) string { return fmt.Sprintf(`{"drop_legs":[%d]}`, len(in.Legs)) }
	lies["narrow-no-leg"] = func(in input) string {
		return fmt.Sprintf(`{"narrow":[{"leg":%d,"filter":{"field":"a","eq":1}}]}`, len(in.Legs))
	}
	lies["narrow-twice"] = always(`{"narrow":[{"leg":0,"filter":{"field":"a","eq":1}},{"leg":0,"filter":{"field":"a","eq":2}}]}`)
	lies["bad-filter"] = always(`{"narrow":[{"leg":0,"filter":{"field":"a","near":1}}]}`)
	lies["no-filter"] = always(`{"narrow":[{"leg":0}]}`)
	// After ranking.
	lies["out-of-range"] = func(in input) string { return fmt.Sprintf(`{"drop":[%d]}`, len(in.Candidates)) }
	lies["negative"] = always(`{"drop":[-1]}`)
	lies["redact-no-candidate"] = func(in input) string { return redact(len(in.Candidates), 0, 1) }
	lies["redact-beyond-end"] = func(in input) string { return redact(0, 0, len(first(in))+1) }
	lies["redact-negative"] = always(redact(0, -1, 1))
	lies["redact-backwards"] = always(redact(0, 4, 2))
	lies["redact-nothing"] = always(redact(0, 2, 2))
	lies["redact-inside-rune"] = func(in input) string { return redact(0, insideRune(first(in)), len(first(in))) }
	lies["redact-no-end"] = always(`{"redact":[{"index":0,"start":0}]}`)
	lies["hide-no-candidate"] = func(in input) string {
		return fmt.Sprintf(`{"hide":[{"index":%d,"fields":["a"]}]}`, len(in.Candidates))
	}
	lies["hide-no-fields"] = always(`{"hide":[{"index":0}]}`)
	return lies
}

// redact makes the output of a guard with one redaction.
func redact(index, start, end int) string {
	return fmt.Sprintf(`{"redact":[{"index":%d,"start":%d,"end":%d}]}`, index, start, end)
}

// insideRune returns an offset inside the first character of more than one byte,
// or -1 if there is none.
func insideRune(text string) int {
	for i, r := range text {
		if utf8.RuneLen(r) > 1 {
			return i + 1
		}
	}
	return -1
}

// first returns the text of the first passage or candidate, or nothing.
func first(in input) string {
	for _, p := range append(in.Passages, in.Candidates...) {
		return p.Text
	}
	return ""
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
