package main

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"
)

// span is text[start:end], in bytes.
type span struct{ start, end int }

// words finds where one of the wanted words stands in a text.
func words(text string, wanted []string) []span {
	var found []span
	start := -1 // of the word that the loop is in
	end := func(at int) {
		if start >= 0 && slices.ContainsFunc(wanted, func(w string) bool { return strings.EqualFold(w, text[start:at]) }) {
			found = append(found, span{start, at})
		}
		start = -1
	}
	for at, r := range text {
		switch {
		case !inWord(r):
			end(at)
		case start < 0:
			start = at
		}
	}
	end(len(text))
	return found
}

// addresses finds e-mail addresses: what may stand around an "@", with a dot in
// its right half.
func addresses(text string) []span {
	var found []span
	for from := 0; ; {
		at := strings.IndexByte(text[from:], '@')
		if at < 0 {
			return found
		}
		at += from
		from = at + 1
		start := before(text, at)
		end := after(text, at+1)
		if start < at && strings.Contains(text[at:end], ".") {
			found = append(found, span{start, end})
		}
	}
}

// before returns where what may stand left of an "@" begins.
func before(text string, at int) int {
	for at > 0 {
		r, size := utf8.DecodeLastRuneInString(text[:at])
		if !inWord(r) && !strings.ContainsRune("!#$%&'*+-./=?^_`{|}~", r) {
			break
		}
		at -= size
	}
	return at
}

// after returns where what may stand right of an "@" ends. What ends a sentence
// is no part of it.
func after(text string, at int) int {
	from := at
	for at < len(text) {
		r, size := utf8.DecodeRuneInString(text[at:])
		if !inWord(r) && r != '.' && r != '-' {
			break
		}
		at += size
	}
	return from + len(strings.TrimRight(text[from:at], ".-"))
}

// joined sorts spans and makes one of those that overlap or touch.
func joined(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	var out []span
	for _, s := range spans {
		if n := len(out); n > 0 && s.start <= out[n-1].end {
			out[n-1].end = max(out[n-1].end, s.end)
			continue
		}
		out = append(out, s)
	}
	return out
}
