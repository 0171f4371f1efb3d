// Guardian is a plugin that guards a query at both stages. Before the search it
// refuses questions that hold a certain word, and narrows every leg by a filter.
// Afterwards it drops records whose metadata has "secret": true, and redacts
// e-mail addresses and certain words.
package main

import (
	"encoding/json"
	"unicode"

	tars "github.com/tars-project/tars/plugins/sdk/go"
)

var (
	_ = tars.GuardPre(pre)
	_ = tars.GuardPost(post)
)

// config is what the caller of a query may set. Words are compared whole, without
// regard to case.
type config struct {
	Refuse []string        `json:"refuse"` // words that no question may hold
	Narrow json.RawMessage `json:"narrow"` // filter of every leg
	Redact []string        `json:"redact"` // words that nobody may read
}

func read(c tars.Config) (config, error) {
	var settings config
	if err := c.Decode(&settings); err != nil {
		return settings, err
	}
	for _, list := range [][]string{settings.Refuse, settings.Redact} {
		for _, word := range list {
			if !isWord(word) {
				return settings, &tars.Error{Code: tars.CodeBadConfig, Message: "refuse and redact take words: letters and digits alone"}
			}
		}
	}
	return settings, nil
}

// isWord reports whether a text is one word, as [words] finds them.
func isWord(text string) bool {
	for _, r := range text {
		if !inWord(r) {
			return false
		}
	}
	return text != ""
}

func inWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r) }

func pre(_ *tars.Context, in tars.GuardPreInput) (tars.GuardPreOutput, error) {
	settings, err := read(in.Config)
	if err != nil {
		return tars.GuardPreOutput{}, err
	}
	if len(words(in.Query.Text, settings.Refuse)) > 0 {
		return tars.GuardPreOutput{Refuse: "the question holds a word that is not answered to"}, nil
	}
	var out tars.GuardPreOutput
	if len(settings.Narrow) > 0 {
		for _, leg := range in.Legs {
			out.Narrow = append(out.Narrow, tars.Narrowing{Leg: leg.Leg, Filter: settings.Narrow})
		}
	}
	return out, nil
}

func post(_ *tars.Context, in tars.GuardPostInput) (tars.GuardPostOutput, error) {
	settings, err := read(in.Config)
	if err != nil {
		return tars.GuardPostOutput{}, err
	}
	var out tars.GuardPostOutput
	for _, c := range in.Candidates {
		if secret(c.Metadata) {
			out.Drop = append(out.Drop, c.Index)
			continue
		}
		for _, s := range joined(append(addresses(c.Text), words(c.Text, settings.Redact)...)) {
			out.Redact = append(out.Redact, tars.Redact(c, s.start, s.end))
		}
	}
	return out, nil
}

// secret reports whether metadata has "secret": true.
func secret(metadata json.RawMessage) bool {
	var m struct {
		Secret any `json:"secret"`
	}
	return len(metadata) > 0 && json.Unmarshal(metadata, &m) == nil && m.Secret == true
}

func main() {}
