package embed_test

import (
	"errors"
	"testing"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/embed"
)

func TestCheckTexts(t *testing.T) {
	for _, test := range []struct {
		texts []string
		field string // of the InvalidError; empty for none
	}{
		{nil, ""},
		{[]string{"a", "\x00", "é"}, ""},
		{[]string{""}, "texts[0]"},
		{[]string{"a", " \t\u00a0\n", ""}, "texts[1]"},
		{[]string{"a", "b\xffc"}, "texts[1]"},
	} {
		err := embed.CheckTexts(test.texts)
		var invalid *knowledge.InvalidError
		switch {
		case test.field == "" && err != nil:
			t.Errorf("CheckTexts(%q) = %v, want nil", test.texts, err)
		case test.field != "" && (!errors.As(err, &invalid) || invalid.Field != test.field):
			t.Errorf("CheckTexts(%q) = %v, want an InvalidError about %s", test.texts, err, test.field)
		}
	}
}
