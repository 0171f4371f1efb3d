package query

import "strings"

// minQuote is the shortest quote that counts as verified, in bytes that are not
// white space: shorter ones occur in most texts and would prove nothing.
const minQuote = 12

// verify checks every citation of a draft against the text that the plugin was
// given. One that does not stand the test is shown as such, or left out.
func verify(draft Draft, passages []Candidate, unverified Unverified) Result {
	result := Result{Text: draft.Text, Grounded: len(draft.Citations) > 0}
	for _, claim := range draft.Citations {
		passage := passages[claim.Index]
		c := Citation{
			Owner: passage.Owner, Collection: passage.Collection, ID: passage.ID, Version: passage.Version,
			Start: claim.Start, End: claim.End, Quote: claim.Quote,
			Verified: occurs(passage.Text, claim),
		}
		result.Grounded = result.Grounded && c.Verified
		if !c.Verified && unverified == Drop {
			result.Dropped++
			continue
		}
		result.Citations = append(result.Citations, c)
	}
	return result
}

// occurs reports whether text[Start:End] is the quote, and long enough to mean
// something. A quote is valid UTF-8, so a match lies on character boundaries.
func occurs(text string, c DraftCitation) bool {
	if c.Start < 0 || c.End > len(text) || c.End <= c.Start || text[c.Start:c.End] != c.Quote {
		return false
	}
	visible := 0
	for word := range strings.FieldsSeq(c.Quote) {
		visible += len(word)
	}
	return visible >= minQuote
}
