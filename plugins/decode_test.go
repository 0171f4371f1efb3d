package plugins_test

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/query"
	"github.com/tars-project/tars/plugins"
	"github.com/tars-project/tars/vmhost"
)

// notDocuments are outputs that no capability may give.
func notDocuments() map[string]string {
	return map[string]string{
		"nothing":      "",
		"white space":  " \n",
		"null":         "null",
		"a list":       "[]",
		"a number":     "1",
		"no members":   "{}",
		"deep":         strings.Repeat("[", 100_000),
		"deep objects": strings.Repeat(`{"scores":`, 100_000),
		"BOM":          "\ufeff{}",
	}
}

func TestEncodeIsBounded(t *testing.T) {
	document := []string{strings.Repeat("x", 100_000), strings.Repeat("y", 100_000)}
	const size = 2*100_002 + 3 // the texts in quotes, the comma and the brackets
	if got, err := plugins.Encode(document, size); err != nil || len(got) != size {
		t.Errorf("Encode within the bound = %d bytes, %v, want %d, nil", len(got), err, size)
	}
	if got, err := plugins.Encode(document, size-1); !errors.Is(err, vmhost.ErrInput) || got != nil {
		t.Errorf("Encode over the bound = %d bytes, %v, want ErrInput alone", len(got), err)
	}
}

func TestDecodeRank(t *testing.T) {
	for _, tc := range []struct {
		name, output string
		n            int
		want         []query.Scored
	}{
		{"none", `{"scores":[]}`, 3, []query.Scored{}},
		{"none of none", `{"scores":[]}`, 0, []query.Scored{}},
		{"some", `{"scores":[{"index":2,"score":-1.5e3,"reason":"é"},{"score":0,"index":0}]}`, 3, []query.Scored{{Index: 2, Score: -1500, Reason: "é"}, {Index: 0}}},
		{"largest", `{"scores":[{"index":0,"score":1.7976931348623157e308}]}`, 1, []query.Scored{{Score: math.MaxFloat64}}},
		{"reason of 1024 characters", `{"scores":[{"index":0,"score":1,"reason":"` + strings.Repeat("é", 1024) + `"}]}`, 1, []query.Scored{{Score: 1, Reason: strings.Repeat("é", 1024)}}},
	} {
		if got, err := plugins.DecodeRank([]byte(tc.output), tc.n); err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: DecodeRank = %v, %v, want %v", tc.name, got, err, tc.want)
		}
	}
	bad := notDocuments()
	for name, output := range map[string]string{
		"cut":                `{"scores":[{"index":0,"score":1}`,
		"trailing":           `{"scores":[]} {}`,
		"trailing bracket":   `{"scores":[]}]`,
		"unknown member":     `{"scores":[],"tenant":"other"}`,
		"unknown inside":     `{"scores":[{"index":0,"score":1,"id":"x"}]}`,
		"another case":       `{"Scores":[]}`,
		"repeated member":    `{"scores":[],"scores":[]}`,
		"repeated inside":    `{"scores":[{"index":0,"index":1,"score":1}]}`,
		"null scores":        `{"scores":null}`,
		"null score":         `{"scores":[null]}`,
		"scores of an index": `{"scores":{"0":1}}`,
		"no score":           `{"scores":[{"index":0}]}`,
		"score null":         `{"scores":[{"index":0,"score":null}]}`,
		"no index":           `{"scores":[{"score":1}]}`,
		"NaN":                `{"scores":[{"index":0,"score":NaN}]}`,
		"NaN of text":        `{"scores":[{"index":0,"score":"NaN"}]}`,
		"number of text":     `{"scores":[{"index":0,"score":"1"}]}`,
		"infinite":           `{"scores":[{"index":0,"score":1e999}]}`,
		"minus infinite":     `{"scores":[{"index":0,"score":-1e309}]}`,
		"negative":           `{"scores":[{"index":-1,"score":1}]}`,
		"out of range":       `{"scores":[{"index":3,"score":1}]}`,
		"index 2^32":         `{"scores":[{"index":4294967296,"score":1}]}`,
		"index 2^64":         `{"scores":[{"index":18446744073709551616,"score":1}]}`,
		"fraction":           `{"scores":[{"index":0.5,"score":1}]}`,
		"index as exponent":  `{"scores":[{"index":1e0,"score":1}]}`,
		"repeated":           `{"scores":[{"index":0,"score":1},{"index":0,"score":1}]}`,
		"bad UTF-8":          "{\"scores\":[{\"index\":0,\"score\":1,\"reason\":\"\xff\"}]}",
		"lone surrogate":     `{"scores":[{"index":0,"score":1,"reason":"\ud800"}]}`,
		"long reason":        `{"scores":[{"index":0,"score":1,"reason":"` + strings.Repeat("a", 1025) + `"}]}`,
	} {
		bad[name] = output
	}
	for name, output := range bad {
		got, err := plugins.DecodeRank([]byte(output), 3)
		if err == nil || got != nil {
			t.Errorf("%s: DecodeRank = %v, %v, want an error alone", name, got, err)
		} else if len(err.Error()) > 1000 || !utf8.ValidString(err.Error()) {
			t.Errorf("%s: the error is %d bytes long or no text, want it fit to be shown", name, len(err.Error()))
		}
	}
	if got, err := plugins.DecodeRank([]byte(`{"scores":[{"index":0,"score":1}]}`), 0); err == nil {
		t.Errorf("DecodeRank of an index of no candidates = %v, want an error", got)
	}
}

// texts are passages of these texts.
func texts(list ...string) []query.Candidate {
	var passages []query.Candidate
	for _, text := range list {
		passages = append(passages, query.Candidate{Match: knowledge.Match{Text: text}})
	}
	return passages
}

// citing is an output with one citation.
func citing(index, start, end any, quote string) string {
	return fmt.Sprintf(`{"answer":"a","citations":[{"index":%v,"start":%v,"end":%v,"quote":%q}]}`, index, start, end, quote)
}

func TestDecodeSynthesize(t *testing.T) {
	passages := texts("Größe zählt.", "", "日本")
	for _, tc := range []struct {
		name, output string
		want         query.Draft
	}{
		{"nothing to say", `{"answer":"","citations":[]}`, query.Draft{}},
		{"one", citing(0, 0, 7, "Größe"), query.Draft{Text: "a", Citations: []query.DraftCitation{{Index: 0, Start: 0, End: 7, Quote: "Größe"}}}},
		{"to the end", citing(2, 3, 6, "本"), query.Draft{Text: "a", Citations: []query.DraftCitation{{Index: 2, Start: 3, End: 6, Quote: "本"}}}},
		{"wrong words", citing(0, 0, 7, "Kleine"), query.Draft{Text: "a", Citations: []query.DraftCitation{{Index: 0, Start: 0, End: 7, Quote: "Kleine"}}}},
		{"most citations", `{"answer":"a","citations":[` + strings.Repeat(`{"index":0,"start":0,"end":1,"quote":"G"},`, 255) + `{"index":0,"start":0,"end":1,"quote":"G"}]}`, query.Draft{Text: "a", Citations: repeat(256)}},
	} {
		if got, err := plugins.DecodeSynthesize([]byte(tc.output), passages); err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: DecodeSynthesize = %+v, %v, want %+v", tc.name, got, err, tc.want)
		}
	}
	bad := notDocuments()
	for name, output := range map[string]string{
		"no answer":          `{"citations":[]}`,
		"answer null":        `{"answer":null,"citations":[]}`,
		"no citations":       `{"answer":"a"}`,
		"citations null":     `{"answer":"a","citations":null}`,
		"citation null":      `{"answer":"a","citations":[null]}`,
		"trailing":           `{"answer":"a","citations":[]} x`,
		"unknown member":     `{"answer":"a","citations":[],"verified":true}`,
		"unknown inside":     `{"answer":"a","citations":[{"index":0,"start":0,"end":1,"quote":"G","verified":true}]}`,
		"repeated member":    `{"answer":"a","citations":[],"answer":"b"}`,
		"bad UTF-8":          "{\"answer\":\"\xff\",\"citations\":[]}",
		"lone surrogate":     `{"answer":"\udc00","citations":[]}`,
		"long answer":        `{"answer":"` + strings.Repeat("a", 256<<10+1) + `","citations":[]}`,
		"many citations":     `{"answer":"a","citations":[` + strings.Repeat(`{"index":0,"start":0,"end":1,"quote":"G"},`, 256) + `{"index":0,"start":0,"end":1,"quote":"G"}]}`,
		"lacks quote":        `{"answer":"a","citations":[{"index":0,"start":0,"end":1}]}`,
		"lacks end":          `{"answer":"a","citations":[{"index":0,"start":0,"quote":"G"}]}`,
		"empty quote":        citing(0, 0, 1, ""),
		"out of range":       citing(3, 0, 1, "G"),
		"negative index":     citing(-1, 0, 1, "G"),
		"fraction":           citing("0.5", 0, 1, "G"),
		"negative start":     citing(0, -1, 1, "G"),
		"backwards":          citing(0, 3, 1, "G"),
		"empty range":        citing(0, 1, 1, "G"),
		"beyond the end":     citing(0, 0, 16, "G"),
		"end 2^63":           citing(0, 0, "9223372036854775808", "G"),
		"extremes":           citing(0, "-9223372036854775808", "9223372036854775807", "G"),
		"start in character": citing(0, 3, 7, "öße"), // ö is bytes 2 and 3
		"end in character":   citing(0, 0, 3, "Grö"),
		"of an empty text":   citing(1, 0, 1, "G"),
	} {
		bad[name] = output
	}
	for name, output := range bad {
		got, err := plugins.DecodeSynthesize([]byte(output), passages)
		if err == nil || !reflect.DeepEqual(got, query.Draft{}) {
			t.Errorf("%s: DecodeSynthesize = %+v, %v, want an error alone", name, got, err)
		} else if len(err.Error()) > 1000 || !utf8.ValidString(err.Error()) {
			t.Errorf("%s: the error is %d bytes long or no text, want it fit to be shown", name, len(err.Error()))
		}
	}
	if _, err := plugins.DecodeSynthesize([]byte(citing(0, 0, 1, "G")), nil); err == nil {
		t.Error("DecodeSynthesize of a citation of no passages = nil, want an error")
	}
}

func repeat(n int) []query.DraftCitation {
	var list []query.DraftCitation
	for range n {
		list = append(list, query.DraftCitation{Index: 0, Start: 0, End: 1, Quote: "G"})
	}
	return list
}

func FuzzDecodeRank(f *testing.F) {
	f.Add([]byte(`{"scores":[{"index":1,"score":1.5,"reason":"r"},{"index":0,"score":-0}]}`), 2)
	f.Add([]byte(`{"scores":[{"index":1e2,"score":1e999}]}`), 0)
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		if n < 0 || n > query.MaxCandidates {
			return
		}
		scores, err := plugins.DecodeRank(data, n)
		if err != nil {
			return
		}
		for _, s := range scores {
			if s.Index < 0 || s.Index >= n || math.IsNaN(s.Score) || math.IsInf(s.Score, 0) {
				t.Errorf("DecodeRank(%q, %d) = %v", data, n, scores)
			}
		}
		if !utf8.Valid(data) {
			t.Errorf("DecodeRank took %q, which is not UTF-8", data)
		}
	})
}

func FuzzDecodeSynthesize(f *testing.F) {
	f.Add([]byte(citing(0, 0, 7, "Größe")), "Größe zählt.")
	f.Add([]byte(citing(0, 3, 4, "x")), "日本")
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		if !utf8.ValidString(text) {
			return
		}
		draft, err := plugins.DecodeSynthesize(data, texts(text))
		if err != nil {
			return
		}
		for _, c := range draft.Citations {
			if c.Index != 0 || !utf8.ValidString(text[c.Start:c.End]) || !utf8.ValidString(c.Quote) {
				t.Errorf("DecodeSynthesize(%q, %q) = %+v", data, text, draft)
			}
		}
	})
}
