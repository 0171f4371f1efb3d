package embed

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tars-project/tars/knowledge"
)

// CheckTexts returns the [knowledge.InvalidError] that an embedder owes for the
// first text that is empty, white space or not UTF-8, and nil if there is none.
func CheckTexts(texts []string) error {
	for i, text := range texts {
		switch {
		case strings.TrimSpace(text) == "":
			return knowledge.Invalid(TextField(i), "is empty or white space")
		case !utf8.ValidString(text):
			return knowledge.Invalid(TextField(i), "is not valid UTF-8")
		}
	}
	return nil
}

// TextField names the text at index i in an error of an embedder.
func TextField(i int) string { return "texts[" + strconv.Itoa(i) + "]" }
