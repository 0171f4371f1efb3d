package words

import "github.com/kljensen/snowball/english"

// Stem returns the stem of a word that [Splitter.Split] yielded: by the
// Snowball English (Porter 2) algorithm for a word of ASCII letters, and the
// word itself for any other, such as a number, a product code or a word of
// another script.
func Stem(word string) string {
	if len(word) < 3 {
		return word
	}
	for _, c := range []byte(word) {
		if c < 'a' || 'z' < c {
			return word
		}
	}
	const stopWordsToo = true
	return english.Stem(word, stopWordsToo)
}
